"""A plugin of somebody else chooses pods' addresses: by annotation, and from namespaces' pools."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv4Network

import pytest
from tests.node.installed import with_plugin

from k8s_ovs.errors import K8sOvsError
from k8s_ovs_lab import Lab
from k8s_ovs_lab.lab_net import LabNet

ANNOTATION = "acme.example/address"


@pytest.fixture(scope="module")
def lab(lab_of: Callable[..., Lab], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Two nodes, whose daemons find the plugin on their path."""
    with with_plugin("acme_addresses", tmp_path_factory.mktemp("acme")):
        yield lab_of("adr", plugin="k8s-ovs-multitenant,acme-addresses")


def put_pool(lab: Lab, name: str, namespace: str, network: IPv4Network) -> None:
    record = json.dumps({"Namespace": namespace, "Network": str(network)})
    key = f"/k8s.ovs.com/ovs/network/k8ssdn/address-pools/{name}"
    lab.exec("node1", ["etcdctl", "put", key, record])


def test_a_pod_has_the_address_that_it_asks_for_and_is_reached_there(lab: Lab) -> None:
    wished = LabNet(lab).subnet("node1")[77]
    pod = lab.run_pod("node1", "static", annotations={ANNOTATION: str(wished)})
    lab.run_pod("node2", "client")
    assert pod.ip == wished
    assert LabNet(lab).pings("client", wished)
    lab.delete_pod("static")
    assert lab.run_pod("node1", "static", annotations={ANNOTATION: str(wished)}).ip == wished


def test_an_address_of_another_node_is_refused_with_this_nodes_subnet(lab: Lab) -> None:
    there, here = LabNet(lab).subnet("node2")[99], LabNet(lab).subnet("node1")
    with pytest.raises(K8sOvsError) as raised:
        lab.run_pod("node1", "stray", annotations={ANNOTATION: str(there)})
    assert f"found {there}/32, expected an address for pods of subnet {here}" in str(raised.value)


def test_what_is_no_address_is_refused_with_the_annotation(lab: Lab) -> None:
    with pytest.raises(K8sOvsError, match=f"{ANNOTATION}: found 'ten', expected an IPv4 address"):
        lab.run_pod("node1", "wrong", annotations={ANNOTATION: "ten"})


def test_a_pool_is_for_its_namespace_alone_and_it_gets_no_other_address(lab: Lab) -> None:
    pool = list(LabNet(lab).subnet("node1").subnets(new_prefix=30))[1]
    put_pool(lab, "red", "red", pool)
    # The next addresses in turn would be those of the pool.
    ours, red = list[IPv4Address](), list[IPv4Address]()
    for number in range(4):
        ours.append(lab.run_pod("node1", f"free{number}", "green").ip)
        red.append(lab.run_pod("node1", f"held{number}", "red").ip)
    assert set(red) == set(pool)
    assert not set(ours) & set(pool)
    with pytest.raises(K8sOvsError, match=f"all addresses in {pool} are in use by pods"):
        lab.run_pod("node1", "held4", "red")
    lab.delete_pod("held0", "red")
    assert lab.run_pod("node1", "held5", "red").ip == red[0]


def test_a_pod_keeps_its_address_when_pools_change_and_the_daemon_starts_again(lab: Lab) -> None:
    before = {name: pod.ip for name, pod in lab.pods().items()}
    put_pool(lab, "blue", "blue", LabNet(lab).subnet("node1"))
    lab.stop_daemon("node1")
    lab.start_daemon("node1")
    status = LabNet(lab).status("node1")
    assert (status["ready"], status["problems"]) == (True, [])
    assert {name: pod.ip for name, pod in lab.pods().items()} == before
    assert LabNet(lab).pings("client", before["default/static"])
