"""External hosts: a server that is no Kubernetes node gets a subnet of the network.

Its record is one below `subnets/` like those of nodes, so the core forwards its packets, and it
belongs to the global tenant, like a node itself. This plugin gives it a subnet, and has the
commands.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any

from k8s_ovs.plugin import Allocation, Problem, RecordKind, View, hook
from k8s_ovs_extlb.allocations import allocations
from k8s_ovs_extlb.records import KINDS

__all__ = ["ExternalHosts"]


class ExternalHosts:
    """A feature: hosts with manually created records get subnets."""

    @hook
    def kinds(self) -> Iterable[RecordKind]:
        return KINDS

    @hook
    def allocations(self, view: View) -> Iterable[Allocation | Problem]:
        return allocations(view)

    @hook
    def commands(self) -> Mapping[str, Any]:
        # Commands are for people; the daemon need not load them.
        module = import_module("k8s_ovs_extlb.commands")
        return {"external": module.app}
