"""What must not get through, tried with forged frames: each is seen to be dropped, and where.

Every claim has its opposite beside it: a frame of the same make that does get through, so that
a frame that was malformed cannot pass for one that was stopped.
"""

from __future__ import annotations

import re
import secrets
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from ipaddress import IPv4Address

import pytest

from k8s_ovs.model.pod import mac_of
from k8s_ovs.pipeline.tables import VIRTUAL_MAC
from k8s_ovs_lab import Endpoint, Service
from k8s_ovs_lab.kube.service import install, translation
from k8s_ovs_lab.lab_net import SERVER_PORT, LabNet
from k8s_ovs_lab.process import await_that
from k8s_ovs_testing.traffic.frame import (
    BROADCAST,
    arp,
    ethernet,
    fragments,
    ipv4,
    ipv6,
    tagged,
    udp,
    vxlan,
)
from k8s_ovs_testing.traffic.traffic import Sniffer, send_frames, socket_in

pytestmark = pytest.mark.datapath

VXLAN_PORT = 4789
TO_TUNNEL, TO_SERVER = 5789, 5790
COUNT = 20
WITHIN = 20.0

Forge = Callable[[LabNet, bytes], bytes]


def spoken(
    world: LabNet, source: str, target: IPv4Address | str, token: bytes, port: int = 9
) -> bytes:
    """What pod a says with the address of `source`, in a datagram, through its gateway."""
    packet = ipv4(world.address(source), target, udp(port, port, token))
    return ethernet(mac_of(world.address("a")), VIRTUAL_MAC, packet)


def other_mac(world: LabNet, token: bytes) -> bytes:
    packet = ipv4(world.address("a"), world.address("b"), udp(9, 9, token))
    return ethernet(mac_of(world.address("b")), VIRTUAL_MAC, packet)


def other_arp(world: LabNet, token: bytes) -> bytes:
    """Pod a says that b's address is at a's MAC."""
    a, b, c = (world.address(place) for place in "abc")
    return ethernet(mac_of(a), BROADCAST, arp(2, (mac_of(a), b), (mac_of(c), c)) + token)


def other_arp_mac(world: LabNet, token: bytes) -> bytes:
    """Pod a says that its address is at b's MAC."""
    a, b = world.address("a"), world.address("b")
    return ethernet(mac_of(a), BROADCAST, arp(2, (mac_of(b), a), (mac_of(b), b)) + token)


def router_advertisement(world: LabNet, token: bytes) -> bytes:
    packet = ipv6("fe80::1", "ff02::1", b"\x86" + bytes(15) + token, 58)
    return ethernet(mac_of(world.address("a")), "33:33:00:00:00:01", packet)


def neighbour(world: LabNet, token: bytes) -> bytes:
    """IPv6 by link-local addresses, right to b's MAC."""
    packet = ipv6("fe80::a", "fe80::b", udp(9, 9, token), 17)
    return ethernet(mac_of(world.address("a")), mac_of(world.address("b")), packet)


def tunnelled(world: LabNet, source: str, target: str, token: bytes) -> bytes:
    """VXLAN with one pod's words to another in it."""
    packet = ipv4(world.address(source), world.address(target), udp(9, 9, token))
    return vxlan(0, ethernet(VIRTUAL_MAC, VIRTUAL_MAC, packet))


def tunnel(target: str) -> Forge:
    """Pod a speaks VXLAN to a place, as if it were a node."""

    def forge(world: LabNet, token: bytes) -> bytes:
        said = tunnelled(world, "a", "c" if target == "node2" else "b", token)
        return spoken(world, "a", world.address(target), said, VXLAN_PORT)

    return forge


def virtual_mac(world: LabNet, token: bytes) -> bytes:
    packet = ipv4(world.address("a"), world.address("b"), udp(9, 9, token))
    return ethernet(VIRTUAL_MAC, mac_of(world.address("b")), packet)


def to_b(kind: int, tag: bytes) -> Forge:
    """To b's own MAC, with another EtherType."""

    def forge(world: LabNet, token: bytes) -> bytes:
        packet = ipv4(world.address("a"), world.address("b"), udp(9, 9, token))
        frame = ethernet(mac_of(world.address("a")), mac_of(world.address("b")), packet)
        return tagged(frame, kind, tag)

    return forge


