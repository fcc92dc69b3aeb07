"""Plugins of somebody else, installed beside this environment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

__all__ = ["PLUGINS", "installed_plugin", "on_path", "run", "with_plugin", "with_source"]

PLUGINS = Path(__file__).parent.parent / "plugins"
_UV = Path(sys.executable).parent / "uv"


def run(
    *command: object, where: Path | None = None, environment: Mapping[str, str] | None = None
) -> str:
    """What a command prints; its complaint fails the test."""
    done = subprocess.run(
        list(map(str, command)),
        cwd=where,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def installed_plugin(name: str, directory: Path) -> Path:
    """The directory below `directory` that has it, for PYTHONPATH."""
    source, wheels = directory / "source" / name, directory / "wheels" / name
    shutil.copytree(PLUGINS / name, source)
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", wheels, where=source)
    (wheel,) = wheels.glob("*.whl")
    into = ["--target", directory / "installed", "--python", sys.executable]
    run(_UV, "pip", "install", "--offline", "--no-deps", *into, wheel)
    return directory / "installed"


@contextmanager
def with_plugin(name: str, directory: Path) -> Iterator[None]:
    """Programs that start meanwhile find it, a lab's daemons too."""
    with on_path(installed_plugin(name, directory)):
        yield


@contextmanager
def with_source(directory: Path, name: str, target: str, source: str) -> Iterator[None]:
    """The same of a plugin that is one module. target: `module:Class`; source: its text."""
    module = target.partition(":")[0]
    (directory / f"{module}.py").write_text(source)
    about = directory / f"{module}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[k8s_ovs.plugins]\n{name} = {target}\n")
    with on_path(directory):
        yield


@contextmanager
def on_path(directory: Path) -> Iterator[None]:
    """Programs that start meanwhile find what is installed in a directory."""
    with pytest.MonkeyPatch.context() as patch:
        path = [str(directory), *filter(None, [os.environ.get("PYTHONPATH")])]
        patch.setenv("PYTHONPATH", os.pathsep.join(path))
        # Where stevedore remembers what is installed.
        patch.setenv("XDG_CACHE_HOME", str(directory / "cache"))
        yield
