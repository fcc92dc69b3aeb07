"""The benchmark of traffic: the arithmetic of its figures, its verdicts, and what its peer is."""

from __future__ import annotations

import importlib
import io
from ipaddress import IPv4Address
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from rich.console import Console

BENCH = Path(__file__).parents[1] / "bench"


@pytest.fixture
def traffic(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return bench(monkeypatch, "traffic")


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return bench(monkeypatch, "traffic_report")


def bench(monkeypatch: pytest.MonkeyPatch, name: str) -> ModuleType:
    """A module of the benchmark, whose modules import each other by their bare names."""
    monkeypatch.syspath_prepend(str(BENCH))
    return importlib.import_module(name)


def rounds(traffic: ModuleType, *pairs: tuple[float, float]) -> list[dict[str, Any]]:
    """Rounds in which every figure of k8s-ovs and of the peer was such a pair."""
    keys = [(path, what) for path in traffic.PATHS for what in traffic.UNITS]
    return [
        {"k8s-ovs": dict.fromkeys(keys, ours), "peer": dict.fromkeys(keys, theirs)}
        for ours, theirs in pairs
    ]


def test_the_ratio_is_of_the_rounds_ratios_not_of_the_medians(traffic: ModuleType) -> None:
    found = traffic.told(rounds(traffic, (100, 100), (400, 500), (300, 200)))
    assert len(found) == len(traffic.PATHS) * len(traffic.UNITS)
    assert found[0] == {
        "path": "on one node",
        "peer": "bridge",
        "what": "TCP, 1 stream",
        "unit": "Mbit/s",
        "medians": {"k8s-ovs": 300, "peer": 200},
        "ratio": 1.0,  # of 1.25, where k8s-ovs began, and 0.8
        "middle_half": [0.9, 1.25],
        "ratios": [1.0, 0.8, 1.5],
    }


def test_who_comes_second_has_no_advantage_in_the_ratio(traffic: ModuleType) -> None:
    """Both are as fast; who begins gets 0.8 of what the other gets."""
    assert traffic.without_turns([0.8, 1.25] * 4) == pytest.approx(1.0)
    assert traffic.without_turns([0.8, 1.25] * 4 + [0.8]) == pytest.approx(1.0)
    assert traffic.without_turns([0.9]) == pytest.approx(0.9)


def test_each_side_begins_every_other_round(traffic: ModuleType) -> None:
    orders = [list(traffic.in_turn(("a", "b"), number)) for number in range(3)]
    assert orders == [["a", "b"], ["b", "a"], ["a", "b"]]


def test_goodput_is_what_arrived_by_the_receivers_own_clock(traffic: ModuleType) -> None:
    intervals = [
        {"sum": {"bytes": 1_000_000, "end": 1.0}},
        {"sum": {"bytes": 3_000_000, "end": 2.0}},
    ]
    assert traffic.goodput({"intervals": intervals}) == 16.0


def test_cuts_of_round_trips_are_of_times_that_were_measured(traffic: ModuleType) -> None:
    times = [each / 10 for each in range(100, 0, -1)]
    assert traffic.trips(times) == {"round trip, p50": 5.05, "round trip, p99": 10.0}
    assert traffic.trips([3.0]) == {"round trip, p50": 3.0, "round trip, p99": 3.0}


def shown(traffic: ModuleType, report: ModuleType, ratio: float, datapath: str) -> list[str]:
    """The lines under the table where k8s-ovs has this part of the peer everywhere."""
    said = io.StringIO()
    figures = traffic.told(rounds(traffic, (100 * ratio, 100)))
    found = {"rounds": 1, "congestion_control": "cubic", "figures": figures}
    report.show(Console(file=said, width=200), found, datapath)
    return [line.rstrip() for line in said.getvalue().splitlines() if line.startswith("target")]


def test_each_path_between_nodes_has_its_own_target(
    traffic: ModuleType, report: ModuleType
) -> None:
    across, service = shown(traffic, report, 0.9, "system")
    assert across.startswith("target missed: across nodes at least 0.95 of VXLAN")
    assert across.endswith("TCP, 1 stream 0.9, TCP, 8 streams 0.9, connections 0.9")
    assert service.startswith("target met: to a service across nodes at least 0.75")


def test_nothing_is_judged_on_the_userspace_datapath(
    traffic: ModuleType, report: ModuleType
) -> None:
    assert shown(traffic, report, 0.1, "netdev") == ["targets are for the kernel's datapath"]


def test_a_service_is_translated_once_per_port_and_masqueraded_only_from_beyond(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = bench(monkeypatch, "kube_proxy").rules("10.1.0.0/16", "10.96.0.9", "10.1.2.3", [80, 81])
    lines = table.splitlines()
    for port in (80, 81):
        assert f":KUBE-SVC-{port} - [0:0]" in lines
        match = f"-d 10.96.0.9/32 -p tcp -m tcp --dport {port}"
        assert f"-A KUBE-SERVICES {match} -j KUBE-SVC-{port}" in lines
        assert f"-A KUBE-SVC-{port} ! -s 10.1.0.0/16 {match} -j KUBE-MARK-MASQ" in lines
        target = f"-j DNAT --to-destination 10.1.2.3:{port}"
        assert f"-A KUBE-SEP-{port} -p tcp -m tcp {target}" in lines
    assert (lines[0], lines[-1]) == ("*nat", "COMMIT")


def test_each_node_of_the_peer_knows_where_the_other_ones_pods_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = bench(monkeypatch, "plain")
    one = plain.PlainNode(1, "n1", IPv4Address("192.168.0.11"))
    two = plain.PlainNode(2, "n2", IPv4Address("192.168.0.12"))
    commands = plain.node_commands(one, two).splitlines()
    neighbour = f"neigh add 10.244.2.0 lladdr {two.mac} dev vxlan0 nud permanent"
    assert commands[-2:] == [
        neighbour,
        "route add 10.244.2.0/24 via 10.244.2.0 dev vxlan0 onlink",
    ]
    assert plain.forwarding_entries(two) == f"fdb add {two.mac} dev vxlan0 dst 192.168.0.12"
    assert one.mac != two.mac
