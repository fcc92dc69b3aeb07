"""A node's state as a value, for tests of what tells of it."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.node.switch import Commits
from k8s_ovs.node.tell.node_state import NodeState
from k8s_ovs_testing.world import sample_world

__all__ = ["sample_state"]


def sample_state(**changes: Any) -> NodeState:
    """A node that is ready, in the network of `sample_world`, without plugins; `changes` are fields
    of NodeState."""
    state = NodeState(
        hostname="node1",
        pid=4711,
        version="0.1.0",
        waiting_for="",
        seen_revision=9,
        applied_revision=8,
        sources={"etcd": True, "kube:nodes": False},
        is_leader=False,
        commits=Commits(count=2, added=70, deleted=3, seconds=0.5, last=1e9),
        problems=("subnets/192.168.0.12: HostIP: found x",),
        manager=PluginManager({}),
        world=sample_world(),
        flows=71,
    )
    return evolve(state, **changes)
