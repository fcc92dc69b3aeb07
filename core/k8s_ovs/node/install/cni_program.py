"""Which program does the container runtime start: the standalone one, or a script?"""

from __future__ import annotations

import subprocess
from enum import StrEnum
from pathlib import Path

from k8s_ovs.errors import K8sOvsError
from k8s_ovs.model.json_text import parse_json
from k8s_ovs_cni.executable import (
    OLDEST,
    PROGRAM,
    SYSTEM_PYTHON,
    executable,
    is_executable,
    stamp,
)

__all__ = ["Python", "check_program", "program", "supported_versions"]

_TIMEOUT_S = 10.0
_NEEDED = ".".join(map(str, OLDEST))
_TELL_VERSION = "import sys, _socket; print(*sys.version_info[:3], sep='.')"
_NO_OWN = (
    "this installation of k8s-ovs carries no standalone CNI program of its version: the image "
    "does, and `python -m k8s_ovs_cni.standalone` makes it"
)


class Python(StrEnum):
    """What the CNI program runs on. SYSTEM: a script, on the system's Python. OWN: the standalone
    program, on none. AUTO: that where this installation carries it, since it starts faster and
    runs on any host; or else the script."""

    AUTO = "auto"
    SYSTEM = "system"
    OWN = "own"


def program(python: Python = Python.AUTO) -> bytes:
    """The file to install. Raises K8sOvsError where what it would run on is missing."""
    if python is not Python.SYSTEM and (own := _own()):
        return own
    if python is Python.OWN:
        raise K8sOvsError(_NO_OWN)
    if reason := _unfit():
        raise K8sOvsError(f"{reason}; {_NO_OWN}" if python is Python.AUTO else reason)
    return executable().encode()


def check_program(path: Path) -> str:
    """Start the installed program as a runtime does; what it runs on. Raises K8sOvsError."""
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise K8sOvsError(f"{path} does not exist") from error
    except OSError as error:
        raise K8sOvsError(f"cannot read {path}: {error.strerror}") from error
    if not is_executable(content):
        raise K8sOvsError(f"{path} is not the CNI program of k8s-ovs")
    spoken = supported_versions(path)[-1]
    on = f"on {SYSTEM_PYTHON}" if content.startswith(b"#!") else "standalone"
    return f"speaks CNI {spoken}, {on}"


def supported_versions(program: Path, within_s: float = _TIMEOUT_S) -> list[str]:
    """What a CNI program answers to VERSION, one at least. Raises K8sOvsError."""
    said = _printed([str(program)], {"CNI_COMMAND": "VERSION"}, within_s)
    try:
        spoken = [str(each) for each in parse_json(said)["supportedVersions"]]
        if not spoken:
            raise LookupError("no version")
    except (ValueError, LookupError, TypeError) as error:
        raise K8sOvsError(f"{program} answers VERSION with {said!r}") from error
    return spoken


def _own() -> bytes | None:
    """What this installation carries. An upgrade leaves what was made for the version before."""
    try:
        content = PROGRAM.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise K8sOvsError(f"cannot read {PROGRAM}: {error.strerror}") from error
    return content if stamp().encode() in content else None


def _unfit() -> str:
    """Why the script does not run on the system's Python; empty: it does."""
    if not SYSTEM_PYTHON.exists():
        return f"{SYSTEM_PYTHON} is missing, expected Python {_NEEDED} or later"
    try:
        found = _printed([str(SYSTEM_PYTHON), "-ISc", _TELL_VERSION], {})
        version = tuple(int(number) for number in found.split("."))
    except (K8sOvsError, ValueError) as error:
        return f"{SYSTEM_PYTHON} does not work, expected Python {_NEEDED} or later: {error}"
    if version < OLDEST:
        return f"{SYSTEM_PYTHON} is Python {found}, expected {_NEEDED} or later"
    return ""


def _printed(command: list[str], environment: dict[str, str], within_s: float = _TIMEOUT_S) -> str:
    """What the command prints, without blanks around it. Raises K8sOvsError if it fails."""
    try:
        done = subprocess.run(
            command,
            env=environment,
            input="{}",
            capture_output=True,
            text=True,
            timeout=within_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise K8sOvsError(f"{command[0]} does not end within {within_s:g} s") from error
    except OSError as error:
        raise K8sOvsError(f"{command[0]} cannot be started: {error.strerror}") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip().rpartition("\n")[2]
        raise K8sOvsError(f"{command[0]} ends with status {done.returncode}: {said}")
    return done.stdout.strip()
