"""Where are the control groups of a node's pods? In a tree of its own, in each hierarchy."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from k8s_ovs_lab.process import await_that

__all__ = ["make_cgroups", "remove_cgroups"]

CGROUPS = Path("/sys/fs/cgroup")
EMPTY_WITHIN_S = 10.0


def make_cgroups(name: str) -> None:
    """Make the group in each hierarchy: kubelet expects its root to be there."""
    for hierarchy in _hierarchies():
        (hierarchy / name.lstrip("/")).mkdir(exist_ok=True)


def remove_cgroups(prefix: str) -> None:
    """Remove all groups whose names begin so, and all below them; their processes have ended.

    Raises TimedOut if a group is still in use 10 s later.
    """
    for hierarchy in _hierarchies():
        for top in hierarchy.glob(f"{prefix.lstrip('/')}*"):
            what = f"removal of the control group {top}"
            await_that(what, partial(_gone, top), EMPTY_WITHIN_S)


def _hierarchies() -> list[Path]:
    """The mounted hierarchies: one with version 2, several with version 1."""
    if (CGROUPS / "cgroup.procs").exists():
        return [CGROUPS]
    found = (each for each in CGROUPS.iterdir() if not each.is_symlink())
    return [each for each in found if (each / "cgroup.procs").exists()]


def _gone(top: Path) -> bool:
    for directory, _, _ in os.walk(top, topdown=False):
        try:
            Path(directory).rmdir()
        except OSError:
            return False  # a process that was killed is still on its way out
    return True
