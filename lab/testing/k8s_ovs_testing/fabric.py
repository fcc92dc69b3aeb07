"""Several nodes in one Open vSwitch, a bridge each: where does a packet end up, tunnels included?

    fabric = Fabric(ovs, manager.pipeline, nodes=2, slots=3)
    fabric.nodes[0].show(manager, fake.snapshots(), {pod.port: pod})
    assert fabric.send([Send(0, "icmp", {...})], {(0, pod.ofport): pod}) == ["pod red/pod0-0"]

A packet that leaves by a node's tunnel is asked of the node that it is sent to, with the tunnel's
source and identifier as it was sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from ipaddress import IPv4Address

from attrs import evolve, field, frozen

from k8s_ovs.errors import SwitchError
from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.model.pod import Pod
from k8s_ovs.model.subnet import HostSubnet
from k8s_ovs.model.world import CONFIG, LOCAL_NODE, PODS, Slot
from k8s_ovs.node.records.ingest import Ingest
from k8s_ovs.observe.watch_event import WatchEvent
from k8s_ovs.ovs.openflow.client import OpenFlow
from k8s_ovs.pipeline.table import Pipeline
from k8s_ovs.reconcile.reconciler import Reconciler
from k8s_ovs_testing.ovs import OvsProcess
from k8s_ovs_testing.trace import Question, Trace, trace_all
from k8s_ovs_testing.world import (
    NODE_PORT,
    TUNNEL_PORT,
    sample_config,
    sample_host,
    sample_local_node,
)

__all__ = ["Fabric", "Node", "Send", "pod_at"]

_PODS_FROM = 100
_FIRST_TUNNEL = 4789


def pod_at(node: int, slot: int, namespace: str) -> Pod:
    """The pod in place `slot` (0, 1, ..) of node `node` (0, 1, ..)."""
    return Pod(
        port=f"veth{slot}",
        ofport=_PODS_FROM + slot,
        container=f"container{node}-{slot}",
        ifname="eth0",
        netns=f"/run/netns/pod{node}-{slot}",
        namespace=namespace,
        name=f"pod{node}-{slot}",
        uid=f"uid{node}-{slot}",
        ip=sample_host(node + 1).gateway + 1 + slot,
        serial=slot,
    )


@frozen
class Send:
    """A packet that comes into a node's bridge. fields: by ovs-ofctl's names, in_port among them.

    answer: connection tracking knows it as one, wherever it is asked.
    """

    node: int
    protocol: str
    fields: Mapping[str, object] = field(hash=False)
    answer: bool = False

    def question(self) -> Question:
        words = (f"{name}={value}" for name, value in self.fields.items())
        return Question(_bridge(self.node), ",".join([self.protocol, *words]), self.answer)


class Node:
    """A node's bridge and what a daemon on it knows."""

    def __init__(self, ovs: OvsProcess, number: int, slots: int) -> None:
        self.host: HostSubnet = sample_host(number + 1)
        self.reconciler: Reconciler | None = None
        self._mgmt = ovs.mgmt(_bridge(number))
        self._ingest = Ingest()
        ovs.vsctl(*_bridge_words(number, slots))

    @property
    def failures(self) -> list[str]:
        """What plugins failed at."""
        return self.reconciler.failures if self.reconciler else []

    def restart(self) -> None:
        """The daemon starts anew: it knows nothing but what the switch has."""
        self.reconciler, self._ingest = None, Ingest()

    def show(
        self, manager: PluginManager, events: Iterable[WatchEvent], pods: Mapping[str, Pod]
    ) -> int:
        """Install the flows that follow from `events` and `pods`; how many were changed.

        By one bundle, of just what differs.
        """
        config = sample_config(plugin_name=manager.mode)
        for event in events:
            self._ingest.absorb(event)
        known = self.reconciler
        if known is None or known.manager is not manager:
            self._ingest.restart()
            self.reconciler = known = Reconciler(manager)
            known.update({(CONFIG, ""): Slot(config)})
            known.update({(LOCAL_NODE, ""): Slot(sample_local_node(self.host))})
            known.desired.found(self._cookies())
        changes: dict[tuple[str, str], Slot | None] = dict(
            self._ingest.changes(config, manager.kinds, manager.resources)
        )
        changes |= {(PODS, port): None for port in known.world.of(PODS).keys() - pods.keys()}
        changes |= {(PODS, port): Slot(pod) for port, pod in pods.items()}
        known.update(changes, self._ingest.revision)
        known.compute()
        delta = known.desired.delta()
        with closing(OpenFlow.connect(self._mgmt)) as connection:
            refused = connection.put_meters(delta.new_meters, delta.other_meters)
            if refused:
                raise SwitchError(f"meters are refused: {refused}")
            known.desired.metered(delta, refused)
            connection.commit(delta.adds, delta.deletes)
            connection.delete_meters(delta.old_meters)
        known.desired.committed(delta)
        return len(delta.adds) + len(delta.deletes)

    def _cookies(self) -> set[int]:
        with closing(OpenFlow.connect(self._mgmt)) as connection:
            return {flow.cookie for flow in connection.dump()}


