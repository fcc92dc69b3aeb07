"""When does the seated one write, and what not? Decided against an etcd of a dictionary."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network

import pytest
from attrs import evolve
from tests.unit.office import BASE, FIRST, SEAT, SECOND, Answering, Office, make_office

from k8s_ovs.errors import K8sOvsError, Unavailable
from k8s_ovs.model.subnet import HostSubnet, free_subnets
from k8s_ovs.plugin import Allocation, Kind, Problem, View, Write, hook
from k8s_ovs.plugin.view import NODES, SUBNETS, Record
from k8s_ovs_testing.world import sample_config, sample_host


def test_nodes_get_their_subnets(office: Office) -> None:
    assert office.turn()
    assert office.subnets() == {"node1": FIRST, "node2": SECOND}
    assert office.turn()
    assert office.etcd.transactions == 3, "the seat and one for each node"


def test_without_the_seat_nothing_is_written() -> None:
    office = make_office()
    office.join(1)
    assert office.turn()
    assert office.etcd.keys == {}


def test_before_any_picture_nothing_is_written() -> None:
    office = make_office()
    office.take_seat()
    assert office.allocator.turn()
    assert office.etcd.transactions == 1


def test_a_picture_older_than_the_seat_is_not_acted_on(office: Office) -> None:
    old = office.picture()
    office.take_seat()
    assert not office.turn(old)
    assert office.subnets() == {}


def test_one_who_was_deposed_without_noticing_cannot_write(office: Office) -> None:
    picture = office.picture()
    office.etcd.delete(SEAT)
    office.etcd.put(SEAT, b'{"holder":"another"}')
    assert not office.turn(picture)
    assert office.subnets() == {}


def test_what_was_written_counts_before_the_picture_shows_it(office: Office) -> None:
    old = office.picture()
    assert office.turn(old)
    assert office.turn(old)
    assert office.etcd.transactions == 3
    office.join(3)
    with_three = old.changed({(NODES, "node3"): Record(office.nodes["node3"])}, 0)
    assert office.turn(with_three)
    assert office.subnets()["node3"] == IPv4Network("172.11.8.0/22")


def test_half_a_transaction_in_the_picture_does_no_harm(office: Office) -> None:
    assert office.turn()
    office.nodes["node1"] = evolve(office.nodes["node1"], address=sample_host(7).host_ip)
    before = office.picture()
    assert office.turn(before)
    after = office.picture()
    half = before.changed(
        {(SUBNETS, "192.168.0.17"): after.of(SUBNETS)["192.168.0.17"]}, after.revision
    )
    writes = office.etcd.transactions
    assert office.turn(half)
    assert office.turn(after)
    assert office.etcd.transactions == writes
    assert office.subnets() == {"node1": FIRST, "node2": SECOND}


@pytest.mark.parametrize("data", [b"-1", b"?"])
def test_what_was_answered_is_not_answered_again_before_the_picture_shows_it(data: bytes) -> None:
    office = make_office(Answering())
    office.take_seat()
    office.etcd.put(f"{BASE}/audits/a", data)
    old = office.picture()
    assert office.turn(old)
    written = office.etcd.revision
    assert office.turn(old)
    assert office.turn()
    assert office.etcd.revision == written
    office.etcd.put(f"{BASE}/audits/a", data)
    assert office.turn()
    assert office.etcd.keys[f"{BASE}/audits/a"].value == b"7", "asked anew, answered anew"
    assert office.etcd.revision == written + 2


def test_a_write_that_comes_between_is_not_overwritten(office: Office) -> None:
    picture = office.picture()
    by_hand = b'{"Host":"node1","HostIP":"192.168.0.11","Subnet":"172.11.100.0/22"}'
    office.etcd.put(f"{BASE}/subnets/192.168.0.11", by_hand)
    assert not office.turn(picture), "asks again soon"
    assert office.turn()
    assert office.subnets() == {"node1": IPv4Network("172.11.100.0/22"), "node2": SECOND}


class Giving:
    """A plugin that gives a subnet to a host of its own, once."""

    @hook
    def allocations(self, view: View) -> Iterable[Allocation]:
        if view.subnet("192.168.0.99") is None:
            subnet = next(free_subnets(view.config, view.taken()))
            host = HostSubnet("acme", IPv4Address("192.168.0.99"), subnet)
            yield Allocation((Write(SUBNETS, "192.168.0.99", host, 0),), "acme joined")


def test_a_plugin_sees_what_was_written_for_the_one_before() -> None:
    office = make_office(Giving())
    office.take_seat()
    office.join(1)
    assert office.turn()
    assert office.subnets() == {"node1": FIRST, "acme": SECOND}
    assert office.etcd.transactions == 3, "the seat and one for each host"


class Careless:
    """A plugin whose allocations cannot be written."""

    def __init__(self, *wanted: Allocation | Problem) -> None:
        self.wanted = wanted

    @hook
    def kinds(self) -> Iterable[Kind]:
        return [Kind("audits", lambda key, data: data, lambda value: value["no"])]

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
            "expected one of subnets, given, audits",
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
    office = make_office(Careless(*wanted))
    office.take_seat()
    office.join(1)
    assert not office.turn(), "asks again soon"
    assert list(office.allocator.problems) == [problem]
    assert office.subnets() == {"node1": FIRST}
    office.chair.token = None
    assert office.turn()
    assert list(office.allocator.problems) == []


def test_what_etcd_refuses_is_told_and_the_next_one_is_written(office: Office) -> None:
    office.etcd.fault = K8sOvsError("etcd refuses: too many operations")
    assert not office.turn()
    assert list(office.allocator.problems) == [
        "plugin node-subnets: node node1 joined: etcd refuses: too many operations"
    ]
    assert office.subnets() == {"node2": SECOND}
    assert office.turn()
    assert office.subnets() == {"node1": FIRST, "node2": SECOND}


def test_an_etcd_that_is_away_ends_the_turn(office: Office) -> None:
    office.etcd.fault = Unavailable("etcd is away")
    with pytest.raises(Unavailable):
        office.turn()
    assert office.subnets() == {}
    assert office.turn()
    assert office.subnets() == {"node1": FIRST, "node2": SECOND}


def test_a_full_network_is_a_problem_until_a_node_leaves() -> None:
    office = make_office(config=sample_config(network=IPv4Network("172.11.0.0/21")))
    office.take_seat()
    office.join(1, 2, 3)
    assert not office.turn()
    problems = ["node node3 has no subnet: all of Network 172.11.0.0/21 are taken"]
    assert list(office.allocator.problems) == problems
    del office.nodes["node1"]
    office.turn()
    assert office.turn()
    assert list(office.allocator.problems) == []
    assert office.subnets() == {"node2": SECOND, "node3": FIRST}
