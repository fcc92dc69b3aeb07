"""An installed network in daily life: a new version is rolled out, and it is removed again."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from tests.cluster.cluster import MANIFEST, SYSTEM, Cluster

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
    ping = cluster.spawn("left", "ping", "-i", "0.02", "-q", pair)
    cluster.kubectl("rollout", "restart", "daemonset/k8s-ovs", "-n", SYSTEM)
    cluster.await_rollout("daemonset/k8s-ovs")
    cluster.exec("left", "pkill", "-INT", "ping")
    said, _ = ping.communicate(timeout=30)

    assert not set(before) & {cluster.daemon_on(node.name) for node in cluster.place.nodes}
    counted = re.search(r"(\d+) packets transmitted, (\d+) received", said)
    assert counted is not None, said
    assert int(counted[1]) > 100
    assert counted[1] == counted[2], said


def test_a_daemon_that_ends_is_started_again_and_pods_stay(cluster: Cluster, pair: str) -> None:
    pod = cluster.daemon_on("node1")

    def restarts() -> int:
        (state,) = cluster.get("pod", pod, SYSTEM)["status"]["containerStatuses"]
        return int(state["restartCount"]) if state["ready"] else -1

    before = restarts()
    cluster.exec(pod, "python3", "-c", "import os; os.kill(1, 15)", namespace=SYSTEM)
    await_that("the daemon's restart", lambda: restarts() > before, 60)
    assert cluster.reaches("left", pair)


def test_pods_go_on_when_the_network_is_removed_and_installed_again(
    cluster: Cluster, pair: str
) -> None:
    cluster.kubectl("delete", "-f", str(MANIFEST), timeout=120)
    assert cluster.reaches("left", pair)
    cluster.install(MANIFEST.read_text())
    address = cluster.run_pod("node2", "later")
    assert cluster.reaches("left", address)
    cluster.kubectl("delete", "pod/later")
