"""How long does a node take to be back, with all that it has to read and to compute?"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tests.bench.machine import processor
from tests.bench.scale.meter import summary
from tests.bench.scale.stage import NODE, Progress, Stage

__all__ = ["measure"]


def measure(stage: Stage, rounds: int, progress: Progress) -> dict[str, Any]:
    """{"killed": {"ready_s": seconds from the start command until the status file says ready,
    "cpu_s": of the daemon until then, "flows_changed"}, "from_nothing": see `_from_nothing`,
    "bytes": on the wire during a start}."""
    progress(f"{rounds} restarts")
    stage.log.forget()
    ready, cpu = [], []
    for _ in range(rounds):
        stage.lab.part(f"{NODE}/daemon").kill()
        ready.append(stage.start())
        cpu.append(processor(stage.pid))
        stage.calm()
    commits = stage.log.events("commit")
    changed = sum(int(each["added"]) + int(each["deleted"]) for each in commits)
    killed = {"ready_s": summary(ready, 2), "cpu_s": summary(cpu, 2), "flows_changed": changed}
    return {"killed": killed, "from_nothing": _from_nothing(stage), "bytes": _octets(stage)}


def _from_nothing(stage: Stage) -> dict[str, Any]:
    """The daemon starts at a bridge that has lost all flows. "flows": so many come back, "ms":
    after etcd's snapshot is there, "flows_ms": of it to compute and commit them."""
    stage.lab.stop_daemon(NODE)
    stage.lab.exec(NODE, ["ovs-ofctl", "-OOpenFlow14", "del-flows", "br0"])
    stage.log.forget()
    stage.start()
    commit = next(each for each in stage.log.events("commit") if int(each["added"]))
    listed = next(each for each in stage.log.events("etcd") if "keys" in each)
    return {
        "flows": int(commit["added"]),
        "ms": round((_when(commit) - _when(listed)) * 1e3, 1),
        "flows_ms": float(commit["flows_ms"]),
    }


def _octets(stage: Stage) -> dict[str, float]:
    stage.lab.stop_daemon(NODE)
    with stage.traffic.counted(str(stage.node.address)):
        before = stage.traffic.now()
        stage.start()
        after = stage.traffic.now()
    return {name: count - before.octets[name] for name, count in after.octets.items()}


def _when(line: dict[str, str]) -> float:
    return datetime.fromisoformat(line["time"]).timestamp()
