"""Distributions of plugins that are made up: a directory on the path with the metadata that an
installer writes."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import stevedore._cache
from stevedore.extension import ExtensionManager

#: Installs a module, with names of plugins and of features; returns the name of its file.
Install = Callable[..., str]
_numbers = itertools.count()


def installing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Install a distribution of one module whose class Plugin has the given names."""
    # What stevedore knows of this process's path, in memory and on disk, is not of this test.
    monkeypatch.setattr(ExtensionManager, "ENTRY_POINT_CACHE", {})
    monkeypatch.setattr(stevedore._cache._c, "_disable_caching", True)

    def install(source: str, plugins: tuple[str, ...], features: tuple[str, ...] = ()) -> str:
        number = next(_numbers)
        module, root = f"made_up_{number}", tmp_path / str(number)
        root.mkdir()
        (root / f"{module}.py").write_text(textwrap.dedent(source))
        metadata = root / f"{module}-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        groups: Mapping[str, tuple[str, ...]] = {"plugins": plugins, "features": features}
        lines = [
            line
            for group, names in groups.items()
            for line in (
                f"[k8s_ovs.{group}]",
                *(f"{name} = {module}:Plugin" for name in names),
            )
        ]
        (metadata / "entry_points.txt").write_text("\n".join(lines))
        monkeypatch.syspath_prepend(root)
        return f"{module}.py"

    return install
