"""A node keeps the subnet that its pods are in, whatever becomes of its Node object and records."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network

import pytest
from attrs import evolve
from tests.unit.allocator_harness import BASE, FIRST, SECOND, AllocatorHarness, make_harness

from k8s_ovs.model.codec import encode
from k8s_ovs.model.node import KubeNode
from k8s_ovs.model.subnet_use import SubnetUse, subnet_of_pods
from k8s_ovs.model.world import SUBNETS
from k8s_ovs_testing.world import sample_host

THIRD = IPv4Network("172.11.8.0/22")
SMALL = IPv4Network("172.11.8.0/24")


def has_pods(harness: AllocatorHarness, name: str, subnet: IPv4Network = SECOND) -> None:
    """As the daemon of that node says it."""
    harness.etcd.put(f"{BASE}/used/{name}", encode(SubnetUse(name, subnet)))


def leaves(harness: AllocatorHarness, *names: str) -> None:
    for name in names:
        del harness.nodes[name]
    harness.reconcile()
    harness.reconcile()


def test_a_node_made_anew_keeps_the_subnet_of_its_pods(harness: AllocatorHarness) -> None:
    harness.join(3)
    harness.reconcile()
    has_pods(harness, "node2")
    leaves(harness, "node1", "node2")
    assert harness.subnets() == {"node2": SECOND, "node3": THIRD}
    harness.join(2)
    assert harness.reconcile()
    assert harness.subnets()["node2"] == SECOND


def test_two_nodes_that_come_back_in_the_other_order_keep_theirs(
    harness: AllocatorHarness,
) -> None:
    harness.reconcile()
    has_pods(harness, "node1", FIRST)
    has_pods(harness, "node2")
    # Whoever had removed the records, the pods are still there.
    for number in (1, 2):
        harness.etcd.delete(f"{BASE}/subnets/192.168.0.1{number}")
        harness.etcd.delete(f"{BASE}/given/192.168.0.1{number}")
    harness.nodes.clear()
    again = make_harness(etcd=harness.etcd)
    again.become_leader()
    for number in (2, 1):
        again.join(number)
        assert again.reconcile()
    assert again.subnets() == {"node1": FIRST, "node2": SECOND}


def test_nobody_is_given_what_pods_are_in(harness: AllocatorHarness) -> None:
    has_pods(harness, "node9", FIRST)
    assert harness.reconcile()
    assert harness.subnets() == {"node1": SECOND, "node2": THIRD}


def test_a_node_with_another_subnet_than_its_pods_gets_theirs_back(
    harness: AllocatorHarness,
) -> None:
    assert harness.reconcile()
    has_pods(harness, "node2", THIRD)
    assert harness.reconcile()
    assert harness.subnets() == {"node1": FIRST, "node2": THIRD}


def test_a_person_may_make_the_subnet_of_a_node_wider_or_narrower(
    harness: AllocatorHarness,
) -> None:
    """The node itself judges whether its pods are in it."""
    assert harness.reconcile()
    has_pods(harness, "node2")
    key = f"{BASE}/subnets/192.168.0.12"
    narrow = harness.etcd.keys[key].value.replace(b"172.11.4.0/22", b"172.11.4.0/24")
    harness.etcd.put(key, narrow)
    assert harness.reconcile()
    assert harness.subnets()["node2"] == IPv4Network("172.11.4.0/24")


def test_a_node_whose_pods_are_in_the_subnet_of_another_is_told_so(
    harness: AllocatorHarness,
) -> None:
    assert harness.reconcile()
    has_pods(harness, "node2", FIRST)
    assert not harness.reconcile()
    assert list(harness.allocator.problems) == [
        "node node2 has 172.11.4.0/22: its pods are in 172.11.0.0/22, which overlaps "
        "172.11.0.0/22 of 192.168.0.11"
    ]
    assert harness.subnets() == {"node1": FIRST, "node2": SECOND}


def test_once_its_pods_are_gone_a_node_that_is_gone_loses_its_subnet(
    harness: AllocatorHarness,
) -> None:
    assert harness.reconcile()
    has_pods(harness, "node2")
    leaves(harness, "node2")
    assert harness.subnets() == {"node1": FIRST, "node2": SECOND}
    harness.etcd.delete(f"{BASE}/used/node2")
    assert harness.reconcile()
    assert harness.subnets() == {"node1": FIRST}


def test_what_a_node_had_is_nobody_elses_for_a_while_and_its_own_again(
    harness: AllocatorHarness,
) -> None:
    harness.join(3)
    assert harness.reconcile()
    leaves(harness, "node1", "node2")
    harness.join(4)
    assert harness.reconcile()
    assert harness.subnets() == {"node3": THIRD, "node4": IPv4Network("172.11.12.0/22")}
    harness.join(2, 1)
    assert harness.reconcile()
    assert harness.subnets()["node2"] == SECOND
    assert harness.subnets()["node1"] == FIRST


def test_of_two_that_might_have_what_a_node_had_the_node_itself_gets_it(
    harness: AllocatorHarness,
) -> None:
    harness.join(3)
    assert harness.reconcile()
    leaves(harness, "node2")
    harness.nodes["node2"] = KubeNode("node2", (sample_host(9).host_ip,))
    harness.nodes["another"] = KubeNode("another", (sample_host(2).host_ip,))
    assert harness.reconcile()
    found = harness.subnets()
    assert found["node2"] == SECOND
    assert len(set(found.values())) == len(found) == 4


def test_pods_outside_the_network_are_told_and_nothing_is_written_again_and_again(
    harness: AllocatorHarness,
) -> None:
    assert harness.reconcile()
    for name, outside in (("node1", "10.1.0.0/22"), ("node2", "10.1.4.0/22")):
        has_pods(harness, name, IPv4Network(outside))
    before = harness.subnets()
    writes = harness.etcd.transactions
    assert not harness.reconcile()
    assert not harness.reconcile()
    assert harness.etcd.transactions == writes
    assert harness.subnets() == before
    assert all("outside Network" in each for each in harness.allocator.problems)


def test_the_order_of_a_nodes_addresses_is_nothing(harness: AllocatorHarness) -> None:
    first, second = sample_host(1).host_ip, sample_host(7).host_ip
    harness.nodes["node1"] = KubeNode("node1", (first, second))
    assert harness.reconcile()
    before = harness.snapshot().settled(SUBNETS)
    harness.nodes["node1"] = KubeNode("node1", (second, first))
    assert harness.reconcile()
    assert harness.snapshot().settled(SUBNETS) == before
    harness.nodes["node1"] = KubeNode("node1", (second,))
    assert harness.reconcile()
    moved = evolve(before[str(first)], host_ip=second)
    assert harness.snapshot().settled(SUBNETS)[str(second)] == moved


@pytest.mark.parametrize(
    ("pods", "known", "subnet"),
    [
        ([], [SECOND], None),
        (["172.11.4.2", "172.11.7.254"], [None, SECOND], SECOND),
        (["172.11.8.2"], [SECOND], THIRD),
        (["172.11.8.2", "172.11.9.7"], [], THIRD),
        (["172.11.8.2", "172.11.8.7"], [None, SECOND, SMALL], SMALL),
        (["172.11.8.2", "172.11.4.7"], [SMALL], None),
    ],
)
def test_the_subnet_of_pods(
    pods: Iterable[str], known: list[IPv4Network | None], subnet: IPv4Network | None
) -> None:
    assert subnet_of_pods([*map(IPv4Address, pods)], known, 10) == subnet
