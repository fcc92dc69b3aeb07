"""A plugin of tests/plugins, installed from its wheel, beside this environment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

__all__ = ["PLUGINS", "installed_plugin", "run", "with_plugin"]

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
    # The cache is where stevedore remembers what is installed.
    own = {
        "PYTHONPATH": str(installed_plugin(name, directory)),
        "XDG_CACHE_HOME": str(directory / "cache"),
    }
    before = {variable: os.environ.get(variable) for variable in own}
    os.environ.update(own)
    try:
        yield
    finally:
        for variable, value in before.items():
            if value is None:
                del os.environ[variable]
            else:
                os.environ[variable] = value
