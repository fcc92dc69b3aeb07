"""Whatever somebody takes or changes of what is ours on a node is back within seconds, and told.

The heart of it is generated: any thing that the node has is picked, and harmed in some way.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from k8s_ovs_lab import Lab
from k8s_ovs_lab.lab_net import LabNet
from k8s_ovs_lab.process import await_that
from k8s_ovs_testing.traffic.traffic import PingStream

NODE, POD, LIMITED, PEER = "node1", "one", "limited", "two"
#: Seconds: all is looked at every 10.
WITHIN = 25.0

LIMIT = {"kubernetes.io/egress-bandwidth": "20M", "kubernetes.io/ingress-bandwidth": "30M"}

#: Ways to harm each thing that the node has; {port} and so on are filled in.
HARMS = {
    "bridge": ("ovs-vsctl del-br br0", "ovs-vsctl clear bridge br0 flow_tables"),
    "tunnel": (
        "ovs-vsctl del-port br0 vxlan0",
        "ovs-vsctl set interface vxlan0 options:dst_port=4790",
        "ovs-vsctl remove interface vxlan0 options local_ip",
    ),
    "tun0": (
        "ovs-vsctl del-port br0 tun0",
        "ip link set tun0 down",
        # Not its MTU: Open vSwitch itself sets that again at once.
        "ip addr flush dev tun0",
        "ip addr add 172.11.3.9/22 dev tun0",
        "ip route del 172.11.0.0/16 dev tun0",
        "ip route add 192.0.2.0/24 dev tun0",
        "sysctl -qw net.ipv4.conf.tun0.rp_filter=1",
        "sysctl -qw net.ipv4.ip_forward=0",
        "sysctl -qw net.ipv4.conf.all.send_redirects=1",
    ),
    "nftables": (
        "nft flush ruleset",
        "nft delete table inet k8s-ovs",
        "nft flush chain inet k8s-ovs leave",
        "nft insert rule inet k8s-ovs no_tunnel_in accept",
    ),
    "pod": (
        "ovs-vsctl del-port br0 {port}",
        "ovs-vsctl remove interface {port} external_ids k8s-ovs-ip",
        "ovs-vsctl set interface {port} external_ids:k8s-ovs-serial=77",
        "ip link set {port} down",
        "ip link set {port} alias nobody",
        "ip link del {port}",
    ),
    "rate limit": (
        "tc qdisc del dev {limited} root",
        "tc qdisc replace dev {limited} root tbf rate 1mbit burst 20k latency 50ms",
    ),
    "flows": (
        "ovs-ofctl del-flows br0",
        "ovs-ofctl del-flows br0 table=10",
        "ovs-ofctl mod-flows br0 actions=drop",
        "ovs-ofctl mod-flows br0 table=20,actions=drop",
        "ovs-ofctl add-flow br0 table=0,priority=65535,actions=drop",
        "ovs-ofctl -OOpenFlow15 del-meters br0",
    ),
}
harms = st.sampled_from([(kind, each) for kind, ways in HARMS.items() for each in ways])


@pytest.fixture(scope="module")
def site(lab_of: Callable[..., Lab]) -> LabNet:
    """Two nodes, with a pod and a limited one on the first."""
    lab = lab_of("drift", plugin="k8s-ovs-multitenant")
    for name, node, wanted in ((POD, NODE, {}), (LIMITED, NODE, LIMIT), (PEER, "node2", {})):
        lab.run_pod(node, name, annotations=wanted)
    net = LabNet(lab)
    await_that("packets", lambda: net.pings(POD, net.address(PEER)), WITHIN)
    return net


@settings(
    max_examples=8,
    phases=(Phase.reuse, Phase.generate),
    suppress_health_check=list(HealthCheck),
    database=None,
)
@given(harm=harms)
def test_what_somebody_harms_is_put_right_and_told(site: LabNet, harm: tuple[str, str]) -> None:
    put_right(site, harm[1])


@pytest.mark.parametrize(
    "command",
    [
        HARMS["bridge"][0],
        HARMS["tunnel"][0],
        HARMS["nftables"][0],
        HARMS["pod"][0],
        HARMS["pod"][5],
    ],
)
def test_of_each_kind_the_worst(site: LabNet, command: str) -> None:
    put_right(site, command)


def test_the_neighbours_of_a_pod_that_lost_its_port_lose_no_packet(site: LabNet) -> None:
    stream = PingStream(site.netns(LIMITED), site.address(PEER), 0.02)
    try:
        put_right(site, "ovs-vsctl del-port br0 {port}")
    finally:
        lost = stream.stop()
    assert stream.sent > 50
    assert lost == 0


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
    on_node(site, "ip link add kovsstranger type veth peer name stranger")
    on_node(site, "ip link set kovsstranger alias nobody")
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
    assert told(site) == "[]"


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


def put_right(site: LabNet, command: str) -> None:
    """Do the harm, and wait until nothing of it is left."""
    before = repairs(site)
    names = {"port": port_of(site, POD), "limited": port_of(site, LIMITED)}
    on_node(site, command.format(**names))
    await_that(f"a repair of: {command}", lambda: repairs(site) > before, WITHIN)
    healthy(site)


def healthy(site: LabNet) -> None:
    """The comparison finds nothing, and packets go."""
    await_that("nothing differs", lambda: differences(site) == [], WITHIN)
    for name in (POD, LIMITED):
        await_that("packets", partial(site.pings, name, site.address(PEER)), WITHIN)


def differences(site: LabNet) -> list[str]:
    """What doctor finds wrong on the node."""
    said = site.lab.exec(NODE, ["k8s-ovs", "doctor", "-o", "json"], check=False).stdout
    return [each["found"] for each in json.loads(said) if not each["ok"]]


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


def on_node(site: LabNet, command: str) -> None:
    site.lab.exec(NODE, command.split())
