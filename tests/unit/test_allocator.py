"""When does the leader write, and what not? Tested against an etcd of a dictionary."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network

import pytest
from tests.unit.allocator_harness import (
    BASE,
    ELECTION,
    FIRST,
    SECOND,
    AllocatorHarness,
    Answering,
    make_harness,
)

from k8s_ovs.errors import Unavailable
from k8s_ovs.model.node import KubeNode
from k8s_ovs.model.subnet import HostSubnet, free_subnets
from k8s_ovs.model.world import CONNECTED, NODES, SUBNETS, Slot
from k8s_ovs.plugin import (
    Allocation,
    KubeResource,
    Problem,
    RecordKind,
    View,
    Write,
    hook,
)
from k8s_ovs_testing.world import sample_config, sample_host


def test_nodes_get_their_subnets(harness: AllocatorHarness) -> None:
    assert harness.reconcile()
    assert harness.subnets() == {"node1": FIRST, "node2": SECOND}
    assert harness.reconcile()
    assert harness.etcd.transactions == 3, "the election and one for each node"


def test_without_leadership_nothing_is_written() -> None:
    harness = make_harness()
    harness.join(1)
    assert harness.reconcile()
    assert harness.etcd.keys == {}


def test_before_any_snapshot_nothing_is_written() -> None:
    harness = make_harness()
    harness.become_leader()
    assert harness.allocator.reconcile()
    assert harness.etcd.transactions == 1


def test_a_snapshot_older_than_the_leadership_is_not_acted_on(harness: AllocatorHarness) -> None:
    old = harness.snapshot()
    harness.become_leader()
    assert not harness.reconcile(old)
    assert harness.subnets() == {}


def test_one_who_was_deposed_without_noticing_cannot_write(harness: AllocatorHarness) -> None:
    snapshot = harness.snapshot()
    harness.etcd.delete(ELECTION)
    harness.etcd.put(ELECTION, b'{"holder":"another"}')
    assert not harness.reconcile(snapshot)
    assert harness.subnets() == {}


def test_what_was_written_counts_before_the_snapshot_shows_it(harness: AllocatorHarness) -> None:
    old = harness.snapshot()
    assert harness.reconcile(old)
    assert harness.reconcile(old)
    assert harness.etcd.transactions == 3
    harness.join(3)
    with_three = old.changed({(NODES, "node3"): Slot(harness.nodes["node3"])})
    assert harness.reconcile(with_three)
    assert harness.subnets()["node3"] == IPv4Network("172.11.8.0/22")


def test_half_a_transaction_in_the_snapshot_does_no_harm(harness: AllocatorHarness) -> None:
    assert harness.reconcile()
    harness.nodes["node1"] = KubeNode("node1", (sample_host(7).host_ip,))
    before = harness.snapshot()
    assert harness.reconcile(before)
    after = harness.snapshot()
    half = before.changed(
        {(SUBNETS, "192.168.0.17"): after.of(SUBNETS)["192.168.0.17"]}, after.revision
    )
    writes = harness.etcd.transactions
    assert harness.reconcile(half)
    assert harness.reconcile(after)
    assert harness.etcd.transactions == writes
    assert harness.subnets() == {"node1": FIRST, "node2": SECOND}


@pytest.mark.parametrize("data", [b"-1", b"?"])
def test_what_was_answered_is_not_answered_again_before_the_snapshot_shows_it(data: bytes) -> None:
    harness = make_harness(Answering())
    harness.become_leader()
    harness.etcd.put(f"{BASE}/audits/a", data)
    old = harness.snapshot()
    assert harness.reconcile(old)
    written = harness.etcd.revision
    assert harness.reconcile(old)
    assert harness.reconcile()
    assert harness.etcd.revision == written
    harness.etcd.put(f"{BASE}/audits/a", data)
    assert harness.reconcile()
    assert harness.etcd.keys[f"{BASE}/audits/a"].value == b"7", "asked anew, answered anew"
    assert harness.etcd.revision == written + 2


def test_a_write_that_comes_between_is_not_overwritten(harness: AllocatorHarness) -> None:
    snapshot = harness.snapshot()
    by_hand = b'{"Host":"node1","HostIP":"192.168.0.11","Subnet":"172.11.100.0/22"}'
    harness.etcd.put(f"{BASE}/subnets/192.168.0.11", by_hand)
    assert not harness.reconcile(snapshot), "asks again soon"
    assert harness.reconcile()
    assert harness.subnets() == {"node1": IPv4Network("172.11.100.0/22"), "node2": SECOND}


class Giving:
    """A plugin that gives a subnet to a host of its own, once."""

    @hook
    def allocations(self, view: View) -> Iterable[Allocation]:
        if view.subnet("192.168.0.99") is None:
            subnet = next(free_subnets(view.config, view.taken()))
            host = HostSubnet("acme", IPv4Address("192.168.0.99"), subnet)
            yield Allocation((Write(SUBNETS, "192.168.0.99", host, 0),), "acme joined")


def test_a_plugin_sees_what_was_written_for_the_one_before() -> None:
    harness = make_harness(Giving())
    harness.become_leader()
    harness.join(1)
    assert harness.reconcile()
    assert harness.subnets() == {"node1": FIRST, "acme": SECOND}
    assert harness.etcd.transactions == 3, "the election and one for each host"


class Careless:
    """A plugin whose allocations cannot be written."""

    def __init__(self, *wanted: Allocation | Problem) -> None:
        self.wanted = wanted

    @hook
    def kinds(self) -> Iterable[RecordKind]:
        return [RecordKind("audits", lambda key, data: data, lambda value: value["no"])]

    @hook
    def allocations(self, view: View) -> Iterable[Allocation | Problem]:
        if not self.wanted:
            raise RuntimeError("no ink")
        return self.wanted


def audit(kind: str, value: object) -> Allocation:
    return Allocation((Write(kind, "a", value, 0),), "an audit")


@pytest.mark.parametrize(
    ("wanted", "problem"),
    [
        ((), "plugin acme-0: allocations of the network: RuntimeError('no ink')"),
        ((Problem("audit a", "has no paper"),), "audit a has no paper"),
        (
            (audit("unheard-of", 1),),
            'plugin acme-0: an audit: records of kind "unheard-of" are not declared, '
            "expected one of deletions, subnets, given, used, audits",
        ),
        (
            (audit("audits", 1),),
            "plugin acme-0: an audit: plugin acme-0 cannot write 1: "
            "TypeError(\"'int' object is not subscriptable\")",
        ),
    ],
)
def test_what_a_plugin_does_wrong_is_told_and_the_others_go_on(
    wanted: tuple[Allocation | Problem, ...], problem: str
) -> None:
    harness = make_harness(Careless(*wanted))
    harness.become_leader()
    harness.join(1)
    assert not harness.reconcile(), "asks again soon"
    (told,) = harness.allocator.problems
    assert told.startswith(problem)
    assert harness.subnets() == {"node1": FIRST}
    harness.election.token = None
    assert harness.reconcile()
    assert list(harness.allocator.problems) == []


def test_what_etcd_refuses_is_told_and_the_next_one_is_written(harness: AllocatorHarness) -> None:
    harness.etcd.refused = "192.168.0.11"
    assert not harness.reconcile()
    assert list(harness.allocator.problems) == [
        "plugin node-subnets: node node1 joined: etcd refuses: 192.168.0.11"
    ]
    assert harness.subnets() == {"node2": SECOND}
    harness.etcd.refused = ""
    assert harness.reconcile()
    assert harness.subnets() == {"node1": FIRST, "node2": SECOND}


def test_an_unavailable_etcd_ends_the_reconcile(harness: AllocatorHarness) -> None:
    harness.etcd.fault = Unavailable("etcd is away")
    with pytest.raises(Unavailable):
        harness.reconcile()
    assert harness.subnets() == {}
    assert harness.reconcile()
    assert harness.subnets() == {"node1": FIRST, "node2": SECOND}


def test_a_full_network_is_a_problem_until_a_node_leaves() -> None:
    two = sample_config(network=IPv4Network("172.11.0.0/21"))
    harness = make_harness(config=two, hold_down=0.0)
    harness.become_leader()
    harness.join(1, 2, 3)
    assert not harness.reconcile()
    problems = ["node node3 has no subnet: all of Network 172.11.0.0/21 are taken"]
    assert list(harness.allocator.problems) == problems
    del harness.nodes["node1"]
    harness.reconcile()
    assert harness.reconcile()
    assert list(harness.allocator.problems) == []
    assert harness.subnets() == {"node2": SECOND, "node3": FIRST}


class Renting:
    """Takes back the rents of what is in no list of Kubernetes."""

    @hook
    def kinds(self) -> Iterable[RecordKind]:
        return [RecordKind("rents", lambda _, data: data.decode(), str.encode)]

    @hook
    def resources(self) -> Iterable[KubeResource]:
        return [KubeResource("rooms", "/apis/acme.example/v1/rooms", dict, for_allocation=True)]

    @hook
    def allocations(self, view: View) -> Iterable[Allocation]:
        for key in view.all("rents").keys() - view.all("rooms").keys():
            write = Write("rents", key, None, view.revision("rents", key))
            yield Allocation((write,), f"room {key} is gone")


def test_who_looks_at_what_is_refused_allocates_nothing_and_the_others_go_on() -> None:
    harness = make_harness(Renting())
    harness.become_leader()
    harness.join(1)
    rent = f"{BASE}/rents/a"
    harness.etcd.put(rent, b"7")
    refused = harness.snapshot().changed({(CONNECTED, "rooms"): Slot(False)})
    assert not harness.reconcile(refused)
    assert harness.subnets() == {"node1": FIRST}
    assert rent in harness.etcd.keys
    assert harness.allocator.problems == (
        "plugin acme-0: it allocates nothing without rooms of Kubernetes",
    )
    known = harness.snapshot().changed({(CONNECTED, "rooms"): Slot(True)})
    assert harness.reconcile(known)
    assert rent not in harness.etcd.keys
    assert harness.allocator.problems == ()
