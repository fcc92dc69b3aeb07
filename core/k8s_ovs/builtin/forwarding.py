"""Forwarding: the way that every packet takes, whatever the mode.

A function a table, in packet order. What a tenant is and who may reach whom is the mode's: its
flows are in VERDICT.

- pod to pod: POD_IN, ROUTE (its connection is looked up there, and remembered), POD_OUT or REMOTE,
  VERDICT and RETURN on the node of the receiver;
- pod to service: SERVICE, tun0, where kube-proxy translates it; back by NODE_IN, then as above;
  its answer leaves RETURN by tun0, to be translated back;
- pod to the node, or outside: EXTERNAL, tun0.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from importlib.metadata import version
from ipaddress import IPv4Network

from k8s_ovs.model.allowance import DELETIONS, Allowance
from k8s_ovs.model.codec import decode, encode
from k8s_ovs.model.node import NODE_ADDRESS, KubeNode, LocalNode, kube_node
from k8s_ovs.model.pod import SERVICE_SOURCES, Pod
from k8s_ovs.model.subnet import HostSubnet
from k8s_ovs.model.tenant import GLOBAL_TENANT
from k8s_ovs.model.world import NODES, OWN_NODE
from k8s_ovs.pipeline.action import (
    Action,
    Ct,
    CtClear,
    Goto,
    InPort,
    Move,
    Nat,
    Note,
    Output,
    SetField,
)
from k8s_ovs.pipeline.field import FIELDS, register
from k8s_ovs.pipeline.flow import Flow
from k8s_ovs.pipeline.match import any_packet, arp, ip, ipv6, udp
from k8s_ovs.pipeline.reservation import Subfield, Zone
from k8s_ovs.pipeline.tables import (
    ARP,
    CLASSIFY,
    CONNECTION_ZONE,
    CORE_RESERVATIONS,
    CORE_TABLES,
    EXTERNAL,
    NODE_IN,
    NOTE,
    POD_IN,
    POD_OUT,
    REMOTE,
    RETURN,
    ROUTE,
    SERVICE,
    SERVICE_MARK,
    TUNNEL_IN,
    VIRTUAL_MAC,
)
from k8s_ovs.plugin.hooks import hook
from k8s_ovs.plugin.records import NODES_PATH, KubeResource, RecordKind
from k8s_ovs.plugin.view import View

__all__ = ["Forwarding"]

# Read once: while the package is being upgraded there is none to be found.
_VERSION = version("k8s-ovs")
_SRC_TENANT = register("SRC_TENANT")
_DST_TENANT = register("DST_TENANT")
_OUT_PORT = register("OUT_PORT")
_SCRATCH = register("SCRATCH")
_UNTRACKED = register("UNTRACKED")
#: What UNTRACKED says: the connection of a packet is looked up, or not yet, or as it is, or as if
#: it were to a service, or in RETURN; or it is a pod's answer to a service's connection. What
#: ct_state says may be of another zone by then: a plugin's table may have tracked the packet.
_DONE, _NOT_YET, _AS_IT_IS, _AS_OF_SERVICE, _IN_RETURN, _SERVICE_ANSWER = range(6)
#: Multicast, reserved and broadcast addresses (RFC 5771, RFC 1112 section 4), and those by which a
#: kernel means itself, as a node's would (RFC 6890).
_NOWHERE = tuple(map(IPv4Network, ("224.0.0.0/3", "127.0.0.0/8", "0.0.0.0/8")))


def mac(text: str) -> int:
    """A MAC address as a number."""
    return int(text.replace(":", ""), 16)


class Forwarding:
    """Hooks of the core."""

    @hook
    def reservations(self) -> Iterable[Subfield | Zone]:
        return CORE_RESERVATIONS

    @hook
    def kinds(self) -> Iterable[RecordKind]:
        return [RecordKind(DELETIONS, partial(decode, Allowance), encode, leased=True)]

    @hook
    def resources(self) -> Iterable[KubeResource]:
        indexes = {NODE_ADDRESS: _addresses}
        return [
            KubeResource(NODES, NODES_PATH, kube_node, for_allocation=True, indexes=indexes),
            KubeResource(OWN_NODE, NODES_PATH, kube_node, local_only=True),
        ]

    @hook
    def network_flows(self, view: View) -> Iterable[Flow]:
        local_node = view.local_node
        network = view.config.network
        yield from (Flow(table, 0, any_packet()) for table in CORE_TABLES)
        for table in view.pipeline.added:
            goes_on = table.onward if table.otherwise == "continue" else ()
            yield Flow(table, 0, any_packet(), [Goto(target) for target in goes_on])
        yield from _classify(local_node)
        yield from _node_in(local_node, network)
        yield from _route(local_node, network, view.config.service_network)
        yield _arp(network)
        yield Flow(SERVICE, 100, ip(), _to_node(local_node))
        yield from _return(local_node)
        yield from _external(local_node, view.config.vxlan_port)
        yield _note(encode(view.config))

    @hook
    def node_flows(self, view: View, node: HostSubnet) -> Iterable[Flow]:
        local_node = view.local_node
        if node.subnet is None or node.subnet.overlaps(local_node.subnet):
            return
        tenant = Move(FIELDS["tun_id"], _SRC_TENANT)
        yield Flow(
            TUNNEL_IN,
            100,
            ip(tun_src=node.host_ip, ip_dst=local_node.subnet),
            [tenant, Goto("ROUTE")],
        )
        yield Flow(
            REMOTE,
            100,
            ip(ip_dst=node.subnet),
            [
                Move(_SRC_TENANT, FIELDS["tun_id"]),
                SetField(FIELDS["tun_dst"], int(node.host_ip)),
                Output(local_node.tunnel_port),
            ],
        )

    @hook
    def pod_flows(self, view: View, pod: Pod) -> Iterable[Flow]:
        tenant, vni = view.tenant_of(pod), view.vni_of(pod)
        if tenant is None or vni is None:
            return
        speaks_as = SetField(_SRC_TENANT, vni)
        yield from _pod_in(pod, speaks_as)
        yield Flow(
            NODE_IN,
            300,
            ip(ip_src=pod.ip, ip_dst=view.config.network),
            [speaks_as, *_track_translated(pod)],
        )
        yield from _new_connection(pod)
        # An answer of a pod here is back at the source that its connection was given.
        yield Flow(
            ROUTE,
            260,
            ip(ip_dst=pod.service_source, **SERVICE_MARK.equals(1)),
            [
                SetField(FIELDS["ip_dst"], int(pod.ip)),
                SetField(_UNTRACKED, _SERVICE_ANSWER),
                Goto("POD_OUT"),
            ],
        )
        yield Flow(
            POD_OUT,
            100,
            ip(ip_dst=pod.ip),
            [
                SetField(FIELDS["eth_src"], mac(VIRTUAL_MAC)),
                SetField(FIELDS["eth_dst"], mac(pod.mac)),
                SetField(_DST_TENANT, tenant),
                SetField(_OUT_PORT, pod.ofport),
                Move(FIELDS["ip_dst"], _SCRATCH),
                Goto("VERDICT"),
            ],
        )


def _addresses(node: KubeNode) -> Iterable[str]:
    return map(str, node.addresses)


def _look_up(phase: int, nat: Nat | None) -> list[Action]:
    return [SetField(_UNTRACKED, phase), Ct(CONNECTION_ZONE, nat=nat, table="ROUTE")]


def _new_connection(pod: Pod) -> Iterable[Flow]:
    """Remember a new connection of the pod to a pod, with another port if need be.

    That is where the same port of the pod speaks with a service that has the other pod behind it.
    A null NAT would do both at once, but ends Open vSwitch's userspace datapath (docs/decisions/
    0027-connections.md).
    """
    own = SetField(FIELDS["ip_src"], int(pod.ip))
    other = SetField(FIELDS["ip_src"], int(pod.service_source))
    new = ip(reg4=_AS_IT_IS, ct_state="+trk+new", ip_src=pod.ip)
    yield Flow(ROUTE, 295, new, [CtClear(), other, *_look_up(_AS_OF_SERVICE, None)])
    # Its answers are taken: the same port speaks with a service that has this pod behind it.
    taken = ip(reg4=_AS_OF_SERVICE, ct_state="+trk-new", ip_src=pod.service_source)
    yield Flow(ROUTE, 296, taken, [CtClear(), own, *_remember(Nat(pod.ip, other_port=True))])
    free = ip(reg4=_AS_OF_SERVICE, ip_src=pod.service_source)
    yield Flow(ROUTE, 295, free, [CtClear(), own, *_remember(None)])


def _remember(nat: Nat | None) -> list[Action]:
    track = Ct(CONNECTION_ZONE, commit=True, nat=nat, table="ROUTE")
    return [SetField(_UNTRACKED, _DONE), track]


def _track_translated(pod: Pod) -> list[Action]:
    """Tell a connection to a service from one to the pod behind it: it has another source.

    kube-proxy leaves no other difference. Tracking gives the packet its own source back, and the
    later of two connections that would have the same answers another port.
    """
    source = SetField(FIELDS["ip_src"], int(pod.service_source))
    nat = Nat(pod.ip)
    marked = [SERVICE_MARK.set(1)]
    track = Ct(CONNECTION_ZONE, commit=True, exec=marked, nat=nat, table="ROUTE")
    return [source, track]


def _classify(local_node: LocalNode) -> Iterable[Flow]:
    # Pods have no IPv6 address; what they say in IPv6 could only deceive others (RFC 6104).
    yield Flow(CLASSIFY, 300, ipv6())
    yield Flow(CLASSIFY, 200, ip(in_port=local_node.tunnel_port), [Goto("TUNNEL_IN")])
    yield Flow(CLASSIFY, 200, arp(in_port=local_node.tunnel_port))
    yield Flow(CLASSIFY, 200, any_packet(in_port=local_node.node_port), [Goto("NODE_IN")])
    yield Flow(CLASSIFY, 100, any_packet(), [Goto("POD_IN")])


def _pod_in(pod: Pod, speaks_as: SetField) -> Iterable[Flow]:
    yield Flow(
        POD_IN,
        100,
        ip(in_port=pod.ofport, eth_src=pod.mac, ip_src=pod.ip),
        [speaks_as, SetField(_UNTRACKED, _NOT_YET), Goto("ROUTE")],
    )
    yield Flow(
        POD_IN,
        100,
        arp(in_port=pod.ofport, eth_src=pod.mac, arp_spa=pod.ip, arp_sha=pod.mac),
        [Goto("ARP")],
    )


def _node_in(local_node: LocalNode, network: IPv4Network) -> Iterable[Flow]:
    is_node: list[Action] = [SetField(_SRC_TENANT, GLOBAL_TENANT), Goto("ROUTE")]
    yield Flow(NODE_IN, 200, ip(ip_src=local_node.gateway, ip_dst=network), is_node)
    # A cluster address that is neither the node's nor a running pod's (pods have flows of higher
    # priority) must not pass as the node.
    yield Flow(NODE_IN, 150, ip(ip_src=network))
    yield Flow(NODE_IN, 100, ip(ip_dst=network), is_node)
    yield Flow(NODE_IN, 100, arp(), [Goto("ARP")])


def _route(local_node: LocalNode, network: IPv4Network, services: IPv4Network) -> Iterable[Flow]:
    yield Flow(ROUTE, 300, ip(ip_dst=local_node.gateway), [Goto("EXTERNAL")])
    # What connection tracking calls invalid has not got its pod's address back.
    yield Flow(ROUTE, 290, ip(ip_src=SERVICE_SOURCES))
    yield from (Flow(ROUTE, 250, ip(ip_dst=each)) for each in _NOWHERE)
    yield Flow(ROUTE, 220, ip(reg4=_NOT_YET, ip_dst=network), _look_up(_AS_IT_IS, Nat()))
    yield Flow(ROUTE, 200, ip(ip_dst=local_node.subnet), [Goto("POD_OUT")])
    yield Flow(ROUTE, 100, ip(ip_dst=network), [Goto("REMOTE")])
    yield Flow(ROUTE, 100, ip(ip_dst=services), [Goto("SERVICE")])
    yield Flow(ROUTE, 50, ip(), [Goto("EXTERNAL")])


def _arp(network: IPv4Network) -> Flow:
    """Answer for every address of the network, in the asker's own packet (RFC 826)."""
    return Flow(
        ARP,
        100,
        arp(arp_op=1, arp_tpa=network),
        [
            Move(FIELDS["eth_src"], FIELDS["eth_dst"]),
            SetField(FIELDS["eth_src"], mac(VIRTUAL_MAC)),
            SetField(FIELDS["arp_op"], 2),
            Move(FIELDS["arp_sha"], FIELDS["arp_tha"]),
            SetField(FIELDS["arp_sha"], mac(VIRTUAL_MAC)),
            Move(FIELDS["arp_spa"], _SCRATCH),
            Move(FIELDS["arp_tpa"], FIELDS["arp_spa"]),
            Move(_SCRATCH, FIELDS["arp_tpa"]),
            InPort(),
        ],
    )


