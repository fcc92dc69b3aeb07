"""A node leaves the cluster and joins it again: drained, deleted, registered anew."""

from __future__ import annotations

import pytest
from tests.cluster.cluster import Cluster
from tests.cluster.node import start_program, stop_program
from tests.cluster.traces import await_no_stale, subnet_of

from k8s_ovs_lab.process import await_that

WITHIN_S = 180.0


@pytest.mark.usefixtures("restored")
def test_a_node_that_is_deleted_gives_its_subnet_back_and_gets_one_when_it_joins_again(
    cluster: Cluster, ways: dict[str, str]
) -> None:
    _, far = cluster.place.nodes
    before = subnet_of(cluster, far)
    cluster.drain(far.name)
    await_no_stale(cluster, far)
    stop_program(far, "kubelet")
    cluster.kubectl("delete", "node", far.name)
    await_that("its subnet to be free", lambda: subnet_of(cluster, far) is None, WITHIN_S)

    start_program(far, "kubelet")
    await_that("its subnet", lambda: subnet_of(cluster, far) is not None, WITHIN_S)
    # The lowest one that is free: the node may have it at once, nobody deleted it by hand.
    assert subnet_of(cluster, far) == before
    await_that("the node to be ready", lambda: cluster.ready(far.name)[0] == "True", WITHIN_S)
    cluster.await_rollout("daemonset/k8s-ovs")

    anew = cluster.run_pod(far.name, "anew")
    assert cluster.reaches("left", anew)
    assert cluster.reaches("anew", ways["right"])
    cluster.kubectl("delete", "pod/anew", timeout=120)
    await_no_stale(cluster, far)
