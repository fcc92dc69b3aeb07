"""Nodes that go, come and move: packets follow the records, and the records follow Kubernetes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address

from attrs import evolve

from k8s_ovs_lab import Lab, LabNode
from k8s_ovs_lab.lab_net import LabNet
from k8s_ovs_lab.layout import ETCD_PREFIX
from k8s_ovs_lab.process import await_that
from k8s_ovs_lab.servers import objects
from k8s_ovs_lab.underlay import address_node

WITHIN = 30.0
SUBNETS = "k8ssdn/subnets/"
NEWCOMER = IPv4Address("192.168.0.19")
MOVED = IPv4Address("192.168.0.22")


def test_a_deleted_node_keeps_the_subnet_of_its_pods_and_the_next_gets_another(
    world: LabNet,
) -> None:
    subnet = world.subnet("node2")
    assert reach_each_other(world)
    with without_node2(world):
        newcomer = LabNode("newcomer", NEWCOMER, "", world.lab.layout.directory)
        objects(world.lab.layout).ensure_node(newcomer)
        await_record(world, NEWCOMER, "newcomer")
        assert not world.subnet("newcomer").overlaps(subnet)
        assert world.subnet("node2") == subnet
        assert reach_each_other(world)
        objects(world.lab.layout).delete_node("newcomer")
        await_no_record(world, NEWCOMER)
    assert world.subnet("node2") == subnet
    assert reach_each_other(world)


def test_without_its_record_a_node_is_cut_off_until_the_record_is_back(world: LabNet) -> None:
    """A person who deletes a record means it: the allocator does not give it again at once."""
    address = world.address("node2")
    key = f"{ETCD_PREFIX}/{SUBNETS}{address}"
    record = world.records()[f"{SUBNETS}{address}"]
    world.lab.etcdctl("del", key)
    await_flows(world, "node1", lambda flows: str(address) not in flows)
    assert not one_reaches_the_other(world)
    assert f"{SUBNETS}{address}" not in world.records()
    world.lab.etcdctl("put", key, record)
    await_flows(world, "node1", lambda flows: str(address) in flows)
    assert reach_each_other(world)


def test_a_node_that_moves_keeps_its_subnet_and_its_pods_go_on(world: LabNet) -> None:
    subnet, before = world.subnet("node2"), world.address("node2")
    assert reach_each_other(world)
    for old, new in ((before, MOVED), (MOVED, before)):
        move_node2(world.lab, old, new)
        await_record(world, new, "node2")
        await_no_record(world, old)
        assert world.subnet("node2") == subnet
        await_that("packets by the new address", lambda: reach_each_other(world), WITHIN)
        assert world.pings("a", new)


@contextmanager
def without_node2(world: LabNet) -> Iterator[None]:
    """Meanwhile Kubernetes does not know node2, though all of it runs."""
    node, kube = world.lab.node("node2"), objects(world.lab.layout)
    kube.delete_node("node2")
    try:
        await_that("node2 to see that", lambda: not world.status("node2")["ready"], WITHIN)
        yield
    finally:
        kube.ensure_node(node)
        kube.mark_node(node, ready=True)
        await_that("node2 to be ready", lambda: world.status("node2")["ready"], WITHIN)


def move_node2(lab: Lab, old: IPv4Address, new: IPv4Address) -> None:
    """Another address on the underlay, as the machine has it and as its kubelet says it."""
    node = evolve(lab.node("node2"), address=new)
    device = "br-phy" if lab.state.datapath == "netdev" else "eth0"
    lab.exec("node2", ["ip", "address", "delete", f"{old}/24", "dev", device])
    address_node(node, device)
    objects(lab.layout).mark_node(node, ready=True)


def reach_each_other(world: LabNet) -> bool:
    return world.pings("a", world.address("c")) and world.pings("c", world.address("a"))


def one_reaches_the_other(world: LabNet) -> bool:
    return world.pings("a", world.address("c")) or world.pings("c", world.address("a"))


def await_record(world: LabNet, address: IPv4Address, host: str) -> None:
    def given() -> bool:
        text = world.records().get(f"{SUBNETS}{address}", "{}")
        return bool(json.loads(text).get("Host") == host)

    await_that(f"the record of {host} at {address}", given, WITHIN)


def await_no_record(world: LabNet, address: IPv4Address) -> None:
    key = f"{SUBNETS}{address}"
    await_that(f"no record at {address}", lambda: key not in world.records(), WITHIN)


def await_flows(world: LabNet, node: str, hold: Callable[[str], bool]) -> None:
    await_that(f"flows of {node}", lambda: hold("".join(world.flows(node))), WITHIN)
