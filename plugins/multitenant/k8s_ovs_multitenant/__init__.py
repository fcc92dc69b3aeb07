"""Multi-tenant: one tenant per namespace; namespaces can be joined, isolated, made global.

A packet carries its namespace's VNI (VNID in records), which never changes. On the destination's
node, TENANT translates the VNI into the namespace's current tenant id (NetID in records), and
VERDICT compares it with the destination's. So a change of tenant is one bundle per node, and no
node waits for another.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from typing import Any

from k8s_ovs.plugin import (
    GLOBAL_TENANT,
    Allocation,
    ConfigField,
    Flow,
    KubeResource,
    Metric,
    Pod,
    Problem,
    RecordKind,
    Table,
    View,
    hook,
)
from k8s_ovs_multitenant.allocations import GLOBAL_NAMESPACES, allocations
from k8s_ovs_multitenant.counts import counts, metrics
from k8s_ovs_multitenant.flows import NETWORK_FLOWS, TENANT, member, unwanted, within
from k8s_ovs_multitenant.records import (
    KINDS,
    NAMESPACE_VNIS,
    NETNAMESPACES,
    TENANT_INDEX,
    NamespaceVni,
    NetNamespace,
    namespaces,
)

__all__ = ["TENANT", "MultiTenant"]


class MultiTenant:
    """A mode in which each namespace is a tenant."""

    @hook
    def tables(self) -> Iterable[Table]:
        return [TENANT]

    @hook
    def kinds(self) -> Iterable[RecordKind]:
        return KINDS

    @hook
    def resources(self) -> Iterable[KubeResource]:
        return [namespaces()]

    @hook
    def config_fields(self) -> Iterable[ConfigField]:
        return [GLOBAL_NAMESPACES]

    @hook
    def tenant_of(self, view: View, pod: Pod) -> int | None:
        # Until an action is answered the old tenant id applies; after a restart, the one written.
        settled = view.get(NETNAMESPACES, pod.namespace)
        record: NetNamespace | None = settled or view.request(NETNAMESPACES, pod.namespace)
        return None if record is None else record.net_id

    @hook
    def vni_of(self, view: View, pod: Pod) -> int | None:
        vni: NamespaceVni | None = view.get(NAMESPACE_VNIS, pod.namespace)
        return None if vni is None else vni.number

    @hook
    def network_flows(self, view: View) -> Iterable[Flow]:
        yield from _members(view, GLOBAL_TENANT)
        yield from NETWORK_FLOWS

    @hook
    def tenant_flows(self, view: View, tenant: int) -> Iterable[Flow]:
        if tenant == GLOBAL_TENANT:
            return
        yield from _members(view, tenant)
        yield within(tenant)
        yield unwanted(tenant)

    @hook
    def allocations(self, view: View) -> Iterable[Allocation | Problem]:
        return allocations(view)

    @hook
    def status(self, view: View) -> Mapping[str, Any]:
        return counts(view)

    @hook
    def metrics(self, view: View) -> Iterable[Metric]:
        return metrics(view)

    @hook
    def commands(self) -> Mapping[str, Any]:
        # Commands are for people; the daemon need not load them.
        module = import_module("k8s_ovs_multitenant.commands")
        return {"tenant": module.app}


def _members(view: View, tenant: int) -> Iterator[Flow]:
    """For each namespace of the tenant, its VNI is translated into the tenant id."""
    for name in sorted(_names_in(view, tenant)):
        vni: NamespaceVni | None = view.get(NAMESPACE_VNIS, name)
        if vni is not None:
            yield member(vni.number, tenant)


def _names_in(view: View, tenant: int) -> set[str]:
    """Namespaces in the tenant, as `tenant_of` says: also those that ask for something and of which
    this node has seen nothing settled."""
    names = view.asking(NETNAMESPACES, TENANT_INDEX, tenant)
    unsettled = {name for name in names if view.get(NETNAMESPACES, name) is None}
    return unsettled | view.having(NETNAMESPACES, TENANT_INDEX, tenant).keys()
