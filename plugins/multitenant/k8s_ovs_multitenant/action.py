"""An action from the command line: asked in etcd, answered by the allocator, applied by nodes."""

from __future__ import annotations

import time
from collections.abc import Iterator

from attrs import evolve

from k8s_ovs.errors import K8sOvsError, TimedOut
from k8s_ovs.plugin.cluster import Cluster, NodeStatus, Record
from k8s_ovs_multitenant.records import NETNAMESPACES

__all__ = ["Deadline", "answered", "applied", "asked"]


class Deadline:
    """So many seconds from now, looked at with growing pauses."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds
        self._pause = 0.02

    def pause(self) -> bool:
        """Wait a little; False: the time is up."""
        left = self._end - time.monotonic()
        time.sleep(min(self._pause, max(left, 0)))
        self._pause = min(self._pause * 1.5, 0.5)
        return left > 0


def asked(cluster: Cluster, namespace: str, action: str, other: str) -> int:
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
    revision = cluster.put(NETNAMESPACES, namespace, wanted, found.revision)
    if revision is None:
        raise K8sOvsError(
            f"{NETNAMESPACES}/{namespace} has been changed meanwhile; look at it and try again"
        )
    return revision


def answered(cluster: Cluster, namespace: str, since: int, deadline: Deadline) -> Record:
    """The record once it has been answered. Raises TimedOut, and K8sOvsError where it is gone."""
    while True:
        found = cluster.get(NETNAMESPACES, namespace)
        if found is None:
            raise K8sOvsError(f"{NETNAMESPACES}/{namespace} is gone: so is the namespace")
        if found.revision > since and not found.value.action:
            return found
        if not deadline.pause():
            raise TimedOut(
                f"{NETNAMESPACES}/{namespace} was not answered within {deadline.seconds:g} s: it "
                "stays there to be answered; the daemon in the allocator's seat does that, "
                "see k8s-ovs status on the nodes"
            )


def applied(cluster: Cluster, revision: int, deadline: Deadline) -> Iterator[str]:
    """The names of live nodes, each as soon as its flows are of `revision`.

    Raises TimedOut that names those that lag, and K8sOvsError where no node is live.
    """
    told: set[str] = set()
    while True:
        live = cluster.statuses()
        for node in live:
            if node.revision >= revision and node.node not in told:
                told.add(node.node)
                yield node.node
        late = [each for each in live if each.node not in told]
        if live and not late:
            return
        if not deadline.pause():
            if not live:
                raise K8sOvsError("no node is live: none has written its status")
            raise TimedOut(
                f"not applied within {deadline.seconds:g} s by {_named(late, revision)}; "
                "they will when they can, see k8s-ovs status there"
            )


def _named(late: list[NodeStatus], revision: int) -> str:
    """The nodes that lag, how far, and what holds them up where they say so."""
    return ", ".join(
        f"{node.node} (at revision {node.revision} of {revision}"
        + (f": {node.errors[-1]}" if node.errors else "")
        + ")"
        for node in late
    )
