"""`k8s-ovs external`: what is shown of external hosts, and what people's requests write."""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Network

import pytest
from attrs import evolve
from tests.conftest import Cli

from k8s_ovs.builtin.node_owners import SubnetOwner
from k8s_ovs.errors import K8sOvsError
from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.model.node_status import NodeStatus
from k8s_ovs.model.subnet import HostSubnet
from k8s_ovs.model.world import EMPTY, GIVEN, SUBNETS, Slot
from k8s_ovs.plugin import View, Write
from k8s_ovs_extlb import ExternalHosts
from k8s_ovs_extlb.command_requests import chosen, moved, removed, requested
from k8s_ovs_extlb.listing import Host, as_cells, hosts, with_life
from k8s_ovs_extlb.records import EXTERNAL, External
from k8s_ovs_subnet import SingleTenant
from k8s_ovs_testing.world import sample_host, sample_world

MANAGER = PluginManager({"k8s-ovs-subnet": SingleTenant(), "k8s-ovs-extlb": ExternalHosts()})
NOW = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC)
LB = IPv4Network("172.11.64.0/22")


def address(number: int) -> str:
    return f"192.168.0.{number}"


def record(number: int, name: str = "lb1", **fields: object) -> HostSubnet:
    return evolve(HostSubnet(name, IPv4Address(address(number)), LB), **fields)


def view_of(
    *settled: HostSubnet,
    requests: tuple[HostSubnet, ...] = (),
    quarantine: dict[str, str] | None = None,
    known: dict[str, External] | None = None,
) -> View:
    """Node 1 of Kubernetes and other hosts. Revisions: settled 1, requests 7, quarantine 8."""
    node = sample_host(1)
    slots = {str(each.host_ip): Slot(each, revision=1) for each in (node, *settled)}
    for each in requests:
        before = slots.get(str(each.host_ip), EMPTY)
        slots[str(each.host_ip)] = evolve(before, asked=each, revision=7)
    for key, text in (quarantine or {}).items():
        slots[key] = evolve(slots.get(key, EMPTY), problem=text, revision=8)
    world = sample_world(
        hosts=(),
        pods=(),
        records={
            GIVEN: {str(node.host_ip): SubnetOwner("node1")},
            EXTERNAL: known or {},
            SUBNETS: slots,
        },
    )
    return MANAGER.view(world)


def test_hosts_are_those_with_a_record_that_are_no_nodes_by_their_addresses() -> None:
    view = view_of(
        record(200),
        record(99, "lb2", subnet=None, reason="no"),
        record(101, "lb4"),
        record(103, "lb6", subnet=None),
        requests=(record(100, "lb3", subnet=None), record(101, "lb4", subnet=None)),
        quarantine={address(102): "not JSON", "lb9": "HostIP"},
        known={address(102): External("lb5", LB)},
    )
    assert hosts(view) == [
        Host("?", "lb9", None, "quarantined", "HostIP"),
        Host("lb2", address(99), None, "refused", "no"),
        Host("lb3", address(100), None, "waiting"),
        Host("lb4", address(101), LB, "waiting"),
        Host("lb5", address(102), None, "quarantined", "not JSON"),
        Host("lb6", address(103), None, "idle"),
        Host("lb1", address(200), LB, "ok"),
    ]


def status(name: str, at: str, revision: int, seen: str | None = None) -> NodeStatus:
    return NodeStatus(name, at, "1.0", revision, True, 0, 0, seen=seen)


@pytest.mark.parametrize(
    ("live", "seen", "cells"),
    [
        ((), (), ("never", "-", "-")),
        ((90,), (), ("now", "1.0", "90")),
        ((90, 100), (), ("now", "1.0", "90 (10 behind)")),
        ((), ("2026-05-01T11:59:18+00:00",), ("42 s ago", "1.0", "80")),
        ((), ("2026-05-01T11:56:59+00:00",), ("3 min ago", "1.0", "80")),
        ((), ("2026-05-01T01:00:00+00:00",), ("11 h ago", "1.0", "80")),
        ((), ("2026-04-01T12:00:00+00:00",), ("30 d ago", "1.0", "80")),
        # Its clock is ahead of ours.
        ((), ("2026-05-01T12:00:09+00:00",), ("0 s ago", "1.0", "80")),
    ],
)
def test_a_hosts_life_is_what_its_daemon_says_or_has_said(
    live: tuple[int, ...], seen: tuple[str, ...], cells: tuple[str, ...]
) -> None:
    names = (("lb1", address(200)), ("node1", address(11)))
    alive = [status(*which, revision) for which, revision in zip(names, live, strict=False)]
    remembered = [status("lb1", address(200), 80, at) for at in seen]
    (host,) = with_life(hosts(view_of(record(200))), alive, remembered)
    assert as_cells(host, NOW) == ("lb1", address(200), str(LB), "ok", *cells)


