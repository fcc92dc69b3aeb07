"""What a command asks, as a request in etcd; allocations.py answers."""

from __future__ import annotations

from attrs import evolve

from k8s_ovs.plugin import K8sOvsError, Write
from k8s_ovs.plugin.command.cluster import Cluster
from k8s_ovs_multitenant.records import NETNAMESPACES

__all__ = ["request_action"]


def request_action(cluster: Cluster, namespace: str, action: str, other: str) -> int:
    """Write the action into the namespace's record, all else in it as it is; the new revision.

    Raises K8sOvsError where there is no record, or somebody else has changed it meanwhile.
    """
    found = cluster.get(NETNAMESPACES, namespace)
    if found is None:
        raise K8sOvsError(
            f"namespace {namespace} has no record in {NETNAMESPACES}; "
            "k8s-ovs tenant list shows those that do"
        )
    wanted = evolve(found.value, action=action, namespace=other, reason=None)
    revision = cluster.write(Write(NETNAMESPACES, namespace, wanted, found.revision))
    if revision is None:
        raise K8sOvsError(
            f"{NETNAMESPACES}/{namespace} was changed in the meantime: check it and try again"
        )
    return revision
