"""Do the other nodes work? What each says of itself in etcd, and which say nothing."""

from __future__ import annotations

from collections.abc import Iterator

from k8s_ovs.cli.cluster.snapshot import ClusterSnapshot
from k8s_ovs.errors import InvalidRecord
from k8s_ovs.model.codec import decode
from k8s_ovs.model.node_status import STATUS, NodeStatus
from k8s_ovs.model.world import NODES
from k8s_ovs.plugin.values import Check

__all__ = ["check_other_nodes", "said_by_nodes"]

_SILENT = "does not say how it is: its daemon does not run, or does not reach etcd"


def check_other_nodes(snapshot: ClusterSnapshot, hostname: str) -> Iterator[Check]:
    """hostname: this node's, which the other checks are about. Nothing where there is no other."""
    said = {name: _trouble(each) for name, each in said_by_nodes(snapshot).items()}
    silent = dict.fromkeys(snapshot.world.settled(NODES), _SILENT)
    others = {name: trouble for name, trouble in (silent | said).items() if name != hostname}
    wrong = [f"{name}: {others[name]}" for name in sorted(others) if others[name]]
    if wrong:
        advice = "pods are not reached there; on that node: k8s-ovs doctor"
        yield Check("other nodes", False, "; ".join(wrong), advice)
    elif others:
        yield Check("other nodes", True, f"{len(others)}, and each says that it is ready")


def said_by_nodes(snapshot: ClusterSnapshot) -> dict[str, NodeStatus | InvalidRecord]:
    """What each node says of itself, by its name, or why nobody can read that."""
    found: dict[str, NodeStatus | InvalidRecord] = {}
    for path, data in snapshot.raw.items():
        if snapshot.config is not None and path.startswith(f"{snapshot.config.name}/{STATUS}/"):
            try:
                found[path.rpartition("/")[2]] = decode(NodeStatus, path, data)
            except InvalidRecord as error:
                found[path.rpartition("/")[2]] = error
    return found


def _trouble(said: NodeStatus | InvalidRecord) -> str:
    """Why a node does not work, as it says; "": it does."""
    if isinstance(said, InvalidRecord):
        return str(said)
    return "" if said.ready else f"not ready, waiting for {said.waiting_for}"