def test_who_is_added_asks_by_a_record() -> None:
    write = requested(view_of(), "lb1", IPv4Address(address(200)), None, 4)
    wanted = record(200, subnet=None, assign=True, host_subnet_length=4)
    assert write == Write(SUBNETS, address(200), wanted, 0)


def test_who_is_added_again_keeps_what_else_its_record_says_but_an_old_refusal() -> None:
    before = record(200, extra={"Rack": 7}, reason="no")
    write = requested(view_of(before), "lb1", before.host_ip, LB, None)
    assert write == Write(SUBNETS, address(200), evolve(before, assign=True, reason=None), 1)


def test_who_is_added_over_a_record_that_cannot_be_read_repairs_it() -> None:
    view = view_of(quarantine={address(200): "not JSON"}, known={address(200): External("lb1", LB)})
    write = requested(view, "lb1", IPv4Address(address(200)), None, None)
    assert write == Write(SUBNETS, address(200), record(200, subnet=None, assign=True), 8)


def test_who_is_removed_leaves_nothing() -> None:
    view = view_of(record(200), requests=(record(200),), known={address(200): External("lb1", LB)})
    assert removed(view, chosen(view, "lb1")) == [
        Write(SUBNETS, address(200), None, 7),
        Write(EXTERNAL, address(200), None, 1),
    ]


def test_who_moves_takes_its_record_along() -> None:
    known = External("lb1", LB, {"Rack": 7})
    view = view_of(record(200, extra={"Rack": 7}), known={address(200): known})
    assert moved(view, chosen(view, address(200)), IPv4Address(address(201))) == [
        Write(SUBNETS, address(200), None, 1),
        Write(EXTERNAL, address(200), None, 1),
        Write(SUBNETS, address(201), record(201, extra={"Rack": 7}), 0),
        Write(EXTERNAL, address(201), known, 0),
    ]


TWO = view_of(record(200), record(201), record(202, "lb2"), quarantine={address(203): "not JSON"})


@pytest.mark.parametrize(
    ("wish", "reason"),
    [
        (
            lambda: requested(TWO, "lb1", IPv4Address(address(11)), None, None),
            "192.168.0.11 is the address of node node1",
        ),
        (
            lambda: requested(TWO, "lb2", IPv4Address(address(210)), None, None),
            "host lb2 is at 192.168.0.202; to move it: k8s-ovs external move lb2",
        ),
        (
            lambda: requested(TWO, "lb3", IPv4Address(address(202)), None, None),
            "192.168.0.202 is the address of host lb2, remove it first",
        ),
        (lambda: chosen(TWO, "nobody"), "no external host has the name or address nobody"),
        (lambda: chosen(TWO, "lb1"), "host lb1 is at 192.168.0.200, 192.168.0.201: name one"),
        (lambda: chosen(TWO, "node1"), "192.168.0.11 is the address of node node1"),
        (lambda: chosen(TWO, address(11)), "192.168.0.11 is the address of node node1"),
        (
            lambda: moved(TWO, chosen(TWO, "lb2"), IPv4Address(address(200))),
            "192.168.0.200 has a record already",
        ),
        (
            lambda: moved(TWO, chosen(TWO, "lb2"), IPv4Address(address(11))),
            "192.168.0.11 is the address of node node1",
        ),
        (
            lambda: moved(TWO, chosen(TWO, "lb2"), IPv4Address("172.11.9.9")),
            "the host's address: found 172.11.9.9, expected one outside Network 172.11.0.0/16",
        ),
        (
            lambda: requested(TWO, "lb9", IPv4Address("127.0.0.1"), None, None),
            "the host's address: found 127.0.0.1, expected an address under which other hosts",
        ),
        (
            lambda: moved(TWO, chosen(TWO, address(203)), IPv4Address(address(204))),
            "subnets/192.168.0.203 cannot be read: not JSON",
        ),
    ],
)
def test_a_wish_that_makes_no_sense_is_refused(wish: object, reason: str) -> None:
    with pytest.raises(K8sOvsError) as refused:
        wish()  # type: ignore[operator]  # one of the above
    assert str(refused.value).startswith(reason)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("add", "lb1", "lb1.example"), "ADDRESS: found lb1.example, expected an IPv4 address"),
        (
            ("add", "lb1", "192.168.0.199", "--subnet", "172.11.8.9/22"),
            "--subnet: found 172.11.8.9/22, host bits are set, expected 172.11.8.0/22",
        ),
    ],
)
def test_words_that_are_no_addresses_are_refused_before_etcd_is_asked(
    words: tuple[str, ...], reason: str, k8s_ovs: Cli
) -> None:
    done = k8s_ovs("external", *words, K8S_OVS_ETCD_ENDPOINTS="http://127.0.0.1:1")
    assert (done.exit_code, done.stderr) == (1, f"error: {reason}\n")
