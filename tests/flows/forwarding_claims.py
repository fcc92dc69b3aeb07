"""Packets, and what becomes of each: what the forwarding flows are judged by."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

from k8s_ovs.pipeline.tables import CONNECTION_ZONE, VIRTUAL_MAC
from k8s_ovs_testing.bridge import TracedBridge
from k8s_ovs_testing.trace import Trace
from k8s_ovs_testing.world import (
    NODE_PORT,
    TUNNEL_PORT,
    sample_host,
    sample_local_node,
    sample_pod,
)

__all__ = [
    "CLAIMS",
    "LOCAL_NODE",
    "NEIGHBOUR",
    "VXLAN",
    "A",
    "B",
    "Claim",
    "from_node",
    "from_pod",
    "from_tunnel",
]

LOCAL_NODE = sample_local_node()
A, B = sample_pod(1), sample_pod(2)
THERE = "172.11.8.7"  # a pod of host 2
NEIGHBOUR = str(sample_host(2).host_ip)
STRANGER = "192.168.0.99"
SERVICE_IP = "10.96.0.10"
OUTSIDE = "203.0.113.9"
VXLAN = 4789
SOURCE_OF_A, SOURCE_OF_B = A.service_source, B.service_source
TRACKED = (CONNECTION_ZONE,)


def packet(protocol: str, **fields: object) -> str:
    """In ovs-ofctl's syntax."""
    return ",".join([protocol, *(f"{name}={value}" for name, value in fields.items())])


def from_pod(protocol: str, to: object, **fields: object) -> str:
    """What pod A sends."""
    return packet(
        protocol,
        **{"in_port": A.ofport, "dl_src": A.mac, "nw_src": A.ip, "nw_dst": to} | fields,
    )


def from_b(protocol: str, to: object, **fields: object) -> str:
    """What pod B sends."""
    return from_pod(protocol, to, in_port=B.ofport, dl_src=B.mac, nw_src=B.ip, **fields)


def from_node(source: object, to: object, protocol: str = "tcp", **fields: object) -> str:
    """What comes in by tun0."""
    return packet(protocol, in_port=NODE_PORT, nw_src=source, nw_dst=to, **fields)


def from_tunnel(sender: str, to: object, **fields: object) -> str:
    tunnel = {"tun_src": sender, "tun_dst": LOCAL_NODE.host_ip, "tun_id": 0}
    return packet("icmp", in_port=TUNNEL_PORT, **tunnel, nw_src=THERE, nw_dst=to, **fields)


def arp_request(port: int, wanted: object, **fields: object) -> str:
    asks = {"dl_src": A.mac, "arp_op": 1, "arp_spa": A.ip, "arp_sha": A.mac, "arp_tpa": wanted}
    return packet("arp", in_port=port, **asks | fields)


@frozen
class Claim:
    """What becomes of a packet: the port it leaves by, or the table that drops it.

    fields: of the packet as it leaves. commits: zones that remember its connection. states: what
    connection tracking says each time that it is asked.
    """

    packet: str
    end: int | str
    fields: Mapping[str, object] = field(factory=dict)
    answer: bool = False
    commits: tuple[int, ...] = ()
    states: tuple[str, ...] = ()

    def traced(self, bridge: TracedBridge) -> Trace:
        return bridge.trace(self.packet, answer=self.answer, ct_next=self.states)

    def holds(self, bridge: TracedBridge) -> bool:
        return not self.differences(self.traced(bridge))

    def differences(self, traced: Trace) -> dict[str, object]:
        """What was found where something else was claimed."""
        end = traced.dropped_in if isinstance(self.end, str) else traced.sent_to
        found: dict[str, object] = {"end": end, "commits": traced.commits}
        claimed: dict[str, object] = {"end": self.end, "commits": self.commits}
        for name, value in self.fields.items():
            found[name], claimed[name] = traced.fields.get(name), str(value)
        return {name: value for name, value in found.items() if value != claimed[name]}


def dropped(table: str, sent: str) -> Claim:
    return Claim(sent, table)


