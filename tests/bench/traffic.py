"""How much traffic do pods get through, beside the kernel's own bridge, VXLAN and DNAT?

Load by load, in turns, so that the machine's noise meets both; who begins alternates by rounds.
Loads are short: what else runs on the machine changes within seconds.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from statistics import geometric_mean, median, quantiles
from typing import Any

import exchange
import kube_proxy
import plain
from attrs import frozen
from limited import Place
from load import Load, iperf_client, iperf_server

from k8s_ovs_lab import Lab
from k8s_ovs_lab.command import run
from k8s_ovs_lab.process import await_that

__all__ = [
    "CONNECTIONS",
    "PATHS",
    "ROUNDS",
    "STREAMS",
    "UNITS",
    "goodput",
    "in_turn",
    "measure",
    "told",
    "trips",
]

_OURS, _PEER = "k8s-ovs", "peer"
#: The paths, each with what the peer has there.
PATHS = {
    "on one node": "bridge",
    "across nodes": "VXLAN",
    "to a service across nodes": "VXLAN and DNAT",
}
_ON_NODE, _ACROSS, _SERVICE = PATHS
STREAMS = {1: "TCP, 1 stream", 8: "TCP, 8 streams"}
_TRIP_P50, _TRIP_P99 = "round trip, p50", "round trip, p99"
CONNECTIONS = "connections"
UNITS = {
    **dict.fromkeys(STREAMS.values(), "Mbit/s"),
    _TRIP_P50: "ms",
    _TRIP_P99: "ms",
    CONNECTIONS: "per second",
}
ROUNDS = 8
#: Seconds of a load.
_STREAM_S, _TRIPS_S, _CONNECTIONS_S = 1, 0.5, 0.7
#: iperf3 takes a while to begin and to end, in an emulated machine.
_GRACE_S = 60.0
_IPERF_PORT = 5201
#: Each with the number of its node. Who asks the service never asks the pod behind it by its own
#: address: what a translation does to other connections of the same ports is not measured here.
_PODS = {"sender": 1, "asker": 1, "near": 1, "far": 2}
#: In the lab's ServiceNetwork; no object has it.
_SERVICE_ADDRESS = "10.96.77.7"
_CONGESTION = Path("/proc/sys/net/ipv4/tcp_congestion_control")
#: What the lab translates services with; nodes have kube-proxy's rules instead.
_LAB_TABLE = "lab-services"


@frozen
class Ends:
    """Who asks, who answers, and the address that is asked: the server's own or a service's."""

    client: Place
    server: Place
    address: str


#: By path.
Network = Mapping[str, Ends]


def _stream(streams: int, ends: Ends) -> dict[str, float]:
    """What iperf3 gets through with so many streams at once."""
    load = Load("tcp", streams, _STREAM_S, rate=0)
    with iperf_server(ends.server) as server:
        words = iperf_client(Place(ends.server.netns, ends.address), load)
        run(words, netns=ends.client.netns, timeout=_STREAM_S + _GRACE_S)
        got = json.loads(server.communicate(timeout=_GRACE_S)[0])
    return {STREAMS[streams]: goodput(got)}


def goodput(received: Mapping[str, Any]) -> float:
    """Mbit/s of payload, by the intervals that iperf3's server tells."""
    sums = [each["sum"] for each in received["intervals"]]
    return float(8 * sum(each["bytes"] for each in sums) / sums[-1]["end"] / 1e6)


def _trips(ends: Ends) -> dict[str, float]:
    return trips(exchange.round_trips(ends.client.netns, ends.address, _TRIPS_S))


def trips(times: Sequence[float]) -> dict[str, float]:
    """The figures of round trips that took these milliseconds, of which there is one at least."""
    return {_TRIP_P50: median(times), _TRIP_P99: sorted(times)[int(0.99 * len(times))]}


def _connections(ends: Ends) -> dict[str, float]:
    rate = exchange.connections(ends.client.netns, ends.address, _CONNECTIONS_S)
    return {CONNECTIONS: rate}


#: Each finds one figure or more.
_LOADS: Sequence[Callable[[Ends], dict[str, float]]] = (
    *(partial(_stream, streams) for streams in STREAMS),
    _trips,
    _connections,
)


def measure(lab: Lab, peer: str, rounds: int, progress: Callable[[str], None]) -> dict[str, Any]:
    """{"rounds": ..., "congestion_control": TCP's, "figures": [see `told`]}.

    lab: of one node; another one joins meanwhile. peer: what the names of the peer's network
    namespaces begin with.
    """
    progress("a second node, and two nodes without Open vSwitch")
    with _k8s_ovs(lab) as ours, _plain(peer) as theirs, ExitStack() as stack:
        networks = {_OURS: ours, _PEER: theirs}
        for network in networks.values():
            _serve(network, stack)
        found: list[dict[str, Figures]] = []
        for number in range(rounds):
            progress(f"traffic, round {number + 1} of {rounds}")
            found.append(_round(networks, in_turn(tuple(networks), number)))
    congestion = _CONGESTION.read_text().strip()
    return {"rounds": rounds, "congestion_control": congestion, "figures": told(found)}


