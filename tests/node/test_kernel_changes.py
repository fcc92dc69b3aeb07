"""What the kernel tells of a change to something of ours, and that it tells nothing of others'."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from typing import Any

import pytest
from attrs import frozen

from k8s_ovs.link.changes import KernelChanges
from k8s_ovs.state.value import Address, Device, NftTable, Route, Sysctl, Veth

LIMIT = 10.0
OF_DEVICES = frozenset({Device.kind, Address.kind, Route.kind})


@frozen
class Site:
    """A node with tun0, a pod's device, somebody else's device, and who listens there."""

    node: Any
    heard: queue.Queue[frozenset[str]]

    def hear(self, kind: str) -> None:
        """Wait until something of this kind is told."""
        while kind not in self.heard.get(timeout=LIMIT):
            pass

    def quiet(self) -> None:
        """What is to come of earlier changes has come: the last change is told."""
        self.node.run("nft add chain inet k8s-ovs end")
        self.hear(NftTable.kind)
        assert self.heard.empty()


@pytest.fixture
def site(node: Any) -> Iterator[Site]:
    for command in (
        "ip link add tun0 type veth peer name tun0peer",
        "ip link add kovspod type veth peer name podpeer",
        "ip link add other0 type veth peer name other1",
        "ip addr add 172.11.4.1/22 dev tun0",
        "ip link set tun0 up",
        "ip link set other0 up",
        "ip link set kovspod up",
        "nft add table inet k8s-ovs",
        "nft add table inet other",
    ):
        node.run(command)
    heard: queue.Queue[frozenset[str]] = queue.Queue()
    changes = KernelChanges("tun0", heard.put)
    changes.start()
    made = Site(node, heard)
    # It hears nothing before its thread listens.
    while heard.empty():
        node.run("nft add chain inet k8s-ovs begin")
        node.run("nft delete chain inet k8s-ovs begin")
    made.hear(NftTable.kind)
    made.node.run("sleep 0.3")
    while not heard.empty():
        heard.get()
    yield made
    changes.stop()


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        ("ip link set tun0 down", Device.kind),
        ("ip link set tun0 mtu 1300", Device.kind),
        ("ip link del tun0", Device.kind),
        ("ip addr add 172.11.4.9/22 dev tun0", Address.kind),
        ("ip addr flush dev tun0", Address.kind),
        ("ip route add 192.0.2.0/24 dev tun0", Route.kind),
        ("ip route del 172.11.4.0/22 dev tun0", Route.kind),
        ("ip link set kovspod down", Veth.kind),
        ("ip link set kovspod alias nobody", Veth.kind),
        ("ip link del kovspod", Veth.kind),
        ("sysctl -w net.ipv4.conf.tun0.rp_filter=1", Sysctl.kind),
        ("sysctl -w net.ipv4.ip_forward=1", Sysctl.kind),
        ("nft delete table inet k8s-ovs", NftTable.kind),
        ("nft add rule inet k8s-ovs end accept", NftTable.kind),
        ("nft flush ruleset", NftTable.kind),
    ],
)
def test_a_change_of_ours_is_told(site: Site, command: str, kind: str) -> None:
    if " rule " in command:
        site.quiet()
    site.node.run(command)
    site.hear(kind)


@pytest.mark.parametrize(
    "command",
    [
        "ip link set other0 mtu 1300",
        "ip addr add 198.51.100.1/24 dev other0",
        "ip route add 192.0.2.0/24 dev other0",
        "nft add chain inet other theirs",
        "nft delete table inet other",
        "nft add table ip k8s-ovs-not",
    ],
)
def test_a_change_of_others_is_not(site: Site, command: str) -> None:
    site.node.run(command)
    site.quiet()


def test_it_stops_when_it_is_told_to(site: Site) -> None:
    changes = KernelChanges("tun0", site.heard.put)
    changes.start()
    changes.stop()
    assert site.heard.empty()
