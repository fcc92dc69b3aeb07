"""The very first packet to another node arrives: Open vSwitch knows the way before."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

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


def knows(world: LabNet, node: str, other: str) -> bool:
    """Whether a node has all that packets to another one need."""
    address = world.address(other)
    if not any(f"{address}->tun_dst" in flow for flow in world.flows(node, "REMOTE")):
        return False
    if world.lab.state.datapath == "system":  # the kernel asks, and keeps packets meanwhile
        return True
    return f"{address} " in world.lab.exec(node, ["ovs-appctl", "tnl/neigh/show"]).stdout


def know_each_other(world: LabNet, *nodes: str) -> None:
    """Wait until they do, although nothing has been sent."""
    await_that(
        f"{nodes} to know each other",
        lambda: all(knows(world, *pair) for pair in permutations(nodes, 2)),
        WITHIN,
    )


def arrives(world: LabNet, client: str, server: str) -> None:
    """One single echo is sent, and comes back."""
    words = ["ping", "-c1", "-W2", str(world.address(server))]
    assert "1 received" in world.lab.exec(client, words, check=False).stdout


def test_the_first_packet_between_two_nodes_arrives(quiet: LabNet) -> None:
    know_each_other(quiet, "node1", "node2")
    arrives(quiet, "a", "c")


def test_the_first_packets_to_and_from_a_node_that_came_later_arrive(quiet: LabNet) -> None:
    quiet.lab.add_node("node3")
    quiet.lab.run_pod("node3", "e")
    know_each_other(quiet, "node1", "node2", "node3")
    arrives(quiet, "a", "e")
    arrives(quiet, "e", "c")


def test_a_switch_that_started_anew_knows_the_others_before_a_packet_is_sent(
    quiet: LabNet,
) -> None:
    quiet.lab.stop_ovs("node1")
    quiet.lab.start_ovs("node1")
    know_each_other(quiet, "node1", "node2")
    arrives(quiet, "a", "c")
