"""How fast do many flows come, and what does a restart of the daemon cost?"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from calls import run_burst
from machine import rss_mib
from steps import Log
from subjects import Subject

from k8s_ovs.errors import K8sOvsError
from k8s_ovs_lab import Lab, servers
from k8s_ovs_lab.layout import ETCD_PREFIX
from k8s_ovs_lab.process import await_that

__all__ = ["measure"]

_NODES = 100
_PODS = 30
_DURATION = re.compile(r"duration=([0-9.]+)s")


def measure(lab: Lab, ours: Subject, progress: Callable[[str], None]) -> dict[str, Any]:
    """{"nodes": ..., "restart": ..., "rss_mib": ...}, the lab's first node being one of 100."""
    log = Log(lab)
    progress(f"{_NODES} nodes")
    joined = _others_join(lab, log)
    progress(f"restart with {_PODS} pods")
    run_burst([ours.call("ADD", number) for number in range(_PODS)], 10)
    _await_idle(lab)
    restart = _restart(lab, log)
    progress("all flows from nothing")
    again = _from_nothing(lab, log)
    pid = servers.daemon(lab.nodes[0]).pid()
    rss = rss_mib(pid) if pid else None
    run_burst([ours.call("DEL", number) for number in range(_PODS)], 10)
    return {
        "nodes": {"count": _NODES, **joined},
        "restart": {"pods": _PODS, **restart},
        "all_flows": again,
        "rss_mib": rss,
    }


def _others_join(lab: Lab, log: Log) -> dict[str, Any]:
    """From the records of 99 more nodes, in one etcd transaction, until their flows are
    installed."""
    log.forget()
    lines = [f"put {key} {json.dumps(value)}" for key, value in _records()]
    begin = time.time()
    told = "\n" + "\n".join(lines) + "\n\n\n"
    lab.exec("fabric", ["etcdctl", "txn"], text=told)
    await_that("flows of all nodes", lambda: _added(log) >= 2 * (_NODES - 1), 30)
    commits = log.events("commit")
    return {
        "flows": _added(log),
        "ms": round((_when(commits[-1]) - begin) * 1e3, 1),
        "commit_ms": round(sum(float(commit["ms"]) for commit in commits), 1),
    }


def _added(log: Log) -> int:
    return sum(int(commit["added"]) for commit in log.events("commit"))


def _records() -> list[tuple[str, str]]:
    """Records of 99 nodes, from the end of the network: the allocator gives from its beginning."""
    found = []
    for number in range(1, _NODES):
        address = f"192.168.100.{number}"
        record = {
            "Host": f"other{number}",
            "HostIP": address,
            "Subnet": f"172.11.{256 - 2 * number}.0/23",
        }
        found.append((f"{ETCD_PREFIX}/k8ssdn/subnets/{address}", json.dumps(record)))
    return found


def _restart(lab: Lab, log: Log) -> dict[str, Any]:
    node = lab.nodes[0].name
    lab.stop_daemon(node)
    log.forget()
    begin = time.monotonic()
    lab.start_daemon(node)
    ready_s = time.monotonic() - begin
    youngest = min(_ages(lab))
    changed = sum(int(commit["added"]) + int(commit["deleted"]) for commit in log.events("commit"))
    if changed or youngest < time.monotonic() - begin:
        raise K8sOvsError(f"a restart changed {changed} flows; the youngest is {youngest} s old")
    return {"ready_s": round(ready_s, 2), "flows": len(_ages(lab)), "flows_changed": changed}


def _from_nothing(lab: Lab, log: Log) -> dict[str, Any]:
    """The daemon starts at a bridge that has lost all flows: one bundle."""
    node = lab.nodes[0].name
    lab.stop_daemon(node)
    lab.exec(node, ["ovs-ofctl", "-OOpenFlow14", "del-flows", "br0"])
    log.forget()
    lab.start_daemon(node)
    commit = next(commit for commit in log.events("commit") if int(commit["added"]))
    return {"flows": int(commit["added"]), "ms": float(commit["flows_ms"])}


def _ages(lab: Lab) -> list[float]:
    """Seconds since each flow was made."""
    dump = ["ovs-ofctl", "-OOpenFlow14", "dump-flows", "br0"]
    found = lab.exec(lab.nodes[0].name, dump).stdout
    return [float(each) for each in _DURATION.findall(found)]


def _await_idle(lab: Lab) -> None:
    """Until the flows are older than what is measured next could be."""
    await_that("flows at rest", lambda: min(_ages(lab)) > 1, 30)


def _when(commit: dict[str, str]) -> float:
    return datetime.fromisoformat(commit["time"]).timestamp()
