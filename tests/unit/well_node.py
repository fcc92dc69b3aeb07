"""A node with nothing wrong, as `k8s-ovs doctor` sees it, and what is found of others."""

from __future__ import annotations

import os
from pathlib import Path

from k8s_ovs.cli.cluster.snapshot import ClusterSnapshot
from k8s_ovs.cli.doctor.checks import core_checks
from k8s_ovs.cli.doctor.observations import CniObservations, NodeObservations, Observations
from k8s_ovs.cli.host.status import SwitchStatus
from k8s_ovs.cli.host.this_node import DaemonStatus
from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.node.host.state import Look
from k8s_ovs.plugin import Check
from k8s_ovs.reconcile.desired_flows import Delta
from k8s_ovs_testing.world import sample_config, sample_local_node, sample_world

__all__ = ["LEADER", "NODE", "SNAPSHOT", "WELL", "wrong"]

#: Who the leader is, as etcd has it.
LEADER = {f"{sample_config().name}/allocator": b'{"holder":"node1"}'}
SNAPSHOT = ClusterSnapshot(
    key="/k8s.ovs.com/ovs/network/config",
    config=sample_config(),
    manager=PluginManager({}),
    world=sample_world(),
    raw={"config": b"{}", **LEADER},
    revision_of_config=1,
    unknown_keys=(),
    problems=(),
)
NODE = NodeObservations(
    world=sample_world(),
    local_node=sample_local_node(),
    failures=[],
    delta=Delta(),
    state=Look(),
    underlay_mtu=1500,
)
WELL = Observations(
    daemon=DaemonStatus({"pid": os.getpid(), "ready": True}, os.getpid()),
    switch=SwitchStatus("3.1.0", "system", 71),
    in_kernel=True,
    kube="https://10.0.0.1:6443 v1.34.2",
    snapshot=SNAPSHOT,
    node=NODE,
    cni=CniObservations(Path("/net.d/80-k8s-ovs.conf"), ("k8s-ovs",)),
    cni_program="speaks CNI 1.1.0, standalone",
)


def wrong(observations: Observations) -> dict[str, Check]:
    """The checks that are not ok, by name; without the line about those that were not made."""
    found = {check.name: check for check in core_checks(observations) if not check.ok}
    found.pop("not checked", None)
    return found
