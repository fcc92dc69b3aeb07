"""What does a daemon cost that has nothing to do but look? It compares its node every 10 s."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from machine import rss_mib

from k8s_ovs_lab import Lab, servers

__all__ = ["PODS", "measure"]

PODS = 250
_SECONDS = 60
#: Until what an ADD leaves to do is done.
_CALM = 15
_TICKS = os.sysconf("SC_CLK_TCK")


def measure(lab: Lab, progress: Callable[[str], object]) -> dict[str, Any]:
    """{"seconds": of each measurement, "by_pods": {number of pods: {"percent": of a core, of the
    daemon and of what it starts, "rss_mib": its memory}}}."""
    node = lab.nodes[0].name
    pid = servers.daemon(lab.nodes[0]).pid()
    if pid is None:
        raise ValueError(f"the daemon of {node} does not run")
    found = {}
    for count in (0, PODS):
        progress(f"{_SECONDS} s of a daemon with {count} pods that has nothing to do")
        for number in range(count):
            lab.run_pod(node, f"idle{number}")
        time.sleep(_CALM)
        before = _spent(pid)
        time.sleep(_SECONDS)
        percent = round((_spent(pid) - before) / _SECONDS * 100, 2)
        found[str(count)] = {"percent": percent, "rss_mib": rss_mib(pid)}
    return {"seconds": _SECONDS, "by_pods": found}


def _spent(pid: int) -> float:
    """Seconds of processor that it and its children have used, proc(5)."""
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        words = file.read().rpartition(")")[2].split()
    return sum(map(int, words[11:15])) / _TICKS
