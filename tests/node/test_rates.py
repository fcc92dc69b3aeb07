"""Limits of a pod's pair of devices in real namespaces; iproute2 says what the kernel has."""

from __future__ import annotations

import json
import os
import select
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from ipaddress import IPv4Address, IPv4Interface
from typing import Any

import pytest
from attrs import evolve

from k8s_ovs.link.netlink import LinkError, open_route_socket
from k8s_ovs.link.shaping.fair_queueing import QueueLimits
from k8s_ovs.link.shaping.pod_rates import PodQueues, queues, rate_problems, set_rates
from k8s_ovs.link.shaping.token_bucket import Queue, ShapedDevice, queue_of, set_rate
from k8s_ovs.link.veth import PodLink, check, create, host_name_of, index_of
from k8s_ovs.model.pod import Rates
from k8s_ovs_testing.traffic.traffic import Server, Sniffer, send_frames, socket_in, transfer

PUMP_S = 20.0
LIMITS = Rates(to_pod=10_000_000, from_pod=20_000_000)
FRAME = bytes.fromhex("02000000000202000000000188b5") + bytes(986)


@pytest.fixture
def pod(new_netns: Callable[[str], Any], node: Any) -> Any:
    # After `node`: the test leaves the node's namespace before the pod's is deleted.
    return new_netns("pod")


@pytest.fixture
def link(pod: Any) -> PodLink:
    """A pod's interface as it is made, without limits."""
    link = PodLink(
        host_name=host_name_of(pod.path, "eth0"),
        netns=pod.path,
        ifname="eth0",
        mac="0a:58:ac:0b:04:02",
        address=IPv4Interface("172.11.4.2/22"),
        gateway=IPv4Address("172.11.4.1"),
        mtu=1450,
        routes=(),
    )
    create(link)
    return link


@pytest.fixture
def channel(node: Any) -> Iterator[socket.socket]:
    with closing(open_route_socket()) as channel:
        yield channel


@pytest.fixture
def device(node: Any, channel: socket.socket) -> ShapedDevice:
    """A device of the node's, whose frames go nowhere, and that says nothing by itself."""
    node.run("sysctl -w net.ipv6.conf.default.disable_ipv6=1")
    node.run("ip link add one type veth peer name other")
    node.run("ip link set one up")
    node.run("ip link set other up")
    return ShapedDevice(index_of(channel, "one"), "one", 1500, QueueLimits(16, 100, 100))


def disciplines(child: Any, name: str) -> list[dict[str, Any]]:
    """Queueing disciplines of a device, the root's first; rates in bytes per second."""
    shown = json.loads(child.run(f"tc -json -statistics qdisc show dev {name}"))
    return sorted(shown, key=lambda each: not each.get("root", False))


def kinds(child: Any, name: str) -> list[str]:
    return [each["kind"] for each in disciplines(child, name)]


def rate(child: Any, name: str) -> int:
    """Bits per second, as iproute2 reads them."""
    (root, *_) = disciplines(child, name)
    assert root["kind"] == "tbf"
    return int(root["options"]["rate"]) * 8


