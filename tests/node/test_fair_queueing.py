"""Do connections wait apart from each other below a limit? Frames through a real device, however
its kernel does that."""

from __future__ import annotations

import json
import re
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from errno import ENOBUFS, ENODEV
from typing import Any

import pytest

from k8s_ovs.link.netlink import LinkError, open_route_socket
from k8s_ovs.link.shaping import fair_queueing as fair
from k8s_ovs.link.shaping.fair_queueing import QueueLimits
from k8s_ovs.link.shaping.token_bucket import Queue, ShapedDevice, queue_of, set_rate
from k8s_ovs.link.veth import index_of
from k8s_ovs_lab.process import await_that
from k8s_ovs_testing.traffic.frame import arp, ethernet, ipv4, ipv6, udp
from k8s_ovs_testing.traffic.traffic import Sniffer, send_frames, socket_in

MAC, OTHER_MAC = "02:00:00:00:00:01", "02:00:00:00:00:02"
LOCAL_NODE, THERE = "10.1.0.1", "10.1.0.2"
ICMP, UDP = 1, 17
SO_SNDBUFFORCE = 32  # asm-generic/socket.h
#: Of 1000 bytes each there are 1000 per second.
RATE = 8_000_000
#: One of them per second: what is sent waits.
HARDLY = 8_000


@pytest.fixture
def channel(node: Any) -> Iterator[socket.socket]:
    with closing(open_route_socket()) as channel:
        yield channel


@pytest.fixture
def device(
    node: Any, channel: socket.socket, missing: int, monkeypatch: pytest.MonkeyPatch
) -> ShapedDevice:
    """A device whose frames come to "other", and that says nothing by itself. missing: how many of
    the ways, best first, the kernel is taken not to have."""
    monkeypatch.setattr(fair, "_WAYS", fair._WAYS[missing:])
    node.run("sysctl -w net.ipv6.conf.default.disable_ipv6=1")
    node.run("ip link add one type veth peer name other")
    for name in ("one", "other"):
        node.run(f"ip link set {name} arp off up")
    return ShapedDevice(
        index_of(channel, "one"), "one", 1500, QueueLimits(connections=16, frames=100, others=10)
    )


def frame(payload: bytes) -> bytes:
    return ethernet(MAC, OTHER_MAC, payload)


def datagram(port: int, size: int = 1000) -> bytes:
    """A frame of so many bytes of the connection from `port`."""
    return frame(ipv4(LOCAL_NODE, THERE, udp(port, 53, bytes(size - 14 - 20 - 8))))


def source_ports(frames: list[bytes]) -> list[int]:
    return [int.from_bytes(each[34:36], "big") for each in frames]


def flood(netns: str, frames: list[bytes]) -> int:
    """Send them at once, by a socket that holds them all; how many were refused."""
    refused = 0
    with closing(socket_in(netns, socket.AF_PACKET, socket.SOCK_RAW)) as channel:
        channel.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, 1 << 24)
        for each in frames:
            try:
                channel.sendto(each, ("one", 0))
            except OSError as error:
                if error.errno != ENOBUFS:
                    raise
                refused += 1
    return refused


def packets_by_class(node: Any) -> dict[str, int]:
    """By the class's number below the discipline: how many packets it has sent, where it has."""
    shown = node.run("tc -statistics class show dev one")
    found = re.findall(r"^class htb 6b70:(\w+) .*\n Sent \d+ bytes (\d+) pkt", shown, re.M)
    return {number: int(packets) for number, packets in found if packets != "0"}


@pytest.mark.datapath
@pytest.mark.parametrize("missing", [0, 1], ids=["as the kernel can", "without fq"])
class TestConnections:
    def test_a_long_one_does_not_make_another_wait(
        self, node: Any, channel: socket.socket, device: ShapedDevice
    ) -> None:
        set_rate(channel, device, HARDLY)
        assert flood(node.path, [datagram(1000)] * 100 + [datagram(2001)]) == 0
        with Sniffer(node.path, "other") as sniffer:
            set_rate(channel, device, RATE)
            await_that("it comes", lambda: 2001 in source_ports(sniffer.frames()), 10)
            child = source_ports(sniffer.frames()).index(2001)
        # fq lets a connection send ten full frames, which are fifteen of these, before others.
        assert child < 30

    def test_one_that_sends_too_much_loses_nothing_but_its_own(
        self, node: Any, channel: socket.socket, device: ShapedDevice
    ) -> None:
        set_rate(channel, device, HARDLY)
        lost = flood(node.path, [datagram(1000)] * 300)
        # A hundred may wait, and some go at once.
        assert lost > 150
        assert flood(node.path, [datagram(2001)] * 20) == 0
        set_rate(channel, device, RATE)
        sent = 320 - lost
        all_of_them = Queue(RATE, 1000 * sent, sent, lost)
        await_that("all go", lambda: queue_of(channel, device.index) == all_of_them, 20)