#: Of one network in one round: by path and by what was measured.
Figures = dict[tuple[str, str], float]


def in_turn(titles: Sequence[str], number: int) -> Sequence[str]:
    """Who is measured first in a round."""
    return titles if number % 2 == 0 else titles[::-1]


def _round(networks: Mapping[str, Network], order: Sequence[str]) -> dict[str, Figures]:
    found: dict[str, Figures] = {title: {} for title in networks}
    for path in PATHS:
        for load in _LOADS:
            for title in order:
                figures = load(networks[title][path])
                found[title] |= {(path, what): value for what, value in figures.items()}
    return found


def told(rounds: Sequence[Mapping[str, Figures]]) -> list[dict[str, Any]]:
    """Of each path and figure, in the order of PATHS and UNITS: medians of either side, and the
    ratio ours / the peer's `without_turns`; half of the rounds' ratios are in the middle half."""
    return [_told(path, what, rounds) for path in PATHS for what in UNITS]


def _told(path: str, what: str, rounds: Sequence[Mapping[str, Figures]]) -> dict[str, Any]:
    ours, theirs = ([each[title][path, what] for each in rounds] for title in (_OURS, _PEER))
    ratios = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    return {
        "path": path,
        "peer": PATHS[path],
        "what": what,
        "unit": UNITS[what],
        "medians": {_OURS: round(median(ours), 3), _PEER: round(median(theirs), 3)},
        "ratio": round(without_turns(ratios), 3),
        "middle_half": [round(each, 3) for each in _middle_half(ratios)],
        "ratios": [round(each, 3) for each in ratios],
    }


def without_turns(ratios: Sequence[float]) -> float:
    """The ratio of rounds in which k8s-ovs and the peer begin by turns: who comes second finds
    caches warm. So it is the geometric mean of two medians, one for each who begins."""
    halves = [median(half) for half in (ratios[::2], ratios[1::2]) if half]
    return geometric_mean(halves)


def _middle_half(values: Sequence[float]) -> tuple[float, float]:
    """The first quartile and the third."""
    if len(values) == 1:
        return values[0], values[0]
    first, _, third = quantiles(values, n=4, method="inclusive")
    return first, third


def _serve(network: Network, stack: ExitStack) -> None:
    """Start the servers; returns when each path answers and its caches are warm."""
    for server in {ends.server for ends in network.values()}:
        stack.enter_context(exchange.echo_server(server))
    for path, ends in network.items():
        exchange.more_ports(ends.client.netns)
        await_that(f"answers {path}", partial(_answers, ends), _GRACE_S)


def _answers(ends: Ends) -> bool:
    """Raises Unavailable."""
    return bool(exchange.round_trips(ends.client.netns, ends.address, 0.1))


@contextmanager
def _k8s_ovs(lab: Lab) -> Iterator[Network]:
    nodes = {1: lab.nodes[0].name, 2: "node2"}
    with ExitStack() as stack:
        second = lab.add_node(nodes[2])
        stack.callback(lab.remove_node, second.name)
        places = {}
        for name, number in _PODS.items():
            pod = lab.run_pod(nodes[number], name)
            stack.callback(lab.delete_pod, name)
            places[name] = Place(pod.netns, str(pod.ip))
        netns = [lab.netns(name) for name in nodes.values()]
        for each in netns:
            run(["nft", "delete", "table", "ip", _LAB_TABLE], netns=each)
        stack.callback(lab.sync_services)
        yield stack.enter_context(_network(str(lab.network), netns, places))


@contextmanager
def _plain(name: str) -> Iterator[Network]:
    with (
        plain.plain_network(name, _PODS) as (nodes, places),
        _network(str(plain.NETWORK), nodes, places) as network,
    ):
        yield network


@contextmanager
def _network(network: str, nodes: Sequence[str], pods: Mapping[str, Place]) -> Iterator[Network]:
    """Meanwhile the nodes translate a service in front of the pod that is far."""
    sender, asker, near, far = (pods[name] for name in _PODS)
    ports = (_IPERF_PORT, exchange.ECHO_PORT)
    table = kube_proxy.rules(network, _SERVICE_ADDRESS, far.address, ports)
    for node in nodes:
        kube_proxy.install(node, table)
    try:
        yield {
            _ON_NODE: Ends(sender, near, near.address),
            _ACROSS: Ends(sender, far, far.address),
            _SERVICE: Ends(asker, far, _SERVICE_ADDRESS),
        }
    finally:
        for node in nodes:
            kube_proxy.remove(node)
