"""Pods come and go many at once, again at once, and while Open vSwitch is busy."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from k8s_ovs_lab.lab_net import LabNet
from k8s_ovs_lab.process import await_that
from k8s_ovs_lab.underlay import remove_namespaces
from k8s_ovs_testing.ovs import OvsProcess
from k8s_ovs_testing.traffic.traffic import PingStream

pytestmark = pytest.mark.datapath

WITHIN = 30.0
MILLISECOND = 0.001
PASSERS = 6


def test_pods_that_come_and_go_together_have_their_packets_and_leave_nothing(
    shaken: LabNet,
) -> None:
    before = matches(shaken)
    pods = [shaken.bare_pod("node1", f"many{number}") for number in range(8)]
    with ThreadPoolExecutor(len(pods)) as runtime:
        attached = list(runtime.map(shaken.attach, pods))
        assert len({pod.ip for pod in attached}) == len(pods)
        for pod in attached:
            assert pod.ip is not None
            assert shaken.pings("y", pod.ip)
        list(runtime.map(partial(shaken.cni, "DEL"), attached))
    remove_namespaces([pod.netns for pod in pods])
    await_that("their flows are gone", lambda: matches(shaken) == before, WITHIN)
    await_that("their devices are gone", lambda: len(devices(shaken)) == 1, WITHIN)


@pytest.mark.parametrize("server", ["neighbour", "y"])
def test_pods_that_come_and_go_cost_the_others_no_packet(
    shaken: LabNet, report: Callable[[str], None], server: str
) -> None:
    with shaken.attached("node1", "neighbour") as neighbour:
        target = neighbour.ip if server == "neighbour" else shaken.address(server)
        assert target is not None
        assert shaken.pings("x", target)
        stream = PingStream(shaken.netns("x"), target, MILLISECOND)
        for number in range(PASSERS):
            with shaken.attached("node1", f"passer{number}"):
                pass
        lost = stream.stop()
    report(f"echoes of x to {server} while pods come and go: {stream.sent} sent, {lost} lost")
    # Between nodes the userspace datapath itself loses some with each port (docs/operations.md).
    between_nodes_in_userspace = server == "y" and shaken.lab.state.datapath == "netdev"
    assert lost <= (5 * PASSERS if between_nodes_in_userspace else 0)


def test_a_pod_that_comes_again_at_once_keeps_its_new_device(shaken: LabNet) -> None:
    with shaken.attached("node1", "again") as pod:
        for _ in range(5):
            shaken.cni("DEL", pod)
            again = shaken.attach(pod)
        assert again.ip is not None
        assert shaken.pings("y", again.ip)
        assert len(devices(shaken)) == 2


def test_a_pod_can_go_while_ovs_vswitchd_hangs_and_its_flows_follow(shaken: LabNet) -> None:
    before = matches(shaken)
    node = shaken.lab.node("node1")
    vswitchd = OvsProcess(node.ovs_directory, node.netns)
    pod = shaken.attach(shaken.bare_pod("node1", "leaver"))
    assert matches(shaken) != before
    vswitchd.pause()
    try:
        shaken.cni("DEL", pod)
    finally:
        vswitchd.resume()
    remove_namespaces([pod.netns])
    await_that("its flows are gone", lambda: matches(shaken) == before, WITHIN)


def test_a_pod_whose_add_was_cut_off_does_not_come_back_after_its_del(shaken: LabNet) -> None:
    """Its device was made, its port was not, and the next daemon has no network yet."""
    before, daemon = matches(shaken), shaken.lab.part("node1/daemon")
    pod = shaken.attach(shaken.bare_pod("node1", "cut-off"))
    daemon.kill()
    (port,) = (name for name in ports(shaken) if pod.name in port_owner(shaken, name))
    shaken.lab.exec("node1", ["ovs-vsctl", "del-port", "br0", port])
    etcd = shaken.lab.part("etcd")
    etcd.pause()
    try:
        shaken.lab.start_daemon("node1", wait=False)
        await_that("the DEL to be answered", lambda: shaken.cni("DEL", pod) is None, WITHIN)
    finally:
        etcd.resume()
    shaken.lab.await_node("node1")
    await_that("its device to be gone", lambda: len(devices(shaken)) == 1, WITHIN)
    assert port not in ports(shaken)
    assert matches(shaken) == before
    remove_namespaces([pod.netns])


def ports(world: LabNet) -> list[str]:
    """The ports of node1's bridge."""
    return world.lab.exec("node1", ["ovs-vsctl", "list-ports", "br0"]).stdout.split()


def port_owner(world: LabNet, port: str) -> str:
    """What a port says of its pod."""
    words = ["ovs-vsctl", "get", "interface", port, "external_ids"]
    return world.lab.exec("node1", words).stdout


def matches(world: LabNet) -> set[str]:
    """The flows of node1, without what they have counted."""
    return {flow.partition("cookie=")[2].partition(",")[0] for flow in world.flows("node1")}


def devices(world: LabNet) -> list[str]:
    """The pods' devices on node1."""
    lines = world.lab.exec("node1", ["ip", "-oneline", "link"]).stdout.splitlines()
    return [line for line in lines if ": kovs" in line]