class TestDevice:
    @pytest.mark.parametrize(
        "wanted",
        [1_000, 1_500_000, 34_359_738_352, 34_359_738_368, 100_000_000_000, 10**15],
        ids=["1k", "1.5M", "the last of 32 bits", "the first of 64", "100G", "1P"],
    )
    def test_it_gets_a_rate_limit_and_reads_it_back(
        self, node: Any, channel: socket.socket, device: ShapedDevice, wanted: int
    ) -> None:
        assert set_rate(channel, device, wanted)
        assert queue_of(channel, device.index) == Queue(wanted)
        assert rate(node, "one") == wanted
        assert not set_rate(channel, device, wanted)

    def test_of_a_rate_that_is_no_whole_number_of_bytes_the_rest_is_no_change(
        self, channel: socket.socket, device: ShapedDevice
    ) -> None:
        set_rate(channel, device, 10_000_007)
        assert queue_of(channel, device.index) == Queue(10_000_000)
        assert not set_rate(channel, device, 10_000_001)

    def test_changed_it_is_the_same_queue_and_what_waits_in_it_stays(
        self, node: Any, channel: socket.socket, device: ShapedDevice
    ) -> None:
        set_rate(channel, device, 800)
        send_frames(node.path, "one", [FRAME] * 12)
        before = disciplines(node, "one")[0]
        assert before["qlen"] >= 8
        set_rate(channel, device, 1_600)
        after = disciplines(node, "one")[0]
        assert (rate(node, "one"), after["handle"]) == (1_600, before["handle"])
        # Of 1000 bytes, few can have left since then; a new queue would be empty.
        assert before["qlen"] >= after["qlen"] >= before["qlen"] // 2
        assert after["packets"] >= before["packets"] > 0

    def test_what_is_below_stays_when_the_rate_changes(
        self, node: Any, channel: socket.socket, device: ShapedDevice
    ) -> None:
        def below() -> list[tuple[str, str]]:
            return [(each["kind"], each["handle"]) for each in disciplines(node, "one")[1:]]

        set_rate(channel, device, 10_000_000)
        before = below()
        assert before[0][0] in ("fq", "htb", "pfifo")
        set_rate(channel, device, 20_000_000)
        assert below() == before

    def test_cleared_it_is_as_it_was_before(
        self, node: Any, channel: socket.socket, device: ShapedDevice
    ) -> None:
        before = disciplines(node, "one")
        assert [each["kind"] for each in before] == ["noqueue"]
        set_rate(channel, device, 10_000_000)
        assert set_rate(channel, device, None)
        assert kinds(node, "one") == ["noqueue"]
        assert queue_of(channel, device.index) is None
        assert not set_rate(channel, device, None)

    @pytest.mark.parametrize(
        "foreign",
        [
            "root htb",
            "root handle 1: htb",
            "root handle 8001: htb",
            "root pfifo limit 10",
            "root handle 2: tbf rate 1mbit burst 10k latency 50ms",
            "root handle 1: tbf rate 1mbit burst 10k latency 50ms",
        ],
    )
    def test_what_somebody_else_put_there_is_replaced(
        self, node: Any, channel: socket.socket, device: ShapedDevice, foreign: str
    ) -> None:
        node.run(f"tc qdisc add dev one {foreign}")
        assert set_rate(channel, device, 10_000_000)
        assert queue_of(channel, device.index) == Queue(10_000_000)

    def test_without_a_limit_what_somebody_else_put_there_stays(
        self, node: Any, channel: socket.socket, device: ShapedDevice
    ) -> None:
        node.run("tc qdisc add dev one root handle 1: htb")
        assert not set_rate(channel, device, None)
        assert kinds(node, "one") == ["htb"]

    def test_what_went_through_and_what_found_it_full_is_counted(
        self, node: Any, channel: socket.socket, device: ShapedDevice
    ) -> None:
        set_rate(channel, device, 8_000)
        send_frames(node.path, "one", [FRAME] * 2)
        queue = queue_of(channel, device.index)
        assert queue == Queue(8_000, sent_bytes=2_000, sent_packets=2)

    def test_a_device_that_is_not_there_is_named(
        self, channel: socket.socket, device: ShapedDevice
    ) -> None:
        gone = evolve(device, index=device.index + 1000, name="kovsgone")
        with pytest.raises(LinkError, match=rf"the queue of device {gone.index}: No such device"):
            set_rate(channel, gone, 10_000_000)


