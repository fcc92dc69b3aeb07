"""A kubeconfig of one user and one cluster, to read in tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["kubeconfig"]


def kubeconfig(path: Path, server: str, user: dict[str, Any], **cluster: Any) -> dict[str, str]:
    """Write it; an environment that names it. user, cluster: fields of theirs."""
    document = {
        "clusters": [{"name": "c", "cluster": {"server": server, **cluster}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path.write_text(json.dumps(document))
    return {"KUBECONFIG": str(path)}
