"""How the lab runs a program: in a namespace, within a time limit, with an error that helps."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from k8s_ovs.errors import K8sOvsError, TimedOut, Unavailable
from k8s_ovs.link.namespace import entered, opened

__all__ = ["NETNS", "command_in", "inside", "run"]

NETNS = Path("/run/netns")


def command_in(netns: str | None, argv: Sequence[str]) -> list[str]:
    """The command that runs argv in a network namespace, None for the caller's own.

    By nsenter, never by `ip netns exec`: that mounts another /sys and hides the cgroups.
    """
    return [*argv] if netns is None else ["nsenter", f"--net={NETNS / netns}", "--", *argv]


def run(
    argv: Sequence[str],
    *,
    netns: str | None = None,
    timeout: float = 10.0,
    text: str | None = None,
    environment: Mapping[str, str] | None = None,
    check: bool = True,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; timeout in seconds, text is what it reads.

    Raises Unavailable if it is not installed, TimedOut, and, if check is set, K8sOvsError with
    its own words when it fails.
    """
    said = " ".join(argv)
    place = f" in namespace {netns}" if netns else ""
    try:
        done = subprocess.run(
            command_in(netns, argv),
            input="" if text is None else text,
            env=None if environment is None else os.environ | environment,
            timeout=timeout,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    except FileNotFoundError as error:
        raise Unavailable(f"{error.filename} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise TimedOut(f"no end within {timeout:g} s of: {said}{place}") from error
    if check and done.returncode != 0:
        words = (done.stderr.strip() or done.stdout.strip())[-2000:]
        raise K8sOvsError(f"exit status {done.returncode} of: {said}{place}\n{words}".rstrip())
    return done


@contextmanager
def inside(netns: str) -> Iterator[None]:
    """The calling thread works in a network namespace: sockets that it opens belong there."""
    with opened(str(NETNS / netns)) as handle, entered(handle):
        yield
