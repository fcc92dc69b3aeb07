"""Whatever somebody takes or changes of what is ours on a node is back within seconds, and told.

The heart of it is generated: any thing that the node has is picked, and harmed in some way.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from k8s_ovs_lab import Lab
from k8s_ovs_lab.lab_net import LabNet
from k8s_ovs_lab.layout import ETCD_PREFIX
from k8s_ovs_lab.process import await_that
from k8s_ovs_testing.traffic.traffic import PingStream

NODE, POD, LIMITED, PEER = "node1", "one", "limited", "two"
DATAPATH = os.environ.get("K8S_OVS_TEST_DATAPATH", "auto")
#: Seconds: the node is right again within 10, and looking takes a moment; in the emulated machine
#: all takes longer.
WITHIN = 12.0 if DATAPATH != "system" else 90.0

LIMIT = {"kubernetes.io/egress-bandwidth": "20M", "kubernetes.io/ingress-bandwidth": "30M"}

#: {port}: that of a pod.
WORST = (
    "ovs-vsctl del-br br0",
    "ovs-vsctl del-port br0 vxlan0",
    "nft flush ruleset",
    "ovs-vsctl del-port br0 {port}",
    "ip link del {port}",
    "ovs-vsctl set interface {port} external_ids:k8s-ovs-ip=172.11.3.200",
)
#: What nobody finds in the list of things that a node should have.
OTHER_HARMS = (
    "ovs-ofctl del-flows br0",
    "ovs-ofctl del-flows br0 table=10",
    "ovs-ofctl mod-flows br0 actions=drop",
    "ovs-ofctl mod-flows br0 table=20,actions=drop",
    "ovs-ofctl add-flow br0 table=0,priority=65535,actions=drop",
    "ovs-ofctl -OOpenFlow15 del-meters br0",
    "ovs-vsctl del-br br0",
    "ip addr flush dev tun0",
    "nft flush ruleset",
)
#: What the kernel's datapath does not let anybody do: its devices go by Open vSwitch alone.
REFUSED = ("ip link del tun0",)
#: On this machine; the emulated one is slow, and each look takes seconds.
EXAMPLES = 12 if DATAPATH != "system" else 6


class Observer:
    """A program on the node that compares what is there with what should be."""

    def __init__(self, site: LabNet) -> None:
        layout, node = site.lab.layout, site.lab.node(NODE)
        words = (layout.etcd_url, ETCD_PREFIX, node.ovs_directory, NODE, datapath_of(site))
        command = [sys.executable, "-m", "tests.node.observer", *map(str, words)]
        argv, environment = site.lab.command(NODE, command)
        self._process = subprocess.Popen(
            argv,
            env=os.environ | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def harms(self) -> dict[str, list[str]]:
        """Commands by what they harm."""
        found: dict[str, list[str]] = {}
        for thing, command in self._ask("harms"):
            found.setdefault(thing, []).append(command)
        return found

    def look(self) -> list[str]:
        """What differs."""
        return self._ask("look")

    def close(self) -> None:
        self._process.communicate(timeout=60)

    def _ask(self, question: str) -> list[Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{question}\n")
        self._process.stdin.flush()
        return list(json.loads(self._process.stdout.readline()))


@pytest.fixture(scope="module")
def site(lab_of: Callable[..., Lab]) -> LabNet:
    """Two nodes, with a pod and a limited one on the first."""
    lab = lab_of("drift", plugin="k8s-ovs-multitenant")
    for name, node, wanted in ((POD, NODE, {}), (LIMITED, NODE, LIMIT), (PEER, "node2", {})):
        lab.run_pod(node, name, annotations=wanted)
    net = LabNet(lab)
    await_that("packets", lambda: net.pings(POD, net.address(PEER)), WITHIN)
    return net


@pytest.fixture(scope="module")
def observer(site: LabNet) -> Iterator[Observer]:
    observer = Observer(site)
    yield observer
    observer.close()


@pytest.mark.datapath
@settings(
    max_examples=EXAMPLES,
    phases=(Phase.reuse, Phase.generate),
    suppress_health_check=list(HealthCheck),
    database=None,
)
@given(data=st.data())
def test_whatever_somebody_harms_is_put_right_and_told(
    site: LabNet, observer: Observer, data: st.DataObject
) -> None:
    things = observer.harms() | {"anything": list(OTHER_HARMS)}
    # A thing first: there are many more flows than bridges.
    kind = data.draw(st.sampled_from(sorted({name.partition(" ")[0] for name in things})))
    thing = data.draw(st.sampled_from([each for each in things if each.startswith(kind)]))
    commands = [each for each in things[thing] if DATAPATH != "system" or each not in REFUSED]
    put_right(site, observer, data.draw(st.sampled_from(commands)))


@pytest.mark.datapath
@pytest.mark.parametrize("command", WORST)
def test_of_each_kind_the_worst(site: LabNet, observer: Observer, command: str) -> None:
    put_right(site, observer, command.format(port=port_of(site, POD)))


@pytest.mark.datapath
def test_the_neighbours_of_a_pod_that_lost_its_port_lose_no_packet(
    site: LabNet, observer: Observer
) -> None:
    stream = PingStream(site.netns(LIMITED), site.address(PEER), 0.005)
    try:
        put_right(site, observer, f"ovs-vsctl del-port br0 {port_of(site, POD)}")
    finally:
        lost = stream.stop()
    assert stream.sent > 0
    # One or two Open vSwitch itself may lose in user space, whenever any port comes or goes.
    assert lost <= 2


@pytest.mark.datapath
def test_the_loss_of_ovsdbs_file_costs_no_pod(site: LabNet) -> None:
    """All bridges are gone, as with an empty database; pods are found by their devices."""
    site.lab.stop_daemon(NODE)
    on_node(site, "ovs-vsctl del-br br0")
    site.lab.start_daemon(NODE)
    healthy(site)
    assert {"default/one", "default/limited"} == set(pods(site))


def test_doctor_names_what_is_gone_also_where_no_daemon_runs(site: LabNet) -> None:
    site.lab.stop_daemon(NODE)
    on_node(site, "ovs-vsctl del-port br0 vxlan0")
    on_node(site, "nft flush ruleset")
    found = differences(site)
    site.lab.start_daemon(NODE)
    assert any("port vxlan0: missing" in each for each in found)
    assert any("nftables table k8s-ovs: missing" in each for each in found)
    healthy(site)


def test_a_device_that_is_nobodys_is_told_and_the_node_goes_on(site: LabNet) -> None:
    # One of that name that says nothing of itself is an orphan.
    on_node(site, "ip link add nobodys type veth peer name stranger")
    on_node(site, "ip link set nobodys alias nobody")
    on_node(site, "ip link set nobodys name kovsstranger")
    try:
        await_that("it is told", lambda: "kovsstranger" in told(site), WITHIN)
        assert site.status(NODE)["ready"]
        assert any("kovsstranger" in each for each in differences(site))
    finally:
        on_node(site, "ip link del kovsstranger")
    await_that("it is forgotten", lambda: "kovsstranger" not in told(site), WITHIN)
    healthy(site)


def test_a_pod_whose_address_another_one_has_is_told_until_it_is_free(site: LabNet) -> None:
    """Its port is gone, and so is what the device says but for the address of its neighbour."""
    port = port_of(site, POD)
    shown = site.lab.exec(NODE, ["ip", "-j", "link", "show", "dev", port]).stdout
    own = json.loads(shown)[0]["ifalias"]
    taken = own.replace(str(site.address(POD)), str(site.address(LIMITED)))
    assert taken != own
    site.lab.stop_daemon(NODE)
    on_node(site, f"ovs-vsctl del-port br0 {port}")
    site.lab.exec(NODE, ["ip", "link", "set", port, "alias", taken])
    site.lab.start_daemon(NODE)
    await_that("it is told", lambda: "default/one is cut off" in told(site), WITHIN)
    assert site.status(NODE)["ready"]
    site.lab.exec(NODE, ["ip", "link", "set", port, "alias", own])
    healthy(site)
    await_that("it is forgotten", lambda: told(site) == "[]", WITHIN)


def told(site: LabNet) -> str:
    """The problems that the daemon tells."""
    return json.dumps(site.status(NODE)["problems"])


def test_a_network_of_the_machine_inside_ours_is_no_ready_node(site: LabNet) -> None:
    on_node(site, "ip link add docker0 type bridge")
    on_node(site, "ip addr add 172.11.4.1/24 dev docker0")
    try:
        await_that("it is told", lambda: "docker0" in site.status(NODE)["waiting_for"], WITHIN)
        assert not site.status(NODE)["ready"]
    finally:
        on_node(site, "ip link del docker0")
    healthy(site)


def test_a_pod_that_comes_and_goes_is_nothing_to_repair(site: LabNet) -> None:
    before = repairs(site)
    with site.attached(NODE, "passer", "default") as pod:
        assert pod.ip is not None
        assert site.pings(POD, pod.ip)
        assert differences(site) == []
    assert repairs(site) == before


def test_a_route_of_the_machine_past_tun0_is_told(site: LabNet) -> None:
    on_node(site, "ip link add docker0 type bridge")
    on_node(site, "ip link set docker0 up")
    on_node(site, f"ip route add {site.address(POD)}/32 dev docker0")
    try:
        await_that("it is told", lambda: "docker0 leads past tun0" in told(site), WITHIN)
        assert site.status(NODE)["ready"]
    finally:
        on_node(site, "ip link del docker0")
    await_that("it is forgotten", lambda: "docker0" not in told(site), WITHIN)


def test_a_pod_that_lost_its_address_is_told_until_it_has_it_again(site: LabNet) -> None:
    address = f"{site.address(POD)}/22"
    site.lab.exec(POD, ["ip", "addr", "flush", "dev", "eth0"])
    cut_off = "default/one is cut off"
    await_that("it is told", lambda: cut_off in told(site), WITHIN)
    assert site.status(NODE)["ready"]
    assert any("of pod default/one" in each for each in differences(site))
    for words in (
        ["ip", "addr", "add", address, "dev", "eth0"],
        ["ip", "route", "add", "default", "via", str(site.address("gateway1"))],
    ):
        site.lab.exec(POD, words)
    await_that("it is forgotten", lambda: cut_off not in told(site), WITHIN)
    healthy(site)


def put_right(site: LabNet, observer: Observer, command: str) -> None:
    """Do the harm, and wait until nothing of it is left, and it is told."""
    before = repairs(site)
    on_node(site, command)
    await_that(f"a repair of: {command}", lambda: repairs(site) > before, WITHIN)
    await_that(f"nothing differs after: {command}", lambda: observer.look() == [], WITHIN)
    for name in (POD, LIMITED):
        await_that("packets", partial(site.pings, name, site.address(PEER)), WITHIN)


def healthy(site: LabNet) -> None:
    """The comparison finds nothing, and packets go."""
    await_that("nothing differs", lambda: differences(site) == [], WITHIN)
    for name in (POD, LIMITED):
        await_that("packets", partial(site.pings, name, site.address(PEER)), WITHIN)


def differences(site: LabNet) -> list[str]:
    """What doctor finds wrong on the node."""
    said = site.lab.exec(NODE, ["k8s-ovs", "doctor", "-o", "json"], check=False).stdout
    # The lab has a plain etcd, which is no difference.
    wrong = [each for each in json.loads(said) if not each["ok"]]
    return [each["found"] for each in wrong if each["name"] != "etcd access"]


def repairs(site: LabNet) -> int:
    """How many repairs the daemon has told."""
    log = Path(site.lab.node(NODE).directory / "daemon.log").read_text()
    return log.count("repaired ")


def pods(site: LabNet) -> dict[str, Any]:
    said = site.lab.exec(NODE, ["k8s-ovs", "pod", "list", "-o", "json"]).stdout
    return {each["pod"]: each for each in json.loads(said)}


def port_of(site: LabNet, name: str) -> str:
    """A pod's port, as OVSDB has it."""
    which = f"external_ids:iface-id=default/{name}"
    found = ["ovs-vsctl", "--bare", "--columns=name", "find", "interface", which]
    return site.lab.exec(NODE, found).stdout.strip()


def datapath_of(site: LabNet) -> str:
    return site.lab.exec(
        NODE, ["ovs-vsctl", "get", "bridge", "br0", "datapath_type"]
    ).stdout.strip()


def on_node(site: LabNet, command: str) -> None:
    site.lab.exec(NODE, shlex.split(command))