@pytest.mark.datapath
@pytest.mark.parametrize("missing", [1], ids=["without fq"])
class TestClasses:
    def test_a_connection_has_one_of_them_and_many_have_all(
        self, node: Any, channel: socket.socket, device: ShapedDevice
    ) -> None:
        set_rate(channel, device, 100 * RATE)
        send_frames(node.path, "one", [datagram(1000, size=60)] * 50)
        first = Counter(packets_by_class(node))
        assert list(first.values()) == [50]
        # As a kernel chooses them: ports of connections to one address are even.
        ports = range(32768, 32768 + 2 * 320, 2)
        send_frames(node.path, "one", [datagram(port, size=60) for port in ports])
        found = Counter(packets_by_class(node)) - first
        # 20 each on average: none is empty, and none has far more than its share.
        assert (sum(found.values()), len(found)) == (320, 16)
        assert max(found.values()) <= 40

    def test_what_is_no_connection_has_the_first(
        self, node: Any, channel: socket.socket, device: ShapedDevice
    ) -> None:
        set_rate(channel, device, 100 * RATE)
        alien = ethernet(MAC, OTHER_MAC, ipv6("fd00::1", "fd00::2", udp(1, 2, b""), UDP))
        request = frame(arp(1, (MAC, LOCAL_NODE), (OTHER_MAC, THERE)))
        echo = frame(ipv4(LOCAL_NODE, THERE, bytes(8), ICMP))
        send_frames(node.path, "one", [alien, request, echo, bytes(14)])
        assert packets_by_class(node) == {"1": 4}

    def test_the_fragments_of_a_packet_have_the_same(
        self, node: Any, channel: socket.socket, device: ShapedDevice
    ) -> None:
        set_rate(channel, device, 100 * RATE)
        first, later = bytearray(datagram(1000)), bytearray(datagram(2001))
        first[20:22], later[20:22] = b"\x20\x00", b"\x00\x10"
        send_frames(node.path, "one", [bytes(first), bytes(later)])
        ((number, packets),) = packets_by_class(node).items()
        assert (packets, number != "1") == (2, True)

    def test_of_what_is_no_connection_less_may_wait(
        self, channel: socket.socket, device: ShapedDevice, node: Any
    ) -> None:
        set_rate(channel, device, HARDLY)
        echoes = [frame(ipv4(LOCAL_NODE, THERE, bytes(966), ICMP))] * 50
        # Some go at once.
        assert 30 < flood(node.path, echoes) <= 40

    def test_options_of_ip_do_not_hide_the_ports(
        self, node: Any, channel: socket.socket, device: ShapedDevice
    ) -> None:
        set_rate(channel, device, 100 * RATE)
        plain = datagram(1000, size=60)
        # A header of 24 bytes: four of "no operation".
        longer = plain[:14] + b"\x46" + plain[15:34] + b"\x01" * 4 + plain[34:]
        send_frames(node.path, "one", [plain, longer])
        assert list(packets_by_class(node).values()) == [2]

    def test_another_rate_leaves_them_and_what_waits(
        self, node: Any, channel: socket.socket, device: ShapedDevice
    ) -> None:
        set_rate(channel, device, HARDLY)
        flood(node.path, [datagram(1000)] * 50)
        set_rate(channel, device, RATE)
        await_that("all are sent", lambda: list(packets_by_class(node).values()) == [50], 10)

    def test_without_a_limit_nothing_of_them_is_left(
        self, node: Any, channel: socket.socket, device: ShapedDevice
    ) -> None:
        set_rate(channel, device, RATE)
        set_rate(channel, device, None)
        assert node.run("tc class show dev one") == ""
        assert node.run("tc filter show dev one") == ""


@pytest.mark.parametrize("missing", [2], ids=["without fq and classes"])
class TestOneQueue:
    def test_where_the_kernel_has_neither_it_is_short(
        self, node: Any, channel: socket.socket, device: ShapedDevice
    ) -> None:
        set_rate(channel, device, HARDLY)
        assert flood(node.path, [datagram(port) for port in range(1000, 1100)]) >= 20
        root, below = json.loads(node.run("tc -json -statistics qdisc show dev one"))
        assert (root["kind"], below["kind"]) == ("tbf", "bfifo")
        # 44 frames of 1514 bytes.
        assert 60_000 < below["backlog"] <= 44 * 1514

    def test_another_refusal_is_told(self, channel: socket.socket, device: ShapedDevice) -> None:
        child = fair.ChildQdisc(
            device.index + 1000, "gone", 0x99990001, device.limits, 1514, 66_616
        )
        with pytest.raises(LinkError, match=r"^cannot empty the queue of gone: ") as refused:
            fair.install_fair_queueing(channel, child)
        assert refused.value.errno == ENODEV
