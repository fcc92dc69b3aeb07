"""A node's status: the etcd record; the daemon's in-memory state is node/tell/node_state.py.

Below `<Name>/status/`, by the node's name, each under a lease.

A host that Kubernetes does not know says the same below `<Name>/seen/`, to be remembered.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from k8s_ovs.model.allowance import DELETIONS
from k8s_ovs.model.codec import named
from k8s_ovs.model.world import USED

__all__ = ["LEADER_KEY", "NOT_RECORDS", "SEEN", "STATUS", "SUCCESSOR_KEY", "NodeStatus"]

#: Below `<Name>/`, by the node's name.
STATUS = "status"
#: Below `<Name>/`, by the host's address.
SEEN = "seen"
#: Below `<Name>/`: who the leader is, under a lease. No record either.
LEADER_KEY = "allocator"
#: Who is to be the leader next, under a lease.
SUCCESSOR_KEY = "allocator-next"
#: What is below `<Name>/` and in no backup: daemons write it anew, or it is a word for once.
NOT_RECORDS = frozenset({STATUS, SEEN, LEADER_KEY, SUCCESSOR_KEY, DELETIONS, USED})


@frozen
class NodeStatus:
    """A node's state. revision: etcd's, up to which this node has applied all records.

    errors: what it could not apply, newest last. waiting_for: why its network is not ready; None:
    it is. seen: when this was said (RFC 3339, UTC), where it is to be remembered.
    """

    node: str = named("Node")
    host_ip: str = named("HostIP")
    version: str = named("Version")
    revision: int = named("Revision")
    ready: bool = named("Ready")
    pods: int = named("Pods")
    flows: int = named("Flows")
    errors: tuple[str, ...] = named("Errors", factory=tuple)
    waiting_for: str | None = named("WaitingFor", default=None)
    seen: str | None = named("Seen", default=None)
    extra: Mapping[str, Any] = field(factory=dict)
