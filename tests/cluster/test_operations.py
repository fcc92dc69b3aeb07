"""An installed network in daily life: a new version is rolled out, a daemon ends."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.cluster.cluster import SYSTEM, Cluster

from k8s_ovs.lab.process import await_that


@pytest.fixture
def pair(cluster: Cluster) -> Iterator[str]:
    """Pods `left` on node1 and `right` on node2; the address of the latter."""
    cluster.run_pod("node1", "left")
    yield cluster.run_pod("node2", "right")
    cluster.kubectl("delete", "pod/left", "pod/right")


def test_a_rolling_update_loses_no_packet(cluster: Cluster, pair: str) -> None:
    assert cluster.reaches("left", pair)
    before = [cluster.daemon_on(node.name) for node in cluster.place.nodes]

    def roll_out() -> None:
        cluster.kubectl("rollout", "restart", "daemonset/k8s-ovs", "-n", SYSTEM)
        cluster.await_rollout("daemonset/k8s-ovs")

    answered, lost = cluster.pings_while("left", pair, roll_out)
    assert not set(before) & {cluster.daemon_on(node.name) for node in cluster.place.nodes}
    assert answered > 100
    assert not lost


def test_a_daemon_that_ends_is_started_again_and_pods_stay(cluster: Cluster, pair: str) -> None:
    pod = cluster.daemon_on("node1")

    def restarts() -> int:
        (state,) = cluster.get("pod", pod, SYSTEM)["status"]["containerStatuses"]
        return int(state["restartCount"]) if state["ready"] else -1

    before = restarts()
    cluster.exec(pod, "python3", "-c", "import os; os.kill(1, 15)", namespace=SYSTEM)
    await_that("the daemon's restart", lambda: restarts() > before, 60)
    assert cluster.reaches("left", pair)
