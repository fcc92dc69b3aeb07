"""What a pod may forge to reach another tenant's: everything at once, and nothing is heard.

docs/security.md says what else was tried, and what is not protected.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from ipaddress import IPv4Address

import pytest
from attrs import frozen

from k8s_ovs.model.pod import mac_of
from k8s_ovs.pipeline.tables import VIRTUAL_MAC
from k8s_ovs_lab.lab_net import LabNet
from k8s_ovs_lab.process import await_that
from k8s_ovs_testing.traffic.frame import (
    BROADCAST,
    ethernet,
    fragments,
    ipv4,
    tagged,
    udp,
    vxlan,
)
from k8s_ovs_testing.traffic.traffic import Sniffer, send_frames

WITHIN = 20.0
PLACES = ("node1", "node2", "gateway1", "gateway2")
#: UDP ports of tunnels: VXLAN, Geneve, VXLAN-GPE, and VXLAN as Linux first had it.
TUNNELS = (4789, 6081, 4790, 8472)
IP_IN_IP, GRE = 4, 47
#: RFC 791: loose source route with one stop.
SOURCE_ROUTE = bytes([131, 7, 4])


@frozen
class Attack:
    """A pod that wants to be heard by another one, by frames of its own making."""

    world: LabNet
    source: IPv4Address
    target: IPv4Address

    def frame(self, packet: bytes, target: str = VIRTUAL_MAC) -> bytes:
        return ethernet(mac_of(self.source), target, packet)

    def said(self, token: bytes, source: str | IPv4Address = "") -> bytes:
        return ipv4(source or self.source, self.target, udp(9, 9, token))

    def frames(self) -> Iterator[tuple[str, Callable[[bytes], list[bytes]]]]:
        """(name, frames that hold a token)."""
        yield "plain", lambda t: [self.frame(self.said(t))]
        for to in (mac_of(self.target), BROADCAST):
            yield f"to {to}", lambda t, to=to: [self.frame(self.said(t), to)]
        for vlan in (b"\x00\x00", b"\x00\x05"):
            yield (
                f"VLAN {vlan.hex()}",
                lambda t, vlan=vlan: [tagged(self.frame(self.said(t)), 0x8100, vlan + b"\x08\x00")],
            )
        for source in ("8.8.8.8", "10.96.0.11", self.world.address("gateway1")):
            yield f"from {source}", lambda t, s=source: [self.frame(self.said(t, s))]
        yield "in fragments", lambda t: self.fragmented(self.target, udp(9, 9, bytes(1300) + t))
        for place in PLACES:
            yield from self.by(self.world.address(place))

    def by(self, stop: IPv4Address) -> Iterator[tuple[str, Callable[[bytes], list[bytes]]]]:
        """By an address of a node, which might pass it on."""
        route = SOURCE_ROUTE + self.target.packed + b"\x00"
        yield (
            f"source route by {stop}",
            lambda t: [self.frame(ipv4(self.source, stop, udp(9, 9, t), options=route))],
        )
        for port in TUNNELS:
            yield (
                f"tunnel {port} to {stop}",
                lambda t, port=port: [
                    self.frame(ipv4(self.source, stop, udp(port, port, self.tunnelled(t))))
                ],
            )
        yield (
            f"tunnel in fragments to {stop}",
            lambda t: self.fragmented(stop, udp(4789, 4789, self.tunnelled(bytes(1300) + t))),
        )
        for protocol, head in ((IP_IN_IP, b""), (GRE, b"\x00\x00\x08\x00")):
            yield (
                f"protocol {protocol} to {stop}",
                lambda t, protocol=protocol, head=head: [
                    self.frame(ipv4(self.source, stop, head + self.said(t, "8.8.8.8"), protocol))
                ],
            )

    def tunnelled(self, token: bytes) -> bytes:
        """With the number of the global tenant, which every pod hears."""
        return vxlan(0, ethernet(VIRTUAL_MAC, VIRTUAL_MAC, self.said(token)))

    def fragmented(self, to: IPv4Address, datagram: bytes) -> list[bytes]:
        parts = fragments(self.source, to, datagram, 1208, secrets.randbelow(1 << 16))
        return [self.frame(part) for part in parts]


@pytest.mark.usefixtures("tenants")
def test_no_frame_of_a_tenant_reaches_another(tenant_world: LabNet) -> None:
    world = tenant_world
    netns, source = world.netns("red/one"), world.address("red/one")
    friend = Attack(world, source, world.address("red/two"))
    with ExitStack() as stack:
        ears = {
            pod: stack.enter_context(Sniffer(world.netns(pod), "eth0"))
            for pod in ("green/one", "green/two", "red/two")
        }
        tokens: dict[str, bytes] = {}
        for pod in ("green/one", "green/two"):
            for name, make in Attack(world, source, world.address(pod)).frames():
                tokens[f"{pod}: {name}"] = token = secrets.token_bytes(16)
                send_frames(netns, "eth0", make(token) * 2)
        for name in ("plain", "VLAN 0005", "in fragments"):
            token, make = secrets.token_bytes(16), dict(friend.frames())[name]

            def told_and_heard(token: bytes = token, make=make) -> bool:  # type: ignore[no-untyped-def] # of the loop
                send_frames(netns, "eth0", make(token))
                return ears["red/two"].heard(token)

            await_that(f"the same frame at a friend: {name}", told_and_heard, WITHIN)
        heard = [n for n, t in tokens.items() if any(ear.heard(t) for ear in ears.values())]
    assert heard == []
