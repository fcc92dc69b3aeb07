"""The flows of tenants: which sender belongs to which tenant, and who may reach whom.

They count packets, so only this module makes them, also for readers of the counters.
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
    "Which tenant is the sender's namespace in?",
    between=("POD_OUT", "VERDICT"),
)

_SRC = register("SRC_TENANT")

#: No namespace ever has this tenant id: it is for senders whose tenant has no pod on this node.
_STRANGER = 1

#: The global tenant's packets, let through: the node itself and external hosts are in it too.
FROM_GLOBAL = Flow(VERDICT, 200, ip(reg0=GLOBAL_TENANT), [Goto("RETURN")])
TO_GLOBAL = Flow(VERDICT, 200, ip(reg1=GLOBAL_TENANT), [Goto("RETURN")])

NETWORK_FLOWS = (
    # VNI 0 is the global tenant's on the wire too; its senders' tenants need not be known.
    Flow(TENANT, 200, ip(reg0=GLOBAL_TENANT), [Goto("VERDICT")]),
    Flow(TENANT, 200, ip(reg1=GLOBAL_TENANT), [Goto("VERDICT")]),
    # A VNI must not be taken for a tenant id; VERDICT counts what it wanted.
    Flow(TENANT, 1, any_packet(), [SetField(_SRC, _STRANGER), Goto("VERDICT")]),
    FROM_GLOBAL,
    TO_GLOBAL,
)


def member(vni: int, net_id: int) -> Flow:
    """Packets of the namespace with this VNI belong to the tenant. Counts them."""
    return Flow(TENANT, 100, ip(reg0=vni), [SetField(_SRC, net_id), Goto("VERDICT")])


def within(net_id: int) -> Flow:
    """Inside a tenant all reach all. Counts what was let through."""
    return Flow(VERDICT, 100, ip(reg0=net_id, reg1=net_id), [Goto("RETURN")])


def unwanted(net_id: int) -> Flow:
    """What others send to a tenant is dropped. Counts it."""
    return Flow(VERDICT, 50, ip(reg1=net_id))