class Fabric:
    """Nodes 0, 1, .. whose hosts are `sample_host(1)` and on, each with room for `slots` pods."""

    def __init__(self, ovs: OvsProcess, pipeline: Pipeline, nodes: int, slots: int) -> None:
        """ovs: with a dummy datapath. pipeline: whose flows are shown."""
        self._pipeline = pipeline
        self._control = ovs.directory / "ovs-vswitchd.ctl"
        self.nodes = [Node(ovs, number, slots) for number in range(nodes)]

    def send(self, sends: Sequence[Send], pods: Mapping[tuple[int, int], Pod]) -> list[str]:
        """Where each packet ends up: `pod <namespace>/<name>`, `node <n>`, or `nowhere`.

        pods: by node and OpenFlow port.
        """
        traces = self._ask(sends)
        onward = {
            place: self._arriving(send, traced)
            for place, (send, traced) in enumerate(zip(sends, traces, strict=True))
            if traced.sent_to == TUNNEL_PORT
        }
        arrived = dict(zip(onward, self._ask(list(onward.values())), strict=True))
        ends = [(send.node, traced) for send, traced in zip(sends, traces, strict=True)]
        for place, traced in arrived.items():
            ends[place] = (onward[place].node, traced)
        return [_told(node, traced, pods) for node, traced in ends]

    def _ask(self, sends: Sequence[Send]) -> list[Trace]:
        return trace_all(self._control, self._pipeline, [send.question() for send in sends])

    def _arriving(self, send: Send, sent: Trace) -> Send:
        """The packet as the other end of the tunnel gets it."""
        there = IPv4Address(sent.fields["tun_dst"])
        node = next(n for n, each in enumerate(self.nodes) if each.host.host_ip == there)
        kept = {name: value for name, value in send.fields.items() if name not in _LOCAL}
        tunnel = {
            "in_port": TUNNEL_PORT,
            "tun_src": self.nodes[send.node].host.host_ip,
            "tun_dst": there,
            "tun_id": sent.fields["tun_id"],
        }
        return evolve(send, node=node, fields=tunnel | kept)


#: What a packet loses in a tunnel.
_LOCAL = ("in_port", "tun_src", "tun_dst", "tun_id")


def _told(node: int, traced: Trace, pods: Mapping[tuple[int, int], Pod]) -> str:
    if traced.sent_to is None:
        return "nowhere"
    if traced.sent_to == NODE_PORT:
        return f"node {node}"
    pod = pods.get((node, traced.sent_to))
    return f"pod {pod.identity}" if pod else f"port {traced.sent_to} of node {node}"


def _bridge(number: int) -> str:
    return f"n{number}"


def _bridge_words(number: int, slots: int) -> list[str]:
    """ovs-vsctl's words for a bridge with all its ports."""
    name = _bridge(number)
    words = ["add-br", name, "--", "set", "bridge", name, "fail_mode=secure"]
    # In one switch no two tunnels may be alike.
    tunnel = ("type=vxlan", "options:remote_ip=flow", f"options:dst_port={_FIRST_TUNNEL + number}")
    ports: dict[int, tuple[str, ...]] = {TUNNEL_PORT: tunnel, NODE_PORT: ("type=dummy",)}
    ports |= {_PODS_FROM + slot: ("type=dummy",) for slot in range(slots)}
    for ofport, settings in ports.items():
        port = f"{name}-{ofport}"
        words += ["--", "add-port", name, port, "--", "set", "interface", port]
        words += [f"ofport_request={ofport}", *settings]
    return words
