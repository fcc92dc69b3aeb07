"""When other nodes are probed: at once when they come, in time for good, never many at once."""

from __future__ import annotations

from ipaddress import IPv4Address
from itertools import pairwise
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from k8s_ovs.errors import Unavailable
from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.model.world import SUBNETS, Slot
from k8s_ovs.node.host import neighbours as module
from k8s_ovs.node.host.neighbours import AT_ONCE, Neighbours, ProbeTimes
from k8s_ovs.node.ipam import AddressPool
from k8s_ovs.node.network import Network
from k8s_ovs.reconcile.reconciler import Reconciler
from k8s_ovs_subnet import SingleTenant
from k8s_ovs_testing.world import sample_config, sample_host, sample_local_node, sample_world

OWN = IPv4Address("10.0.0.200")
#: Seconds for which Open vSwitch remembers a MAC address that it does not use.
FORGOTTEN_AFTER = 900.0


def nodes(count: int) -> set[IPv4Address]:
    return {IPv4Address("10.0.0.0") + number for number in range(count)}


def follow(times: ProbeTimes, addresses: set[IPv4Address], now: float) -> None:
    """These are the other nodes now."""
    for address in addresses:
        times.come(address, now)
    for address in nodes(200) - addresses:
        times.go(address)


def probed(times: ProbeTimes, until: float, now: float = 0.0) -> list[tuple[float, IPv4Address]]:
    """Who is probed when, if `take` is called whenever it asks to be."""
    found = []
    while times.due_at is not None and max(times.due_at, now) <= until:
        now = max(times.due_at, now)
        found += [(now, address) for address in times.take(now)]
    return found


def test_a_new_node_is_probed_at_once_and_again_soon_and_then_for_ever() -> None:
    times = ProbeTimes(OWN)
    follow(times, nodes(1), 5.0)
    assert [at - 5 for at, _ in probed(times, 1000)] == [
        *(0, 1, 3, 7, 15, 31, 63, 127, 255),
        *(495, 735, 975),
    ]


def test_who_is_gone_is_not_probed_and_who_stays_goes_on() -> None:
    times = ProbeTimes(OWN)
    follow(times, nodes(2), 0.0)
    assert len(times.take(0.0)) == 2
    follow(times, nodes(1), 0.5)
    assert (times.due_at, times.take(1.0)) == (1.0, [*nodes(1)])
    follow(times, set(), 1.5)
    assert times.due_at is None


def test_each_node_begins_with_another_one() -> None:
    begins = set()
    for own in (addresses := nodes(100)):
        times = ProbeTimes(own)
        follow(times, addresses - {own}, 0.0)
        begins.add(times.take(0.0)[0])
    assert len(begins) == 100


def test_all_are_probed_once_before_any_is_probed_again() -> None:
    times = ProbeTimes(OWN)
    follow(times, nodes(60), 0.0)
    assert {address for _, address in probed(times, 10)[:60]} == nodes(60)


@given(
    came=st.lists(st.tuples(st.integers(0, 500), st.integers(1, 60)), min_size=1, max_size=4),
)
def test_no_second_has_a_burst_and_nobody_is_forgotten(came: list[tuple[int, int]]) -> None:
    """came: when nodes come, and how many."""
    times, count, found, now = ProbeTimes(OWN), 0, [], 0.0
    for at, more in sorted(came):
        found += probed(times, at, now)
        now, count = at, count + more
        follow(times, nodes(count), now)
    end = now + 1500
    found += probed(times, end, now)
    by_time: dict[float, int] = {}
    by_node: dict[IPv4Address, list[float]] = {}
    for when, address in found:
        by_time[when] = by_time.get(when, 0) + 1
        by_node.setdefault(address, []).append(when)
    assert max(by_time.values()) <= AT_ONCE
    assert all(later - sooner >= 1 for sooner, later in pairwise(sorted(by_time)))
    assert by_node.keys() == nodes(count)
    for whens in by_node.values():
        assert max(later - sooner for sooner, later in pairwise([*whens, end])) < FORGOTTEN_AFTER


class Wire:
    """A connection to br0: `sent` are the packets that it was given."""

    def __init__(self, *, broken: bool = False) -> None:
        self.sent: list[bytes] = []
        self._broken = broken

    def send_packet(self, _frame: bytes, actions: bytes) -> None:
        if self._broken:
            raise Unavailable("the bridge hung up")
        self.sent.append(actions)


class Node:
    """A node with two others, its clock, and its connection to br0."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, datapath: Any = "netdev") -> None:
        self.now = 100.0
        monkeypatch.setattr(module.time, "monotonic", lambda: self.now)
        self.openflow: Any = Wire()
        local_node = sample_local_node()
        manager = PluginManager({"k8s-ovs-subnet": SingleTenant()})
        self.network = Network(
            config=sample_config(),
            manager=manager,
            reconciler=Reconciler(manager, sample_world(pods=[])),
            local_node=local_node,
            datapath=datapath,
            pool=AddressPool(local_node.subnet),
        )
        self.records(1, 2, 3)
        self.neighbours = Neighbours(self)  # type: ignore[arg-type] - all that it uses of a Switch

    def records(self, *numbers: int) -> None:
        hosts = map(sample_host, numbers)
        slots = {(SUBNETS, str(each.host_ip)): Slot(each) for each in hosts}
        self.network.reconciler.update(slots)

    def sent(self) -> int:
        """How many probes one reconcile sends."""
        before = len(self.openflow.sent)
        self.neighbours.tend(self.network)
        return len(self.openflow.sent) - before


def test_all_but_this_node_are_probed_each_when_it_is_time(monkeypatch: pytest.MonkeyPatch) -> None:
    node = Node(monkeypatch)
    assert (node.sent(), node.sent()) == (2, 0)
    assert node.neighbours.due_at == 101.0
    node.now = 101.0
    assert (node.sent(), node.sent()) == (2, 0)
    node.now = 102.5
    node.records(4)
    assert node.sent() == 1


def test_a_new_connection_may_be_to_a_switch_that_knows_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    node = Node(monkeypatch)
    assert node.sent() == 2
    node.openflow = None
    node.neighbours.tend(node.network)
    assert node.neighbours.due_at is None
    node.openflow = Wire()
    assert node.sent() == 2


def test_a_host_without_a_subnet_is_not_probed(monkeypatch: pytest.MonkeyPatch) -> None:
    node = Node(monkeypatch)
    without = evolve(sample_host(3), subnet=None)
    node.network.reconciler.update({(SUBNETS, str(without.host_ip)): Slot(without)})
    assert node.sent() == 1


def test_the_kernels_datapath_needs_no_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    node = Node(monkeypatch, "system")
    assert (node.sent(), node.neighbours.due_at) == (0, None)


def test_a_probe_that_cannot_be_sent_harms_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    node = Node(monkeypatch)
    node.openflow = Wire(broken=True)
    assert (node.sent(), node.neighbours.due_at) == (0, 101.0)
