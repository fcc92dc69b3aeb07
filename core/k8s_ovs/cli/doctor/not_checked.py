"""Which checks were not made, and which other one has to be ok before they can be?"""

from __future__ import annotations

from collections.abc import Iterator

from k8s_ovs.cli.cluster.snapshot import ClusterSnapshot
from k8s_ovs.cli.doctor.observations import Observations
from k8s_ovs.errors import K8sOvsError
from k8s_ovs.plugin.values import Check

__all__ = ["checks_not_made"]

#: Of the node, once it is known what it should be.
_OF_NODE = "MTU, bridge, tun0, nftables, pods, devices, flows, kube-proxy, those of plugins"
_OF_CLUSTER = "leader, other nodes"


def checks_not_made(observations: Observations) -> Iterator[Check]:
    """One line that names them; nothing where all were made."""
    snapshot = observations.snapshot
    if isinstance(snapshot, K8sOvsError):
        yield _check(f"records, etcd access, subnet, {_OF_NODE}, {_OF_CLUSTER}", "etcd")
    elif snapshot.config is None:
        yield _check(f"etcd access, subnet, {_OF_NODE}, {_OF_CLUSTER}", "records")
    elif isinstance(observations.node, K8sOvsError):
        first = _first(observations, snapshot)
        yield _check(_OF_NODE if first == "subnet" else f"subnet, {_OF_NODE}", first)


def _first(observations: Observations, snapshot: ClusterSnapshot) -> str:
    """The check that says why nothing is known of what the node should be."""
    reason = str(observations.node)
    if reason == observations.switch.problem:
        return "Open vSwitch"
    return "records" if reason in snapshot.problems else "subnet"


def _check(names: str, first: str) -> Check:
    found = f"{names}: the check {first} has to be ok before"
    return Check("not checked", False, found, f"first see to the check {first}")
