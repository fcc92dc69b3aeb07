"""How does the harness run a program on this machine, and speak of its progress?"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from k8s_ovs.errors import K8sOvsError, TimedOut

__all__ = ["make_ext4", "mortal", "need", "progress", "run"]

LAST_WORDS = 3000


def progress(text: str) -> None:
    """One line for the person who waits; on standard error, standard output is the command's."""
    print(f"machine: {text}", file=sys.stderr, flush=True)


def need(program: str, package: str) -> None:
    """Raises K8sOvsError, naming the Debian package, if the program is not installed."""
    if shutil.which(program) is None:
        raise K8sOvsError(f"{program} is not on PATH; expected Debian's package {package}")


def mortal(command: Sequence[str]) -> list[str]:
    """The same command, ended by the kernel when its parent ends, however that happens."""
    return ["setpriv", "--pdeathsig", "KILL", *command]


def run(command: Sequence[str], limit_s: float, given: str = "") -> str:
    """The standard output of the command; `given` is its standard input.

    Raises TimedOut after `limit_s` seconds, K8sOvsError with its last words if it fails.
    """
    try:
        done = subprocess.run(
            mortal(command),
            input=given,
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise TimedOut(f"{command[0]} did not end within {limit_s:g} s") from error
    if done.returncode != 0:
        said = (done.stdout + done.stderr)[-LAST_WORDS:]
        raise K8sOvsError(f"{command[0]} ended with status {done.returncode}, expected 0:\n{said}")
    return done.stdout


def make_ext4(directory: Path, drive: Path, size: str) -> None:
    """A sparse drive image of the given size (mke2fs's syntax: 1G) that holds the directory."""
    need("mke2fs", "e2fsprogs")
    plain = ["-q", "-t", "ext4", "-O", "^has_journal", "-m", "0"]
    run(["mke2fs", *plain, "-d", str(directory), str(drive), size], limit_s=300)