TO_A = {"dl_src": VIRTUAL_MAC, "dl_dst": A.mac, "nw_dst": A.ip}
TO_B = {"dl_src": VIRTUAL_MAC, "dl_dst": B.mac, "nw_dst": B.ip}
TO_NODE = {"dl_dst": LOCAL_NODE.mac}
ANSWERED = {"arp_op": 2, "arp_sha": VIRTUAL_MAC, "dl_src": VIRTUAL_MAC}

CLAIMS: dict[str, Claim] = {
    # From a pod.
    "a pod reaches a pod here, and is remembered": Claim(
        from_pod("icmp", B.ip), B.ofport, TO_B, commits=TRACKED
    ),
    "a pod whose port speaks with a service too reaches the pod behind it": Claim(
        from_pod("tcp", THERE),
        TUNNEL_PORT,
        {"tun_dst": NEIGHBOUR, "nw_src": A.ip, "tp_src": 1024},
        commits=TRACKED,
        states=("trk,new", "trk,est", "trk,new"),
    ),
    "the other pod here does so too": Claim(
        from_b("tcp", A.ip),
        A.ofport,
        TO_A | {"nw_src": B.ip, "tp_src": 1024},
        commits=TRACKED,
        states=("trk,new", "trk,est", "trk,new"),
    ),
    "a packet of a connection that is remembered reaches a pod here": Claim(
        from_pod("tcp", B.ip), B.ofport, TO_B, states=("trk,est",)
    ),
    "a pod reaches a pod there, and is remembered": Claim(
        from_pod("tcp", THERE),
        TUNNEL_PORT,
        {"tun_dst": NEIGHBOUR, "nw_src": A.ip},
        commits=TRACKED,
    ),
    "a pod reaches a pod on a third node": Claim(
        from_pod("tcp", "172.11.12.9"),
        TUNNEL_PORT,
        {"tun_dst": sample_host(3).host_ip},
        commits=TRACKED,
    ),
    "a pod reaches its gateway": Claim(from_pod("icmp", LOCAL_NODE.gateway), NODE_PORT, TO_NODE),
    "a pod reaches its node": Claim(from_pod("tcp", LOCAL_NODE.host_ip), NODE_PORT, TO_NODE),
    "a pod reaches the outside": Claim(from_pod("udp", OUTSIDE, udp_dst=53), NODE_PORT, TO_NODE),
    "a pod reaches a service by way of the node": Claim(
        from_pod("tcp", SERVICE_IP, tcp_dst=443), NODE_PORT, TO_NODE
    ),
    "a service may have the UDP port of VXLAN": Claim(
        from_pod("udp", SERVICE_IP, udp_dst=VXLAN), NODE_PORT, TO_NODE
    ),
    "the other pod here reaches the first one": Claim(
        from_b("icmp", A.ip), A.ofport, TO_A, commits=TRACKED
    ),
    # Translated by the node, and back.
    "a translated packet goes to a pod here and is remembered": Claim(
        from_node(A.ip, B.ip), B.ofport, TO_B | {"nw_src": A.ip}, commits=TRACKED
    ),
    "a translated packet of the other pod here is remembered too": Claim(
        from_node(B.ip, A.ip), A.ofport, TO_A | {"nw_src": B.ip}, commits=TRACKED
    ),
    "a pod reaches itself through a service": Claim(
        from_node(A.ip, A.ip), A.ofport, TO_A, commits=TRACKED
    ),
    "a translated packet goes to a pod there and is remembered": Claim(
        from_node(A.ip, THERE),
        TUNNEL_PORT,
        {"tun_dst": NEIGHBOUR, "nw_src": A.ip},
        commits=TRACKED,
    ),
    "a translated packet that is of no connection is dropped": dropped(
        "ROUTE", from_node(SOURCE_OF_A, B.ip)
    ),
    "an answer of a pod here to a service's client goes back through the node": Claim(
        from_b("tcp", SOURCE_OF_A, ct_mark=1),
        NODE_PORT,
        TO_NODE | {"nw_dst": A.ip},
        answer=True,
    ),
    "an answer of a pod here to the service's other client does so too": Claim(
        from_pod("tcp", SOURCE_OF_B, ct_mark=1),
        NODE_PORT,
        TO_NODE | {"nw_dst": B.ip},
        answer=True,
    ),
    "the source of connections to services is no address to speak to": dropped(
        "ROUTE", from_pod("tcp", SOURCE_OF_B)
    ),
    "an answer of a pod there goes back through the node": Claim(
        from_tunnel(NEIGHBOUR, A.ip, ct_mark=1),
        NODE_PORT,
        TO_NODE | {"nw_dst": A.ip},
        answer=True,
    ),
    "an answer to a packet that was not translated goes to its pod": Claim(
        from_pod("tcp", B.ip), B.ofport, TO_B, answer=True
    ),
    "an answer with its translation taken back goes to its pod": Claim(
        from_node(SERVICE_IP, A.ip, ct_mark=1), A.ofport, TO_A, answer=True
    ),
    # From the node and from outside.
    "the node reaches a pod here": Claim(from_node(LOCAL_NODE.gateway, A.ip), A.ofport, TO_A),
    "the node reaches a pod there": Claim(
        from_node(LOCAL_NODE.gateway, THERE), TUNNEL_PORT, {"tun_dst": NEIGHBOUR}
    ),
    "the outside reaches a pod": Claim(from_node(OUTSIDE, A.ip), A.ofport, TO_A),
    # From a tunnel.
    "a pod there reaches a pod here, and is remembered": Claim(
        from_tunnel(NEIGHBOUR, A.ip), A.ofport, TO_A, commits=TRACKED
    ),
    "a pod there reaches this node": Claim(
        from_tunnel(NEIGHBOUR, LOCAL_NODE.gateway), NODE_PORT, TO_NODE
    ),
    "a pod on a third node reaches a pod here": Claim(
        from_tunnel(str(sample_host(3).host_ip), A.ip), A.ofport, TO_A, commits=TRACKED
    ),
    "an unknown host speaks to no pod": dropped("TUNNEL_IN", from_tunnel(STRANGER, A.ip)),
    "this node's own address is no tunnel's": dropped(
        "TUNNEL_IN", from_tunnel(str(LOCAL_NODE.host_ip), A.ip)
    ),
    "no tunnel leads on to another node": dropped("TUNNEL_IN", from_tunnel(NEIGHBOUR, THERE)),
    "no tunnel leads to a service": dropped("TUNNEL_IN", from_tunnel(NEIGHBOUR, SERVICE_IP)),
    "no tunnel leads outside": dropped("TUNNEL_IN", from_tunnel(NEIGHBOUR, OUTSIDE)),
    "no ARP comes by tunnel": dropped(
        "CLASSIFY", arp_request(TUNNEL_PORT, A.ip, tun_src=NEIGHBOUR)
    ),
    # ARP.
    "a pod that asks for its gateway is told the virtual MAC": Claim(
        arp_request(A.ofport, LOCAL_NODE.gateway),
        A.ofport,
        ANSWERED
        | {"arp_spa": LOCAL_NODE.gateway, "arp_tpa": A.ip, "arp_tha": A.mac, "dl_dst": A.mac},
    ),
    "a pod that asks for a pod there is told the virtual MAC": Claim(
        arp_request(A.ofport, THERE), A.ofport, ANSWERED | {"arp_spa": THERE}
    ),
    "the other pod here is told the virtual MAC": Claim(
        arp_request(B.ofport, A.ip, dl_src=B.mac, arp_sha=B.mac, arp_spa=B.ip),
        B.ofport,
        ANSWERED | {"arp_spa": A.ip, "arp_tpa": B.ip},
    ),
    "the node that asks for a pod there is told the virtual MAC": Claim(
        arp_request(
            NODE_PORT,
            THERE,
            dl_src=LOCAL_NODE.mac,
            arp_sha=LOCAL_NODE.mac,
            arp_spa=LOCAL_NODE.gateway,
        ),
        NODE_PORT,
        ANSWERED | {"arp_spa": THERE, "dl_dst": LOCAL_NODE.mac, "arp_tha": LOCAL_NODE.mac},
    ),
    "nobody answers for an address outside": dropped("ARP", arp_request(A.ofport, OUTSIDE)),
    "an ARP answer goes nowhere": dropped("ARP", arp_request(A.ofport, B.ip, arp_op=2)),
    "an ARP request with a forged address is dropped": dropped(
        "POD_IN", arp_request(A.ofport, B.ip, arp_spa=LOCAL_NODE.gateway)
    ),
    "an ARP request with a forged MAC is dropped": dropped(
        "POD_IN", arp_request(A.ofport, B.ip, arp_sha=B.mac)
    ),
    "an ARP request from a forged Ethernet address is dropped": dropped(
        "POD_IN", arp_request(A.ofport, B.ip, dl_src=B.mac)
    ),
    # What a pod must not.
    "a pod with a forged MAC is dropped": dropped("POD_IN", from_pod("tcp", B.ip, dl_src=B.mac)),
    "a pod with a forged address is dropped": dropped("POD_IN", from_pod("tcp", B.ip, nw_src=B.ip)),
    "a pod that speaks as its gateway is dropped": dropped(
        "POD_IN", from_pod("tcp", B.ip, nw_src=LOCAL_NODE.gateway)
    ),
    "a port that is no pod's says nothing": dropped(
        "POD_IN", from_pod("tcp", B.ip, in_port=A.ofport + 50)
    ),
    "a pod's IPv6 is dropped": dropped("CLASSIFY", packet("icmp6", in_port=A.ofport, dl_src=A.mac)),
    "the node's IPv6 is dropped": dropped("CLASSIFY", packet("icmp6", in_port=NODE_PORT)),
    "a pod's frames of other protocols are dropped": dropped(
        "POD_IN", packet("dl_type=0x88cc", in_port=A.ofport, dl_src=A.mac)
    ),
    "a pod's VXLAN to its node is dropped": dropped(
        "EXTERNAL", from_pod("udp", LOCAL_NODE.host_ip, udp_dst=VXLAN)
    ),
    "a pod's VXLAN to its gateway is dropped": dropped(
        "EXTERNAL", from_pod("udp", LOCAL_NODE.gateway, udp_dst=VXLAN)
    ),
    "a pod's VXLAN to another node is dropped": dropped(
        "EXTERNAL", from_pod("udp", NEIGHBOUR, udp_dst=VXLAN)
    ),
    "a pod may use that UDP port among pods": Claim(
        from_pod("udp", B.ip, udp_dst=VXLAN), B.ofport, TO_B, commits=TRACKED
    ),
    "a pod's multicast is dropped": dropped("ROUTE", from_pod("udp", "224.0.0.251")),
    "a pod's broadcast is dropped": dropped("ROUTE", from_pod("udp", "255.255.255.255")),
    "a pod's loopback address is dropped": dropped("ROUTE", from_pod("tcp", "127.0.0.1")),
    "a pod's address of this host is dropped": dropped("ROUTE", from_pod("tcp", "0.0.0.1")),
    "an address here without a pod is dropped": Claim(
        from_pod("tcp", "172.11.5.77"), "POD_OUT", commits=TRACKED
    ),
    "a part of the network without a node is dropped": Claim(
        from_pod("tcp", "172.11.200.1"), "REMOTE", commits=TRACKED
    ),
    # What must not pass as the node.
    "a cluster address from the node that is no pod's here is dropped": dropped(
        "NODE_IN", from_node("172.11.4.99", B.ip)
    ),
    "a pod there does not come in by the node": dropped("NODE_IN", from_node(THERE, B.ip)),
    "the node sends nothing outside by the bridge": dropped(
        "NODE_IN", from_node(LOCAL_NODE.gateway, OUTSIDE)
    ),
}
