"""A pod has a port of its node, by the portmap that users have: who reaches it, and as whom?"""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from tests.cluster.cluster import SYSTEM, Cluster
from tests.cluster.greeting import GREETER, Greeting, greeting_by, greeting_from
from tests.cluster.node import PLUGINS, WITH_PORTMAP, in_box

from k8s_ovs_lab.command import run
from k8s_ovs_lab.layout import OUTSIDE, LabNode
from k8s_ovs_lab.process import await_that

SHOP, OTHER = "ports", "others"
PORT = 8088
WITHIN_S = 120.0


@pytest.fixture(scope="module")
def published(cluster: Cluster) -> Iterator[str]:
    """The address of the node. Its pod is `published`, of a tenant that has `client` beside it;
    another tenant has a client on each node."""
    for tenant in (SHOP, OTHER):
        cluster.kubectl("create", "namespace", tenant)
    ports = {"ports": [{"containerPort": 8080, "hostPort": PORT}]}
    cluster.run_pod(WITH_PORTMAP, "published", SHOP, command=GREETER, container=ports)
    cluster.run_pod(WITH_PORTMAP, "client", SHOP)
    for node in cluster.place.nodes:
        cluster.run_pod(node.name, f"at-{node.name}", OTHER)
    yield str(cluster.get("pod", "published", SHOP)["status"]["hostIP"])
    cluster.kubectl("delete", "namespace", SHOP, OTHER, timeout=120)


def test_a_client_outside_is_seen_by_its_own_address(cluster: Cluster, published: str) -> None:
    said = greeting_from(cluster.place.layout.outside, published, PORT)
    assert said == [Greeting("published", str(OUTSIDE.ip))]


def test_nodes_reach_it_and_its_own_one_by_localhost_too(cluster: Cluster, published: str) -> None:
    for node in cluster.place.nodes:
        own = node.name == WITH_PORTMAP
        for address in (published, *(["127.0.0.1"] if own else [])):
            (said,) = greeting_from(node.netns, address, PORT)
            assert said.pod == "published"


@pytest.mark.parametrize(
    ("namespace", "pod"),
    [(SHOP, "published"), (SHOP, "client"), (OTHER, "at-node1"), (OTHER, "at-node2")],
)
def test_pods_reach_it_its_own_and_those_of_all_tenants(
    cluster: Cluster, published: str, namespace: str, pod: str
) -> None:
    (said,) = greeting_by(cluster, pod, namespace, published, PORT)
    assert said.pod == "published"


def test_it_opens_the_pod_itself_to_no_other_tenant(cluster: Cluster, published: str) -> None:
    address = str(cluster.get("pod", "published", SHOP)["status"]["podIP"])
    assert greeting_by(cluster, "client", SHOP, address, 8080)
    for node in cluster.place.nodes:
        assert greeting_by(cluster, f"at-{node.name}", OTHER, address, 8080) == []


def test_it_goes_with_its_pod(cluster: Cluster, published: str) -> None:
    (node,) = (each for each in cluster.place.nodes if each.name == WITH_PORTMAP)

    def rules() -> str:
        return run(in_box(node, ["iptables", "-t", "nat", "-S"])).stdout

    assert str(PORT) in rules()
    cluster.kubectl("delete", "pod/published", "-n", SHOP)
    await_that("the end of the port's rules", lambda: str(PORT) not in rules(), WITHIN_S)
    assert greeting_from(cluster.place.layout.outside, published, PORT) == []


def test_a_node_where_portmap_comes_and_goes_has_one_configuration_and_stays_ready(
    cluster: Cluster,
) -> None:
    (node,) = (each for each in cluster.place.nodes if each.name != WITH_PORTMAP)
    since = ready_since(cluster, node.name)
    cluster.run_pod(node.name, "earlier")
    plugin = node.directory / "opt" / "cni" / "bin" / "portmap"
    shutil.copy2(PLUGINS / plugin.name, plugin)
    assert configuration_after_restart(cluster, node) == ["80-k8s-ovs.conflist"]
    ports = {"ports": [{"containerPort": 8080, "hostPort": PORT}]}
    cluster.run_pod(node.name, "later", command=GREETER, container=ports)
    (said,) = greeting_from(cluster.place.layout.outside, str(node.address), PORT)
    assert said.pod == "later"
    cluster.kubectl("delete", "pod/earlier", "pod/later")

    plugin.unlink()
    assert configuration_after_restart(cluster, node) == ["80-k8s-ovs.conf"]
    cluster.run_pod(node.name, "last")
    cluster.kubectl("delete", "pod/last")
    assert ready_since(cluster, node.name) == since


def configuration_after_restart(cluster: Cluster, node: LabNode) -> list[str]:
    """What is in /etc/cni/net.d when other daemons have started."""
    cluster.kubectl("rollout", "restart", "daemonset/k8s-ovs", "-n", SYSTEM)
    cluster.await_rollout("daemonset/k8s-ovs")
    return run(in_box(node, ["ls", "/etc/cni/net.d"])).stdout.split()


def ready_since(cluster: Cluster, node: str) -> str:
    """When the node has become ready."""
    conditions = cluster.get("node", node)["status"]["conditions"]
    (found,) = (each for each in conditions if each["type"] == "Ready")
    assert found["status"] == "True"
    return str(found["lastTransitionTime"])
