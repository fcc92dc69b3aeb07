"""How many tenants are there, in the cluster and on this node? For people and for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from k8s_ovs.plugin import Metric, View
from k8s_ovs_multitenant.records import NETNAMESPACES

__all__ = ["counts", "metrics"]

_HELP = {
    "tenants": "Tenants that have a pod on this node.",
    "namespaces": "Namespaces of the cluster that have a record.",
    "networks": "Tenants of the cluster: namespaces that are joined count once.",
    "requests": "Actions that are not answered yet.",
}


def counts(view: View) -> Mapping[str, int]:
    """The numbers that `_HELP` explains, by name."""
    records = view.all(NETNAMESPACES)
    tenants_here = {view.tenant_of(pod) for pod in view.pods().values()} - {None}
    asked = [slot for slot in view.slots(NETNAMESPACES).values() if slot.asked is not None]
    return {
        "tenants": len(tenants_here),
        "namespaces": len(records),
        "networks": len({record.net_id for record in records.values()}),
        "requests": len(asked),
    }


def metrics(view: View) -> Iterator[Metric]:
    """The same for Prometheus; as of a plugin, their names begin with k8s_ovs_plugin_tenancy."""
    for name, value in counts(view).items():
        yield Metric(f"tenancy_{name}", _HELP[name], value)
