"""How long does the CNI program take to start, as a script and standalone?

VERSION is answered by the program alone; STATUS goes to the daemon and back.
"""

from __future__ import annotations

from pathlib import Path
from statistics import median, quantiles
from typing import Any

from calls import Call, run_one

from k8s_ovs.node.install.cni_program import Python, program
from k8s_ovs_lab import Lab

__all__ = ["STANDALONE", "measure"]

#: What they are called; the image brings the second.
SCRIPT, STANDALONE = "script", "standalone"
_WARM_UP = 3


def measure(lab: Lab, standalone: Path, count: int) -> dict[str, Any]:
    """{"count": ..., "commands": {"VERSION": {"ms": {title: percentiles and the least}, "ratio": of
    the p50s}, "STATUS": ...}}.

    standalone: that program. Both alternate.
    """
    node = lab.nodes[0]
    script = standalone.with_name("script")
    script.write_bytes(program(Python.SYSTEM))
    script.chmod(0o755)
    found = {}
    for command in ("VERSION", "STATUS"):
        environment = {"CNI_COMMAND": command, "CNI_PATH": "/opt/cni/bin"}
        calls = {
            title: Call(path, node.netns, environment, node.cni_config)
            for title, path in ((SCRIPT, script), (STANDALONE, standalone))
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
    return {"ms": found, "ratio": round(median(times[STANDALONE]) / median(times[SCRIPT]), 2)}
