"""Pods go while no daemon runs on their node: when it is back, nothing of them is left."""

from __future__ import annotations

from tests.cluster.cluster import Cluster
from tests.cluster.traces import await_no_stale, sandboxes


def test_pods_that_go_while_no_daemon_runs_leave_nothing_behind(
    cluster: Cluster, ways: dict[str, str]
) -> None:
    near, _ = cluster.place.nodes
    # With a grace period the API server keeps it until kubelet has done with it.
    cluster.run_pod(near.name, "told", spec={"terminationGracePeriodSeconds": 1})
    cluster.run_pod(near.name, "forced")
    before = sandboxes(near)
    cluster.remove_manifest()

    cluster.kubectl("delete", "pod/told", "--wait=false")
    cluster.kubectl("delete", "pod/forced", "--force", "--grace-period=0")
    # The runtime's DEL is refused, and kubelet goes on asking.
    assert "does not answer at" in cluster.await_event("Pod", "told", "FailedKillPod")
    assert sandboxes(near) == before
    assert cluster.reaches("right", ways["right"])

    cluster.install_manifest()
    await_no_stale(cluster, near)
    cluster.kubectl("wait", "--for=delete", "pod/told", "--timeout=60s", timeout=70)
    assert cluster.reaches("right", ways["right"])
