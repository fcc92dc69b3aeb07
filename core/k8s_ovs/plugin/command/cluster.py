"""What a command of a plugin gets of the cluster: etcd's records, the nodes' word, flow counters.

A command that has a parameter of type `Cluster` gets one, and `k8s-ovs` gives the command the
options that say where the cluster is (`--etcd-endpoints` and so on)::

    @app.command()
    def show(name: str, *, cluster: Cluster) -> None: ...
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from attrs import frozen

from k8s_ovs.model.node_status import NodeStatus
from k8s_ovs.pipeline.flow import Flow
from k8s_ovs.plugin.values import Write
from k8s_ovs.plugin.view import View

__all__ = ["Cluster", "Counter", "NodeStatus", "Record"]


@frozen
class Counter:
    """What a flow has met since it was added."""

    packets: int
    bytes: int


@frozen
class Record:
    """A record as etcd has it. revision: its mod_revision."""

    value: Any
    revision: int


class Cluster(Protocol):
    """The cluster as a command sees it. Each call may take some seconds and raises Unavailable
    where its other side is away, InvalidRecord for what cannot be read, and PluginError where the
    network does not run the plugin whose command this is."""

    def view(self) -> View:
        """All records of etcd as they are now. It has no pods, no `here` and nothing of
        Kubernetes."""

    def get(self, kind: str, key: str) -> Record | None:
        """One record as it is in etcd now, be it settled or a request; None: there is none."""

    def write(self, *writes: Write) -> int | None:
        """Make all writes if every record still has the revision that its write was decided on;
        the new revision, None: one has another one now, and nothing was written."""

    def statuses(self) -> Sequence[NodeStatus]:
        """What the nodes that live say of themselves, by name."""

    def seen(self) -> Sequence[NodeStatus]:
        """What hosts that Kubernetes does not know have said of themselves last, and when, be it
        that they live no more; by address."""

    def counters(self, flows: Iterable[Flow]) -> Sequence[Counter | None]:
        """What each of the plugin's flows has met on this machine; None: it is not installed here.

        Raises Unavailable where this machine is no node."""