def tunnel_with_options(world: LabNet, token: bytes) -> bytes:
    said = udp(VXLAN_PORT, VXLAN_PORT, tunnelled(world, "a", "b", token))
    packet = ipv4(world.address("a"), world.address("node1"), said, options=bytes([1, 1, 1, 0]))
    return ethernet(mac_of(world.address("a")), VIRTUAL_MAC, packet)


def tunnel_in_fragments(world: LabNet, token: bytes) -> bytes:
    """The first one: without it nobody can put the others together."""
    said = udp(VXLAN_PORT, VXLAN_PORT, tunnelled(world, "a", "b", token))
    first, _ = fragments(world.address("a"), world.address("node1"), said, 8, 1)
    return ethernet(mac_of(world.address("a")), VIRTUAL_MAC, first)


def tunnel_in_vlan(world: LabNet, token: bytes) -> bytes:
    """VLAN 0 is no VLAN, but a priority."""
    return tagged(tunnel("node1")(world, token), 0x8100, bytes(2) + b"\x08\x00")


FORGED: dict[str, tuple[str, Forge]] = {
    "another pod's address": ("POD_IN", lambda w, t: spoken(w, "b", w.address("c"), t)),
    "an address of another node": ("POD_IN", lambda w, t: spoken(w, "c", w.address("b"), t)),
    "the node's address": ("POD_IN", lambda w, t: spoken(w, "gateway1", w.address("b"), t)),
    "another pod's MAC": ("POD_IN", other_mac),
    "ARP for another's address": ("POD_IN", other_arp),
    "ARP with another's MAC": ("POD_IN", other_arp_mac),
    "an IPv6 router": ("CLASSIFY", router_advertisement),
    "an IPv6 neighbour": ("CLASSIFY", neighbour),
    "multicast": ("ROUTE", lambda w, t: spoken(w, "a", "224.0.0.251", t)),
    "broadcast": ("ROUTE", lambda w, t: spoken(w, "a", "255.255.255.255", t)),
    "VXLAN to its node": ("EXTERNAL", tunnel("node1")),
    "VXLAN to its gateway": ("EXTERNAL", tunnel("gateway1")),
    "VXLAN to the other node": ("EXTERNAL", tunnel("node2")),
    "VXLAN to the outside": ("EXTERNAL", tunnel("outside")),
    "VXLAN with IP options": ("EXTERNAL", tunnel_with_options),
    "VXLAN in fragments": ("EXTERNAL", tunnel_in_fragments),
    "VXLAN in a VLAN": ("EXTERNAL", tunnel_in_vlan),
    "the virtual MAC": ("POD_IN", virtual_mac),
    "two VLAN tags": ("POD_IN", to_b(0x88A8, b"\x00\x05\x81\x00\x00\x06\x08\x00")),
    "MPLS": ("POD_IN", to_b(0x8847, b"\x00\x01\x01\xff")),
    "an experimental EtherType": ("POD_IN", to_b(0x88B5, b"")),
    "loopback": ("ROUTE", lambda w, t: spoken(w, "a", "127.0.0.1", t)),
    "this host": ("ROUTE", lambda w, t: spoken(w, "a", "0.0.0.1", t)),
    "a reserved address": ("ROUTE", lambda w, t: spoken(w, "a", "240.0.0.1", t)),
}


@pytest.mark.parametrize(("table", "forge"), FORGED.values(), ids=FORGED)
def test_a_pod_that_forges_is_not_heard(world: LabNet, table: str, forge: Forge) -> None:
    token = secrets.token_bytes(16)
    before = dropped(world, "node1", table)
    with sniffers(world) as ears:
        send_frames(world.netns("a"), "eth0", [forge(world, token)] * COUNT)
        await_that(
            f"{COUNT} drops in {table}",
            lambda: dropped(world, "node1", table) >= before + COUNT,
            WITHIN,
        )
        assert [place for place, ear in ears.items() if ear.heard(token)] == []


@pytest.mark.parametrize("server", ["b", "c", "node1"])
def test_the_same_frame_without_a_lie_is_heard(world: LabNet, server: str) -> None:
    token = secrets.token_bytes(16)
    frame = spoken(world, "a", world.address(server), token)
    with sniffers(world) as ears:

        def said_and_heard() -> bool:
            # Again each time: the first may be dropped while the underlay's ARP is asked.
            send_frames(world.netns("a"), "eth0", [frame])
            return ears[server].heard(token)

        await_that(f"the frame at {server}", said_and_heard, WITHIN)


