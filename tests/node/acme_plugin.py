"""A plugin of somebody else, as if it were installed beside the lab's daemons."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

__all__ = ["installed_plugin"]


@contextmanager
def installed_plugin(directory: Path, name: str, target: str, source: str) -> Iterator[None]:
    """Meanwhile programs that start find the plugin. target: `module:Class`; source: its text."""
    module = target.partition(":")[0]
    (directory / f"{module}.py").write_text(source)
    about = directory / f"{module}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[k8s_ovs.plugins]\n{name} = {target}\n")
    with pytest.MonkeyPatch.context() as patch:
        path = [str(directory), *filter(None, [os.environ.get("PYTHONPATH")])]
        patch.setenv("PYTHONPATH", os.pathsep.join(path))
        # Where stevedore remembers what is installed.
        patch.setenv("XDG_CACHE_HOME", str(directory / "cache"))
        yield