def _return(local_node: LocalNode) -> Iterable[Flow]:
    deliver = [Output(_OUT_PORT)]
    track = Ct(CONNECTION_ZONE, nat=Nat(), table="RETURN")
    untracked = ip(in_port=local_node.tunnel_port, reg4=_DONE)
    yield Flow(RETURN, 250, untracked, [SetField(_UNTRACKED, _IN_RETURN), track])
    to_service = [Move(_SCRATCH, FIELDS["ip_dst"]), *_to_node(local_node)]
    yield Flow(RETURN, 200, ip(reg4=_SERVICE_ANSWER), to_service)
    answer = ip(reg4=_IN_RETURN, ct_state="+trk+rpl", **SERVICE_MARK.equals(1))
    yield Flow(RETURN, 200, answer, to_service)
    new = ip(reg4=_IN_RETURN, ct_state="+trk+new")
    yield Flow(RETURN, 150, new, [Ct(CONNECTION_ZONE, commit=True), *deliver])
    yield Flow(RETURN, 100, ip(), deliver)


def _external(local_node: LocalNode, vxlan_port: int) -> Iterable[Flow]:
    # A pod that could speak VXLAN to a node could speak as any tenant.
    yield Flow(EXTERNAL, 200, udp(udp_dst=vxlan_port))
    yield Flow(EXTERNAL, 100, ip(), _to_node(local_node))


def _to_node(local_node: LocalNode) -> list[SetField | Output]:
    return [SetField(FIELDS["eth_dst"], mac(local_node.mac)), Output(local_node.node_port)]


def _note(config: bytes) -> Flow:
    """A flow that no packet meets: people read in a dump what made the flows beside it."""
    return Flow(NOTE, 100, any_packet(), [Note(f"k8s-ovs {_VERSION} ".encode() + config)])
