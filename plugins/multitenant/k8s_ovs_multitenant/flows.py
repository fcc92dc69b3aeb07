"""The flows of virtual networks: who is judged to be in which, and who may reach whom.

They count what they meet, so each is made here alone, and asked for by whoever reads its counter.
"""

from __future__ import annotations

from k8s_ovs.plugin import (
    GLOBAL_TENANT,
    VERDICT,
    Flow,
    Goto,
    SetField,
    Table,
    any_packet,
    ip,
    register,
)

__all__ = [
    "FROM_GLOBAL",
    "NETWORK_FLOWS",
    "TENANT",
    "TO_GLOBAL",
    "member",
    "unwanted",
    "within",
]

TENANT = Table(
    "TENANT",
    "Which virtual network is the sender's namespace in?",
    between=("POD_OUT", "VERDICT"),
)

_SRC = register("SRC_TENANT")

#: No namespace is ever in this virtual network: who is in none that has a pod here.
_STRANGER = 1

#: The global network's packets, let through: the node itself and hosts outside are in it too.
FROM_GLOBAL = Flow(VERDICT, 200, ip(reg0=GLOBAL_TENANT), [Goto("RETURN")])
TO_GLOBAL = Flow(VERDICT, 200, ip(reg1=GLOBAL_TENANT), [Goto("RETURN")])

NETWORK_FLOWS = (
    # The number 0 is the global network's on the wire too; who goes to it need not be known.
    Flow(TENANT, 200, ip(reg0=GLOBAL_TENANT), [Goto("VERDICT")]),
    Flow(TENANT, 200, ip(reg1=GLOBAL_TENANT), [Goto("VERDICT")]),
    # A number on the wire must not be taken for a network's; VERDICT counts what it wanted.
    Flow(TENANT, 1, any_packet(), [SetField(_SRC, _STRANGER), Goto("VERDICT")]),
    FROM_GLOBAL,
    TO_GLOBAL,
)


def member(vni: int, net_id: int) -> Flow:
    """What the namespace with this number sends is the virtual network's. Counts what it sent."""
    return Flow(TENANT, 100, ip(reg0=vni), [SetField(_SRC, net_id), Goto("VERDICT")])


def within(net_id: int) -> Flow:
    """Inside a virtual network all reach all. Counts what was let through."""
    return Flow(VERDICT, 100, ip(reg0=net_id, reg1=net_id), [Goto("RETURN")])


def unwanted(net_id: int) -> Flow:
    """What others send to a virtual network is dropped. Counts it."""
    return Flow(VERDICT, 50, ip(reg1=net_id))
