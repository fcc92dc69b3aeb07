"""Multi-tenant: one virtual network a namespace; namespaces can be joined, isolated, made global.

A packet carries the number of its namespace (VNID), which never changes. Where it is delivered,
TENANT turns that number into the virtual network that the namespace is in now (NetID), and VERDICT
compares it with the destination's. So a change of tenant is one bundle on each node, and needs no
node to wait for another.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from k8s_ovs.model.tenant import NetNamespace
from k8s_ovs.pipeline.tables import VERDICT
from k8s_ovs.plugin import (
    GLOBAL_TENANT,
    Allocation,
    Flow,
    Goto,
    Kind,
    Pod,
    Problem,
    Resource,
    SetField,
    Table,
    View,
    any_packet,
    hook,
    ip,
    register,
)
from k8s_ovs_multitenant.allocations import allocations
from k8s_ovs_multitenant.records import KINDS, NETNAMESPACES, VNIDS, Vnid, namespaces

__all__ = ["TENANT", "MultiTenant"]

TENANT = Table(
    "TENANT",
    "Which virtual network is the sender's namespace in?",
    between=("POD_OUT", "VERDICT"),
)

_SRC = register("SRC_TENANT")


class MultiTenant:
    """A mode in which each namespace is a tenant."""

    @hook
    def tables(self) -> Iterable[Table]:
        return [TENANT]

    @hook
    def kinds(self) -> Iterable[Kind]:
        return KINDS

    @hook
    def resources(self) -> Iterable[Resource]:
        return [namespaces()]

    @hook
    def tenant_of(self, view: View, pod: Pod) -> int | None:
        # Until an action is answered the old number stands; after a restart, the one written.
        settled = view.get(NETNAMESPACES, pod.namespace)
        record: NetNamespace | None = settled or view.request(NETNAMESPACES, pod.namespace)
        return None if record is None else record.net_id

    @hook
    def vni_of(self, view: View, pod: Pod) -> int | None:
        vnid: Vnid | None = view.get(VNIDS, pod.namespace)
        return None if vnid is None else vnid.number

    @hook
    def network_flows(self, view: View) -> Iterable[Flow]:
        yield from _members(view, GLOBAL_TENANT)
        # The node itself, and hosts outside, speak as the global tenant.
        yield Flow(TENANT, 200, ip(reg0=GLOBAL_TENANT), [Goto("VERDICT")])
        yield Flow(TENANT, 200, ip(reg1=GLOBAL_TENANT), [Goto("VERDICT")])
        # Whoever is in none of the virtual networks that have a pod here reaches none of them.
        yield Flow(TENANT, 1, any_packet())
        yield Flow(VERDICT, 200, ip(reg0=GLOBAL_TENANT), [Goto("RETURN")])
        yield Flow(VERDICT, 200, ip(reg1=GLOBAL_TENANT), [Goto("RETURN")])

    @hook
    def tenant_flows(self, view: View, tenant: int) -> Iterable[Flow]:
        if tenant == GLOBAL_TENANT:
            return
        yield from _members(view, tenant)
        yield Flow(VERDICT, 100, ip(reg0=tenant, reg1=tenant), [Goto("RETURN")])
        # Counted: what others wanted of this tenant.
        yield Flow(VERDICT, 50, ip(reg1=tenant))

    @hook
    def allocations(self, view: View) -> Iterable[Allocation | Problem]:
        return allocations(view)


def _members(view: View, tenant: int) -> Iterator[Flow]:
    """For each namespace in the virtual network, its number on the wire becomes the network's."""
    for name in sorted(view.having(NETNAMESPACES, tenant)):
        vnid: Vnid | None = view.get(VNIDS, name)
        if vnid is not None:
            yield Flow(TENANT, 100, ip(reg0=vnid.number), [SetField(_SRC, tenant), Goto("VERDICT")])