@pytest.mark.datapath
class TestTraffic:
    """What TCP sends through a device, from the node to a pod."""

    @pytest.fixture
    def device(self, node: Any, pod: Any, channel: socket.socket) -> ShapedDevice:
        node.run(f"ip link add one type veth peer name eth0 netns {pod.name}")
        for child, name, address in ((node, "one", "10.1.0.1"), (pod, "eth0", "10.1.0.2")):
            child.run(f"ip address add {address}/24 dev {name}")
            child.run(f"ip link set {name} up")
        return ShapedDevice(index_of(channel, "one"), "one", 1500, QueueLimits(16, 100, 100))

    @pytest.mark.parametrize("wanted", [20_000_000, None])
    def test_what_is_sent_in_long_segments_goes_frame_by_frame(
        self, node: Any, pod: Any, channel: socket.socket, device: ShapedDevice, wanted: int | None
    ) -> None:
        set_rate(channel, device, wanted)
        server = Server(pod.path, "10.1.0.2", 80)
        with Sniffer(pod.path, "eth0") as sniffer:
            transfer(node.path, ("10.1.0.2", 80), server, 90_000)
            longest = max(map(len, sniffer.frames()))
        assert (longest <= 1514) is (wanted is not None)

    @pytest.mark.parametrize(
        "rates",
        [
            (1_000_000_000, 10_000_000),
            (200_000_000, 2_000_000),
            (10_000_000, 1_000_000_000),
            (2_000_000, 200_000_000),
        ],
    )
    def test_it_goes_on_at_the_new_rate_when_the_limit_changes_meanwhile(
        self,
        node: Any,
        pod: Any,
        channel: socket.socket,
        device: ShapedDevice,
        rates: tuple[int, int],
    ) -> None:
        before, after = rates
        set_rate(channel, device, before)
        with stream(node.path, pod.path, "10.1.0.2") as ends:
            pump(*ends, before // 8 // 5)
            set_rate(channel, device, after)
            # More than the receiver may have already; of a faster one more than comes at the old
            # limit as long as a pump waits.
            pump(*ends, 500_000 if after < before else before // 8 * 2 * int(PUMP_S))


@contextmanager
def stream(
    sender: str, receiver: str, address: str
) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a TCP connection between two namespaces, by path; neither waits."""
    with ExitStack() as stack:
        listening, sending = (
            stack.enter_context(closing(socket_in(child, socket.AF_INET, socket.SOCK_STREAM)))
            for child in (receiver, sender)
        )
        listening.bind((address, 80))
        listening.listen()
        sending.settimeout(10)
        sending.connect((address, 80))
        receiving = stack.enter_context(closing(listening.accept()[0]))
        for end in (sending, receiving):
            end.setblocking(False)
        yield sending, receiving


def pump(sending: socket.socket, receiving: socket.socket, octets: int) -> None:
    """Send as fast as it goes until so many bytes have come."""
    deadline = time.monotonic() + PUMP_S
    while octets > 0:
        assert time.monotonic() < deadline, f"{octets} bytes have not come"
        readable, writable, _ = select.select([receiving], [sending], [], 0.1)
        if writable:
            sending.send(bytes(1 << 16))
        if readable:
            octets -= len(receiving.recv(1 << 20))


class TestPod:
    def test_both_directions_are_limited_each_at_its_own_end(
        self, node: Any, pod: Any, link: PodLink
    ) -> None:
        assert set_rates(link, LIMITS)
        assert (rate(node, link.host_name), rate(pod, "eth0")) == (10_000_000, 20_000_000)
        found = queues(link.host_name, link.netns, link.ifname)
        assert found == PodQueues(Queue(10_000_000), Queue(20_000_000))
        assert not set_rates(link, LIMITS)
        assert (check(link), rate_problems(link, LIMITS)) == ([], [])

    @pytest.mark.parametrize(
        ("rates", "found"),
        [
            (Rates(to_pod=1_000_000), ("tbf", "noqueue")),
            (Rates(from_pod=1_000_000), ("noqueue", "tbf")),
            (Rates(), ("noqueue", "noqueue")),
        ],
    )
    def test_a_direction_without_a_limit_has_no_queue(
        self, node: Any, pod: Any, link: PodLink, rates: Rates, found: tuple[str, str]
    ) -> None:
        set_rates(link, LIMITS)
        assert set_rates(link, rates)
        assert (kinds(node, link.host_name)[0], kinds(pod, "eth0")[0]) == found
        assert rate_problems(link, rates) == []

    def test_a_change_in_one_direction_leaves_the_other_alone(
        self, pod: Any, link: PodLink
    ) -> None:
        set_rates(link, LIMITS)
        before = disciplines(pod, "eth0")
        assert set_rates(link, evolve(LIMITS, to_pod=5_000_000))
        assert disciplines(pod, "eth0") == before

    def test_wrong_rate_limits_are_reported(self, node: Any, pod: Any, link: PodLink) -> None:
        set_rates(link, LIMITS)
        pod.run("tc qdisc del dev eth0 root")
        assert rate_problems(link, LIMITS) == ["eth0 has no rate limit, expected 20000000 bit/s"]
        set_rates(link, evolve(LIMITS, to_pod=5_000_000))
        assert rate_problems(link, LIMITS) == [
            f"{link.host_name} has a rate limit of 5000000 bit/s, expected 10000000 bit/s"
        ]
        assert rate_problems(link, Rates()) == [
            f"{link.host_name} has a rate limit of 5000000 bit/s, expected none",
            "eth0 has a rate limit of 20000000 bit/s, expected none",
        ]

    @pytest.mark.parametrize(
        "command",
        [
            "tc qdisc change dev eth0 root handle 6b6f: tbf rate 20mbit burst 3000 limit 66616",
            "tc qdisc replace dev eth0 root tbf rate 20mbit burst 40000 limit 66616",
            "tc qdisc del dev eth0 parent 6b6f:1",
            "tc qdisc replace dev eth0 parent 6b6f:1 pfifo limit 1",
            "tc qdisc del dev eth0 root",
            "tc qdisc replace dev eth0 root pfifo limit 10",
        ],
    )
    def test_queues_of_somebody_else_are_found_and_made_anew(
        self, pod: Any, link: PodLink, command: str
    ) -> None:
        set_rates(link, LIMITS)
        before = disciplines(pod, "eth0")
        pod.run(command)
        assert rate_problems(link, LIMITS) != []
        assert set_rates(link, LIMITS)
        assert rate_problems(link, LIMITS) == []
        assert kinds(pod, "eth0")[:2] == [each["kind"] for each in before][:2]

    def test_a_device_that_is_not_there_is_named(self, pod: Any, link: PodLink) -> None:
        with pytest.raises(LinkError, match="interface kovsgone: No such device"):
            set_rates(evolve(link, host_name="kovsgone"), LIMITS)
        pod.run("ip link delete eth0")
        for ask in (
            lambda: set_rates(link, LIMITS),
            lambda: queues(link.host_name, link.netns, "eth0"),
        ):
            with pytest.raises(LinkError, match=r"interface .*: No such device"):
                ask()
        (problem,) = rate_problems(link, LIMITS)
        assert "No such device" in problem

    def test_a_namespace_that_is_gone_is_named(self, node: Any, link: PodLink) -> None:
        gone = evolve(link, netns="/run/netns/kovst-gone")
        with pytest.raises(LinkError, match="/run/netns/kovst-gone: No such file"):
            set_rates(gone, LIMITS)
        (problem,) = rate_problems(gone, LIMITS)
        assert "/run/netns/kovst-gone" in problem

    def test_sockets_that_were_used_are_closed(self, pod: Any, link: PodLink) -> None:
        before = os.listdir("/proc/self/fd")
        set_rates(link, LIMITS)
        with pytest.raises(LinkError):
            set_rates(evolve(link, ifname="absent"), LIMITS)
        queues(link.host_name, link.netns, link.ifname)
        assert os.listdir("/proc/self/fd") == before
