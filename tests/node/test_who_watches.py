"""The leader and its successor alone watch what only allocations read, and hand that on."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from k8s_ovs.errors import K8sOvsError
from k8s_ovs.model.node_status import LEADER_KEY, SUCCESSOR_KEY
from k8s_ovs_lab import Lab
from k8s_ovs_lab.lab_net import LabNet
from k8s_ovs_lab.process import await_that
from k8s_ovs_lab.tenants import Tenants

NODES = ("node1", "node2", "node3")
ALL = {"etcd": True, "kube:node": True, "kube:bandwidths": True}
OF_THE_CLUSTER = {"kube:nodes": True, "kube:namespaces": True}


@pytest.fixture(scope="module")
def site(lab_of: Callable[..., Lab]) -> LabNet:
    return LabNet(lab_of("who", plugin="k8s-ovs-multitenant", nodes=3))


def holder(site: LabNet, key: str) -> str:
    """Who has one of the leader's and the successor's keys; "": nobody."""
    held = site.records().get(f"k8ssdn/{key}", "{}")
    return str(json.loads(held).get("holder", ""))


def seeing(site: LabNet, *, among: tuple[str, ...]) -> set[str]:
    """Who watches the whole cluster, where each of them watches what it must."""
    sources = {node: site.status(node)["sources"] for node in among}
    if not all(each in (ALL, ALL | OF_THE_CLUSTER) for each in sources.values()):
        raise K8sOvsError(str(sources))
    return {node for node, each in sources.items() if each != ALL}


def test_two_of_three_watch_the_cluster_and_the_third_follows(site: LabNet) -> None:
    def two_see(among: tuple[str, ...]) -> bool:
        return seeing(site, among=among) == {holder(site, LEADER_KEY), holder(site, SUCCESSOR_KEY)}

    await_that("two nodes to watch the cluster", lambda: two_see(NODES), 30)
    first, second = holder(site, LEADER_KEY), holder(site, SUCCESSOR_KEY)
    site.lab.stop_daemon(first)
    rest = tuple(node for node in NODES if node != first)
    await_that("the others to watch it", lambda: two_see(rest), 30)
    assert holder(site, LEADER_KEY) == second
    site.lab.add_namespace("green")
    await_that("a namespace to have its tenant", lambda: "green" in Tenants(site.lab).net_ids(), 30)
    site.lab.start_daemon(first)
    await_that("it to follow the two", lambda: seeing(site, among=NODES) == set(rest), 30)
