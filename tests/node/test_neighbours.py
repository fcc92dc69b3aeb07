"""The very first packet to another node arrives: Open vSwitch knows the way before."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from k8s_ovs_lab import Lab
from k8s_ovs_lab.lab_net import LabNet
from k8s_ovs_lab.process import await_that

WITHIN = 60.0


@pytest.fixture(scope="module")
def quiet(lab_of: Callable[..., Lab]) -> LabNet:
    """Two nodes with a pod each, of which none has sent anything yet."""
    lab = lab_of("ngh")
    for name, node in {"a": "node1", "c": "node2"}.items():
        lab.run_pod(node, name)
    return LabNet(lab)


def arrives(world: LabNet, client: str, server: str) -> None:
    """One single echo is sent, and comes back."""
    words = ["ping", "-c1", "-W2", str(world.address(server))]
    assert "1 received" in world.lab.exec(client, words, check=False).stdout


def knows(world: LabNet, node: str, other: str) -> bool:
    """Whether Open vSwitch of a node has the MAC address for packets to another one."""
    if world.lab.state.datapath == "system":  # it is the kernel's to know, and it loses none
        return True
    known = world.lab.exec(node, ["ovs-appctl", "tnl/neigh/show"]).stdout
    return f"{world.address(other)} " in known


def test_the_first_packet_between_two_nodes_arrives(quiet: LabNet) -> None:
    arrives(quiet, "a", "c")


@pytest.mark.parametrize(("node", "client", "server"), [("node3", "a", "e"), ("node4", "f", "c")])
def test_the_first_packet_to_and_from_a_node_that_came_later_arrives(
    quiet: LabNet, node: str, client: str, server: str
) -> None:
    quiet.lab.add_node(node)
    quiet.lab.run_pod(node, {"node3": "e", "node4": "f"}[node])
    arrives(quiet, client, server)


def test_a_switch_that_started_anew_knows_the_others_without_a_packet_of_theirs(
    quiet: LabNet,
) -> None:
    quiet.lab.stop_ovs("node1")
    await_that("the loss of it", lambda: not _status_is_ready(quiet), WITHIN)
    quiet.lab.start_ovs("node1")
    await_that("the way to node2", lambda: knows(quiet, "node1", "node2"), WITHIN)
    await_that("node1", lambda: _status_is_ready(quiet), WITHIN)
    arrives(quiet, "a", "c")


def _status_is_ready(world: LabNet) -> bool:
    return bool(world.status("node1").get("ready"))
