"""How many packets are lost between pods meanwhile? 100 pings per second, counted at the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from attrs import frozen
from tests.cluster.cluster import Cluster

from k8s_ovs.errors import K8sOvsError
from k8s_ovs_lab.process import await_that

__all__ = ["Count", "pinging"]

LOG = "/tmp/ping.log"
# MORE: how many answers after all is over show that nothing is on its way any more.
MORE = 50
COME_WITHIN_S = 60.0


@frozen
class Count:
    """How many packets one pod has sent, and which were not answered, counted from 1."""

    sent: int
    lost: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.sent - len(self.lost)} of {self.sent} answered"


@contextmanager
def pinging(cluster: Cluster, ways: Mapping[str, str]) -> Iterator[dict[str, Count]]:
    """Ping from each pod to its address while the block runs; what was counted, when it has ended.

    The first is answered before the block runs, the last after it. They go on without kubectl,
    kubelet and the runtime. Raises K8sOvsError where an address is not reached at the beginning,
    TimedOut where it is not at the end.
    """
    for pod, address in ways.items():
        if not cluster.reaches(pod, address):
            raise K8sOvsError(f"pod {pod} does not reach {address}")
        cluster.exec(pod, "sh", "-c", f"stdbuf -oL ping -i 0.01 {address} >{LOG} 2>&1 &")
        _await_answer(cluster, pod, 0)
    found: dict[str, Count] = {}
    yield found
    for pod in ways:
        found[pod] = _counted(cluster, pod)


def _counted(cluster: Cluster, pod: str) -> Count:
    """Of the packets up to one that was answered after all was over."""
    last = max(_answered(cluster, pod), default=0) + MORE
    _await_answer(cluster, pod, last)
    cluster.exec(pod, "pkill", "ping")
    return Count(last, tuple(sorted(set(range(1, last + 1)) - _answered(cluster, pod))))


def _await_answer(cluster: Cluster, pod: str, after: int) -> None:
    """Wait until a ping was answered that came after the one of this number."""
    await_that(
        f"an answer to a ping after {after} of pod {pod}",
        lambda: max(_answered(cluster, pod), default=0) > after,
        COME_WITHIN_S,
    )


def _answered(cluster: Cluster, pod: str) -> set[int]:
    """The numbers of the packets that were answered; they count from 1."""
    number = r"s/.* bytes from .* icmp_seq=\([0-9]*\) .*/\1/p"
    return {int(line) for line in cluster.exec(pod, "sed", "-n", number, LOG).split()}
