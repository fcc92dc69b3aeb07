"""What flows belong to: the network, another node, a pod here, a tenant here, a record."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["NETWORK", "NODE", "POD", "RECORD", "TENANT", "FlowOwner", "Subject"]

NETWORK = "network"
NODE = "node"
POD = "pod"
TENANT = "tenant"
RECORD = "record"


class Subject(NamedTuple):
    """kind: one of the names above. key: "" for the network, a node's address, the name of a pod's
    port, a tenant's number as text, a record's kind and key with a slash between."""

    kind: str
    key: str


class FlowOwner(NamedTuple):
    """Who wants a flow: a plugin, for a subject."""

    plugin: str
    subject: Subject
