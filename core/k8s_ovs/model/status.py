"""What a node says of itself to all: the records below `<Name>/status/`, each under a lease."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from k8s_ovs.model.codec import named

__all__ = ["STATUS", "NodeStatus"]

#: Below `<Name>/`.
STATUS = "status"


@frozen
class NodeStatus:
    """A node's state. revision: etcd's, up to which this node has applied all records.

    errors: what it could not apply, newest last.
    """

    node: str = named("Node")
    host_ip: str = named("HostIP")
    version: str = named("Version")
    revision: int = named("Revision")
    ready: bool = named("Ready")
    pods: int = named("Pods")
    flows: int = named("Flows")
    errors: tuple[str, ...] = named("Errors", factory=tuple)
    extra: Mapping[str, Any] = field(factory=dict)
