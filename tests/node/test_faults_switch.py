"""Open vSwitch or the daemon ends, hangs, comes back: what it costs in packets, ports and flows."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from tests.node.hanging import database_hangs, switch, switch_hangs

from k8s_ovs.errors import K8sOvsError
from k8s_ovs_lab.lab_net import LabNet
from k8s_ovs_lab.layout import ETCD_PREFIX
from k8s_ovs_lab.process import await_that
from k8s_ovs_lab.underlay import remove_namespaces
from k8s_ovs_testing.traffic.traffic import PingStream

WITHIN = 40.0
#: What an ADD is answered while Open vSwitch hangs, whichever part of it was asked last.
SILENT = r"(Open vSwitch|the bridge at ).*code 11"


class TestDaemon:
    @pytest.mark.datapath
    def test_killed_and_started_again_it_costs_no_packet_and_changes_no_flow(
        self, shaken: LabNet
    ) -> None:
        before = counted(shaken)
        with beating(shaken) as streams:
            for node in ("node1", "node2"):
                shaken.lab.part(f"{node}/daemon").kill()
            for node in ("node1", "node2"):
                shaken.lab.start_daemon(node)
            some_more(streams)
            lost = [stream.stop() for stream in streams]
        assert lost == [0, 0], f"of {[stream.sent for stream in streams]}"
        after = counted(shaken)
        assert after.keys() == before.keys()
        assert all(after[cookie] >= before[cookie] for cookie in before)

    def test_pods_that_went_while_it_was_away_are_gone(self, shaken: LabNet) -> None:
        ports, flows = pod_ports(shaken), counted(shaken).keys()
        lost = shaken.attach(shaken.bare_pod("node1", "lost"))
        assert len(pod_ports(shaken)) == len(ports) + 1
        shaken.lab.stop_daemon("node1")
        remove_namespaces([lost.netns])
        shaken.lab.start_daemon("node1")
        await_that("its port is gone", lambda: pod_ports(shaken) == ports, WITHIN)
        await_that("its flows are gone", lambda: counted(shaken).keys() == flows, WITHIN)
        shaken.cni("DEL", lost)


@pytest.mark.datapath
class TestVswitchd:
    def test_restarted_it_gets_flows_and_devices_back(self, shaken: LabNet) -> None:
        flows, place = counted(shaken).keys(), own_local_node(shaken)
        shaken.lab.restart_ovs("node1")
        await_that("the same flows", lambda: counted(shaken).keys() == flows, WITHIN)
        await_that("tun0 as before", lambda: own_local_node(shaken) == place, WITHIN)
        goes_on(shaken)

    def test_crashed_it_is_told_and_all_is_back_when_it_is(self, shaken: LabNet) -> None:
        flows = counted(shaken).keys()
        ovs = switch(shaken)
        ovs.kill()
        await_that("it is told", lambda: "br0" in waits_for(shaken), WITHIN)
        shaken.lab.restart_ovs("node1")
        await_that("the same flows", lambda: counted(shaken).keys() == flows, WITHIN)
        goes_on(shaken)

    def test_while_it_hangs_an_add_is_answered_in_time(self, shaken: LabNet) -> None:
        pod = shaken.bare_pod("node1", "early")
        with (
            switch_hangs(shaken),
            pytest.raises(K8sOvsError, match=SILENT),
        ):
            shaken.attach(pod)
        await_that("it is ready", lambda: shaken.status("node1")["ready"], WITHIN)
        shaken.remove(pod)
        goes_on(shaken)


@pytest.mark.datapath
class TestOvsdb:
    def test_restarted_it_costs_no_packet_and_changes_no_flow(self, shaken: LabNet) -> None:
        """In userspace packets wait a second then, and no more of them than a socket holds."""
        before = counted(shaken)
        with beating(shaken) as streams:
            switch(shaken).restart_server()
            # It returns when ovs-vswitchd is connected again and has done it.
            switch(shaken).vsctl("set", "open_vswitch", ".", f"external-ids:seen={time.time_ns()}")
            some_more(streams)
            lost = [stream.stop() for stream in streams]
        assert lost == [0, 0], f"of {[stream.sent for stream in streams]}"
        after = counted(shaken)
        assert after.keys() == before.keys()
        assert all(after[cookie] >= before[cookie] for cookie in before)
        goes_on(shaken)

    def test_while_it_hangs_packets_go_on_and_an_add_is_answered_in_time(
        self, shaken: LabNet
    ) -> None:
        pod = shaken.bare_pod("node1", "early")
        with database_hangs(shaken):
            with pytest.raises(K8sOvsError, match=SILENT):
                shaken.attach(pod)
            assert shaken.pings("x", shaken.address("y"))
        await_that("it is ready", lambda: shaken.status("node1")["ready"], WITHIN)
        shaken.remove(pod)
        goes_on(shaken)


class TestStart:
    def test_without_open_vswitch_the_daemon_waits_and_says_so(self, shaken: LabNet) -> None:
        shaken.lab.stop_daemon("node1")
        shaken.lab.stop_ovs("node1")
        shaken.lab.start_daemon("node1", wait=False)
        socket = str(shaken.lab.node("node1").ovs_directory / "db.sock")
        await_that("it says so", lambda: socket in waits_for(shaken), WITHIN)
        shaken.lab.start_ovs("node1")
        await_that("it is ready", lambda: shaken.status("node1")["ready"], WITHIN)
        goes_on(shaken)

    def test_all_hear_of_a_daemon_that_has_never_found_open_vswitch(self, shaken: LabNet) -> None:
        shaken.lab.stop_daemon("node1")
        # Its run directory is another one: without Open vSwitch the userspace datapath's node has
        # no network by which to tell anybody.
        shaken.lab.start_daemon("node1", "--ovs-run-dir=/run/no-openvswitch", wait=False)
        socket = "/run/no-openvswitch/db.sock"
        await_that("it tells", lambda: socket in told(shaken).get("WaitingFor", ""), WITHIN)
        assert told(shaken)["Ready"] is False
        shaken.lab.stop_daemon("node1")
        assert told(shaken) == {}
        shaken.lab.start_daemon("node1")
        await_that("it is ready", lambda: told(shaken).get("Ready", False), WITHIN)
        assert "WaitingFor" not in told(shaken)

    @pytest.mark.datapath
    def test_after_the_node_was_booted_its_former_pods_are_gone(self, shaken: LabNet) -> None:
        """OVSDB is on the disk, devices are not."""
        ports, flows = pod_ports(shaken), counted(shaken).keys()
        former = [shaken.attach(shaken.bare_pod("node1", name)) for name in ("one", "two")]
        shaken.lab.stop_daemon("node1")
        shaken.lab.stop_ovs("node1")
        remove_namespaces([pod.netns for pod in former])
        shaken.lab.start_ovs("node1")
        shaken.lab.start_daemon("node1")
        await_that("their ports are gone", lambda: pod_ports(shaken) == ports, WITHIN)
        await_that("their flows are gone", lambda: counted(shaken).keys() == flows, WITHIN)
        assert "error:" not in shaken.lab.exec("node1", ["ovs-vsctl", "show"]).stdout
        for pod in former:
            shaken.cni("DEL", pod)
        goes_on(shaken)


@contextmanager
def beating(world: LabNet) -> Iterator[list[PingStream]]:
    """A hundred echoes a second between the nodes, both ways."""
    # Neighbours and caches are warm: what is lost is lost by what is done meanwhile.
    assert world.pings("x", world.address("y"))
    ways = (("x", "y"), ("y", "x"))
    streams = [PingStream(world.netns(one), world.address(other)) for one, other in ways]
    try:
        yield streams
    finally:
        for stream in streams:
            stream.stop()


def some_more(streams: list[PingStream]) -> None:
    """Let the pulses go on for half a second after all is over."""
    wanted = [stream.sent + 50 for stream in streams]
    await_that(
        "more echoes",
        lambda: all(stream.sent >= number for stream, number in zip(streams, wanted, strict=True)),
        WITHIN,
    )


def counted(world: LabNet) -> dict[str, int]:
    """Packets by flow of node1; a flow is known by its cookie, which is a hash of its content."""
    found = {}
    for flow in world.flows("node1"):
        match = re.search(r"cookie=(\w+),.* n_packets=(\d+)", flow)
        assert match is not None
        found[match[1]] = int(match[2])
    return found


def pod_ports(world: LabNet) -> set[str]:
    words = ["ovs-vsctl", "list-ports", "br0"]
    return {port for port in world.lab.exec("node1", words).stdout.split() if port[:4] == "kovs"}


def own_local_node(world: LabNet) -> tuple[str, str]:
    """Address and routes of the node's own port."""
    address = world.lab.exec("node1", ["ip", "-oneline", "-4", "address", "show", "tun0"]).stdout
    return address, world.lab.exec("node1", ["ip", "route", "show", "dev", "tun0"]).stdout


def waits_for(world: LabNet) -> str:
    return str(world.status("node1")["waiting_for"])


def told(world: LabNet) -> dict[str, Any]:
    """What node1 says of itself in etcd; empty: nothing."""
    key = f"{ETCD_PREFIX}/k8ssdn/status/node1"
    return dict(json.loads(world.lab.etcdctl("get", "--print-value-only", key) or "{}"))


def goes_on(world: LabNet) -> None:
    """Packets both ways, and a new pod."""
    for client, server in (("x", "y"), ("y", "x"), ("node1", "y"), ("y", "node1")):
        await_that(
            f"{client} to {server}",
            partial(world.pings, client, world.address(server)),
            WITHIN,
        )
    with world.attached("node1", "late") as pod:
        assert pod.ip is not None
        assert world.pings("y", pod.ip)
