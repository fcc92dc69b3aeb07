"""The core's tables, in packet order: the way that every packet takes.

A packet from a pod to a pod on the same node: CLASSIFY, POD_IN, ROUTE, POD_OUT, VERDICT, RETURN,
the port.
To a pod on another node: CLASSIFY, POD_IN, ROUTE, REMOTE, the tunnel; at the other end CLASSIFY,
TUNNEL_IN, ROUTE, POD_OUT, VERDICT, RETURN, the port. Every table ends in a counted drop.

The flows are in builtin/forwarding.py; those of VERDICT are in the mode. To add a table of the
core: declare it here, put it into CORE_TABLES at its place in packet order, name it in the `next`
of those that send packets to it, write its flows there and its section in docs/pipeline.md. A
plugin adds its own by the hook `tables`, with `between`.
"""

from __future__ import annotations

from k8s_ovs.pipeline.field import REGISTERS
from k8s_ovs.pipeline.reservation import Subfield, Zone
from k8s_ovs.pipeline.table import Pipeline, Table

__all__ = [
    "ARP",
    "CLASSIFY",
    "CONNECTION_ZONE",
    "CORE_RESERVATIONS",
    "CORE_TABLES",
    "EXTERNAL",
    "NODE_IN",
    "NOTE",
    "POD_IN",
    "POD_OUT",
    "REMOTE",
    "RETURN",
    "ROUTE",
    "SERVICE",
    "SERVICE_MARK",
    "TUNNEL_IN",
    "VERDICT",
    "VIRTUAL_MAC",
]

CLASSIFY = Table(
    "CLASSIFY",
    "Where did this packet come from: a tunnel, the node itself, a pod's port?",
    next=("TUNNEL_IN", "POD_IN", "NODE_IN"),
)
TUNNEL_IN = Table(
    "TUNNEL_IN", "Is it from a known host? Then SRC_TENANT is its VNI.", next=("ROUTE",)
)
POD_IN = Table(
    "POD_IN",
    "Is the packet really from this pod (port, MAC, IP, ARP)? Then this is its tenant.",
    next=("ROUTE", "ARP"),
)
NODE_IN = Table(
    "NODE_IN",
    "Is it the node itself, an answer of a service, or a pod's packet that comes back translated?",
    next=("ROUTE", "ARP"),
)
ROUTE = Table(
    "ROUTE",
    "To a pod of this node, of another node, a service, the node, or outside?",
    next=("SERVICE", "POD_OUT", "REMOTE", "EXTERNAL"),
)
ARP = Table("ARP", "Who answers for this address?")
SERVICE = Table("SERVICE", "To the node's own service translation (kube-proxy), through tun0.")
POD_OUT = Table("POD_OUT", "Which port and which tenant is the destination?", next=("VERDICT",))
VERDICT = Table("VERDICT", "May this tenant reach that one?", next=("RETURN",))
RETURN = Table(
    "RETURN", "Is this the answer to a translated packet? Then back through the node first."
)
REMOTE = Table("REMOTE", "Which node, by which tunnel?")
EXTERNAL = Table("EXTERNAL", "To the node itself, or out through it.")
NOTE = Table("NOTE", "Which version of this program and configuration made these flows?")

CORE_TABLES = (
    CLASSIFY,
    TUNNEL_IN,
    POD_IN,
    NODE_IN,
    ROUTE,
    ARP,
    SERVICE,
    POD_OUT,
    VERDICT,
    RETURN,
    REMOTE,
    EXTERNAL,
    NOTE,
)

#: Connections of pods are tracked in this zone, apart from the kernel's own (zone 0). Those that
#: the node has translated, to a pod behind a service, are marked with SERVICE_MARK.
CONNECTION_ZONE = 0x6B38
SERVICE_MARK = Subfield("SERVICE_MARK", "ct_mark", 0, 1)

#: What the core's flows use, and what the node's kernel and kube-proxy do: its iptables rules say
#: by two bits of a packet's mark whom to masquerade and whom to drop.
CORE_RESERVATIONS: tuple[Subfield | Zone, ...] = (
    *(Subfield(name, of.name) for name, of in REGISTERS.items()),
    SERVICE_MARK,
    Subfield("KUBE_PROXY_MARKS", "pkt_mark", 14, 2),
    Zone("KERNEL", 0),
    Zone("CONNECTIONS", CONNECTION_ZONE),
)

#: Who answers every ARP request, and who every delivered packet comes from on Ethernet.
VIRTUAL_MAC = "0a:58:a9:fe:01:01"

# A hop to a table that is not declared fails here, at import.
Pipeline(CORE_TABLES)
