"""Deletions in masses wait for a person: an empty list of nodes is no reason to stop a cluster."""

from __future__ import annotations

import pytest
from tests.unit.allocator_harness import BASE, AllocatorHarness, make_harness


def of_nodes(count: int) -> AllocatorHarness:
    harness = make_harness(hold_down=0.0)
    harness.become_leader()
    harness.join(*range(1, count + 1))
    assert harness.reconcile()
    return harness


def test_an_empty_list_of_nodes_deletes_nothing() -> None:
    harness = of_nodes(3)
    before = harness.subnets()
    harness.nodes.clear()
    assert not harness.reconcile()
    assert harness.subnets() == before
    (told,) = harness.allocator.problems
    assert told == (
        "3 of 3 given, 3 of 3 subnets would go or become others' at once (node node1 is gone; "
        "node node2 is gone; node node3 is gone), so nothing is, until somebody looks: if that is "
        "right, k8s-ovs allow-deletions 3"
    )


@pytest.mark.parametrize(
    ("total", "gone", "go"), [(20, 11, False), (20, 10, True), (9, 8, False), (5, 3, True)]
)
def test_more_than_half_of_many_are_too_many(total: int, gone: int, go: bool) -> None:
    harness = of_nodes(total)
    for number in range(1, gone + 1):
        del harness.nodes[f"node{number}"]
    harness.reconcile()
    assert len(harness.subnets()) == (total - gone if go else total)


def test_the_last_node_may_go() -> None:
    harness = of_nodes(1)
    harness.nodes.clear()
    assert harness.reconcile()
    assert harness.subnets() == {}


def test_others_are_served_meanwhile() -> None:
    harness = of_nodes(4)
    harness.nodes.clear()
    harness.join(5)
    assert not harness.reconcile()
    assert harness.subnets().keys() == {f"node{number}" for number in range(1, 6)}


def test_a_person_may_allow_it_once() -> None:
    harness = of_nodes(3)
    harness.nodes.clear()
    harness.etcd.put(f"{BASE}/deletions/allowed", b'{"Most":2}')
    assert not harness.reconcile()
    harness.etcd.put(f"{BASE}/deletions/allowed", b'{"Most":3}')
    assert harness.reconcile()
    assert harness.reconcile()
    assert harness.subnets() == {}
    assert f"{BASE}/deletions/allowed" not in harness.etcd.keys
