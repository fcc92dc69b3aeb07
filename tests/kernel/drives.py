"""What does the machine see of this project? Its tree and its virtual environment, as drives.

Both appear in the machine under the same paths as here, so that what the environment says of
the tree (scripts' first lines, the editable installation, entry points) is true there too.
"""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.kernel.cache import cached, fingerprint
from tests.kernel.host import make_ext4, progress, run

from k8s_ovs.errors import K8sOvsError

__all__ = ["TREE", "environment_drive", "run_drive", "run_settings"]

TREE = Path(__file__).resolve().parents[2]
ENVIRONMENT = TREE / ".venv"
GUEST_PYTHON = Path("/usr/bin/python3.11")
GUEST_SCRIPT = Path(__file__).with_name("guest.sh")


def run_settings(command: Sequence[str], limit_s: int) -> str:
    """What guest.sh reads: shell assignments. The command is one word of shell source."""
    values = {"TREE": str(TREE), "LIMIT_S": str(limit_s), "COMMAND": shlex.join(command)}
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())


def run_drive(directory: Path, command: Sequence[str], limit_s: int) -> Path:
    """A drive with guest.sh, its settings and the tree: tracked files, and new ones not ignored."""
    content = directory / "content"
    for name in _tree_files():
        target = content / "tree" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(TREE / name, target, follow_symlinks=False)
    (content / "tree" / ".venv").mkdir()
    _precompile(content / "tree")
    shutil.copy2(GUEST_SCRIPT, content / "guest.sh")
    (content / "settings").write_text(run_settings(command, limit_s))
    make_ext4(content, directory / "run.img", "1G")
    return directory / "run.img"


def environment_drive() -> Path:
    """A drive with the project's virtual environment, from the cache or built (about 10 s).

    Raises K8sOvsError if the environment is missing or not of the machine's Python.
    """
    python = (ENVIRONMENT / "bin" / "python").resolve()
    if python != GUEST_PYTHON:
        raise K8sOvsError(f"{ENVIRONMENT} runs {python}; expected Debian's {GUEST_PYTHON}")
    records = sorted(ENVIRONMENT.glob("lib/python3*/site-packages/*.dist-info/RECORD"))
    key = fingerprint(str(ENVIRONMENT), *(f"{each}\n{each.read_text()}" for each in records))
    return cached("environment", key, _build_environment) / "environment.img"


def _build_environment(directory: Path) -> None:
    progress(f"making a drive of {ENVIRONMENT}, about 10 s, once for each set of packages")
    content = directory / "content"
    shutil.copytree(ENVIRONMENT, content, symlinks=True)
    _precompile(content)
    make_ext4(content, directory / "environment.img", "3G")
    shutil.rmtree(content)


def _tree_files() -> list[str]:
    listing = ["git", "-C", str(TREE), "ls-files", "-z", "-c", "-o", "--exclude-standard"]
    names = run(listing, limit_s=30).split("\0")
    return [name for name in sorted(set(names)) if name and (TREE / name).is_file()]


def _precompile(directory: Path) -> None:
    # Compiling in the emulated machine is some twenty times slower than here. Packages ship
    # files that are templates or of other Pythons, so a failure says nothing: not checked.
    quietly = [
        "-c",
        "import compileall, sys; compileall.compile_dir(sys.argv[1], quiet=2, workers=0)",
    ]
    run([sys.executable, *quietly, str(directory)], limit_s=300)