class TestTunnels:
    """Who is heard that sends VXLAN to a node."""

    def test_a_node_of_ours_is_heard(self, world: LabNet) -> None:
        token = secrets.token_bytes(16)
        with Sniffer(world.netns("a"), "eth0") as ear:

            def told_and_heard() -> bool:
                # Again each time: the first may be dropped while the underlay's ARP is asked.
                tell(world, "node2", (world.address("node1"), VXLAN_PORT), "a", token)
                return ear.heard(token)

            await_that("the inner packet", told_and_heard, WITHIN)

    @pytest.mark.parametrize("stranger", ["fabric", "outside"])
    def test_a_stranger_is_not(self, world: LabNet, stranger: str) -> None:
        token = secrets.token_bytes(16)
        before = dropped(world, "node1", "TUNNEL_IN")
        with Sniffer(world.netns("a"), "eth0") as ear:
            tell(world, stranger, (world.address("node1"), VXLAN_PORT), "a", token)
            await_that(
                "drops in TUNNEL_IN",
                lambda: dropped(world, "node1", "TUNNEL_IN") >= before + COUNT,
                WITHIN,
            )
            assert not ear.heard(token)

    def test_a_pod_is_not_even_through_a_service(self, world: LabNet) -> None:
        """The service's endpoint is the tunnels' port of node2; node1 would lend its address."""
        token = secrets.token_bytes(16)
        with (
            services_of_node2(world) as address,
            Sniffer(world.netns("node1"), "tun0") as leaving,
            Sniffer(world.netns("fabric"), "node1") as wire,
            Sniffer(world.netns("c"), "eth0") as ear,
        ):
            tell(world, "a", (address, TO_TUNNEL), "c", token)
            await_that("the datagrams at node1", lambda: leaving.heard(token), WITHIN)
            # By the same way to another port: what went before has arrived or never will.
            heard = world.ask("udp", "a", address, ["node2"], port=TO_SERVER)
            assert heard.client == world.address("node1")
            assert not wire.heard(token)
            assert not ear.heard(token)


def dropped(world: LabNet, node: str, table: str) -> int:
    """Packets that a table of a node's switch has dropped so far."""
    return sum(
        int(found[1])
        for line in world.flows(node, table)
        if line.endswith("actions=drop") and (found := re.search(r"n_packets=(\d+)", line))
    )


@contextmanager
def sniffers(world: LabNet) -> Iterator[dict[str, Sniffer]]:
    """Ears in the other pods, and behind the port of node1."""
    with ExitStack() as stack:
        ears = {place: (world.netns(place), "eth0") for place in ("b", "c", "d")}
        ears["node1"] = (world.netns("node1"), "tun0")
        yield {place: stack.enter_context(Sniffer(*where)) for place, where in ears.items()}


def tell(
    world: LabNet, place: str, target: tuple[IPv4Address, int], pod: str, token: bytes
) -> None:
    """Send VXLAN from a place's own IP stack, with words to a pod in it."""
    said = tunnelled(world, "b" if pod == "c" else "c", pod, token)
    with closing(socket_in(world.netns(place), socket.AF_INET, socket.SOCK_DGRAM)) as channel:
        for _ in range(COUNT):
            channel.sendto(said, (str(target[0]), target[1]))


@contextmanager
def services_of_node2(world: LabNet) -> Iterator[IPv4Address]:
    """An address that all nodes translate: port TO_TUNNEL to the tunnels' port of node2, port
    TO_SERVER to a server's."""
    address, node2 = IPv4Address("10.96.7.89"), world.address("node2")
    services = [
        Service("default", "node2", address, port, "udp", (Endpoint(node2, endpoint),))
        for port, endpoint in ((TO_TUNNEL, VXLAN_PORT), (TO_SERVER, SERVER_PORT))
    ]
    for node in world.lab.nodes:
        install(node.netns, translation("test-services", services, world.lab.network))
    yield address
    for node in world.lab.nodes:
        install(node.netns, "delete table ip test-services\n")
