"""How long does the CNI program take to start, on the system's Python and on one of its own?

VERSION is answered by the program alone; STATUS goes to the daemon and back.
"""

from __future__ import annotations

from pathlib import Path
from statistics import median, quantiles
from typing import Any

from calls import Call, run_one

from k8s_ovs.node.install.cni_program import Python, program
from k8s_ovs_lab import Lab

__all__ = ["OWN", "measure"]

#: What they are called; the image brings the second.
SYSTEM, OWN = "system", "own"
_WARM_UP = 3


def measure(lab: Lab, own: Path, count: int) -> dict[str, Any]:
    """{"count": ..., "commands": {"VERSION": {"ms": {title: percentiles and the least}, "ratio": of
    the p50s}, "STATUS": ...}}.

    own: the program with a Python of its own. Both alternate.
    """
    node = lab.nodes[0]
    script = own.with_name("script")
    script.write_bytes(program(Python.SYSTEM))
    script.chmod(0o755)
    found = {}
    for command in ("VERSION", "STATUS"):
        environment = {"CNI_COMMAND": command, "CNI_PATH": "/opt/cni/bin"}
        calls = {
            title: Call(path, node.netns, environment, node.cni_config)
            for title, path in ((SYSTEM, script), (OWN, own))
        }
        times: dict[str, list[float]] = {title: [] for title in calls}
        for _ in range(_WARM_UP + count):
            for title, call in calls.items():
                times[title].append(run_one(call))
        found[command] = _compared({title: each[_WARM_UP:] for title, each in times.items()})
    return {"count": count, "commands": found}


def _compared(times: dict[str, list[float]]) -> dict[str, Any]:
    found = {}
    for title, each in times.items():
        cuts = quantiles(each, n=100, method="inclusive")
        of_title = {f"p{cut}": cuts[cut - 1] for cut in (50, 90, 99)} | {"least": min(each)}
        found[title] = {name: round(ms, 2) for name, ms in of_title.items()}
    return {"ms": found, "ratio": round(median(times[OWN]) / median(times[SYSTEM]), 2)}
