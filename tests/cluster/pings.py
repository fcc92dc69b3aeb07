"""How many packets are lost between pods meanwhile? 100 pings a second, counted at the end."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from attrs import frozen
from tests.cluster.cluster import Cluster

from k8s_ovs.errors import K8sOvsError
from k8s_ovs.lab.process import await_that

__all__ = ["Count", "pinging"]

LOG = "/tmp/ping.log"
ENDS_WITHIN_S = 30.0


@frozen
class Count:
    """What one pod has sent, and how much of it was answered."""

    sent: int
    received: int


@contextmanager
def pinging(cluster: Cluster, ways: Mapping[str, str]) -> Iterator[dict[str, Count]]:
    """Ping from each pod to its address while the block runs; what was counted, when it has ended.

    The pings go on without kubectl, kubelet and the runtime. Raises K8sOvsError where an address is
    not reached at the beginning.
    """
    for pod, address in ways.items():
        if not cluster.reaches(pod, address):
            raise K8sOvsError(f"pod {pod} does not reach {address}")
        cluster.exec(pod, "sh", "-c", f"ping -i 0.01 -q {address} >{LOG} 2>&1 &")
    found: dict[str, Count] = {}
    yield found
    for pod in ways:
        cluster.exec(pod, "pkill", "-INT", "ping")
    for pod in ways:
        found[pod] = _counted(cluster, pod)


def _counted(cluster: Cluster, pod: str) -> Count:
    said = ""

    def has_ended() -> bool:
        nonlocal said
        said = cluster.exec(pod, "cat", LOG)
        return "packets transmitted" in said

    await_that(f"ping's last words in pod {pod}", has_ended, ENDS_WITHIN_S)
    counted = re.search(r"(\d+) packets transmitted, (\d+) received", said)
    if counted is None:
        raise K8sOvsError(f"ping in pod {pod}: {said}")
    return Count(int(counted[1]), int(counted[2]))
