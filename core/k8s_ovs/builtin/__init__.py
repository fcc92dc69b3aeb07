"""The core's own plugins. They use the hooks that everybody has, and run in every network."""

from __future__ import annotations

from k8s_ovs.builtin.forwarding import Forwarding
from k8s_ovs.builtin.node_subnets import NodeSubnets

__all__ = ["BUILTIN", "CORE", "NODE_SUBNETS"]

#: The names under which they run.
CORE, NODE_SUBNETS = "core", "node-subnets"

BUILTIN = {CORE: Forwarding(), NODE_SUBNETS: NodeSubnets()}
