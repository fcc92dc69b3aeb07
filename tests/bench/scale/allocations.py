"""How soon have all namespaces their records, where many come at once?"""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

from tests.bench.machine import processor
from tests.bench.scale.stage import LOCAL_PODS, NODE, Progress, Stage, namespace_of

from k8s_ovs.errors import TimedOut
from k8s_ovs_multitenant.records import CURSOR, NAMESPACE_VNIS, NETNAMESPACES

__all__ = ["measure"]

_WITHIN = 600.0


def measure(stage: Stage, progress: Progress) -> dict[str, Any]:
    """All namespaces of the cluster are new, as the daemon becomes the leader.

    {"count", "seconds" from then until the last record is there, "per_second", "cpu_s": of the
    daemon meanwhile}.
    """
    _forget_all(stage)
    count = len(stage.living.namespaces)
    progress(f"{count} namespaces at once")
    stage.log.forget()
    before = processor(stage.pid)
    stage.lead()
    deadline = time.monotonic() + _WITHIN
    while stage.count(NETNAMESPACES) < count:
        if time.monotonic() > deadline:
            there = stage.count(NETNAMESPACES)
            raise TimedOut(f"records of namespaces: found {there}, expected {count}")
        time.sleep(0.02)
    ended, spent = time.time(), processor(stage.pid) - before
    (began,) = stage.log.events("became leader")
    seconds = ended - datetime.fromisoformat(began["time"]).timestamp()
    return {
        "count": count,
        "seconds": round(seconds, 2),
        "per_second": round(count / seconds, 1),
        "cpu_s": round(spent, 2),
    }


def _forget_all(stage: Stage) -> None:
    """A cluster without tenants, which another leader has not served yet."""
    for number in range(LOCAL_PODS):
        stage.lab.delete_pod(f"local{number}", namespace_of(number))
    stage.lab.stop_daemon(NODE)
    for kind in (NAMESPACE_VNIS, NETNAMESPACES, CURSOR):
        stage.clear(kind)
    stage.follow()
    stage.start()
    stage.calm()
