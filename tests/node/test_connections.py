"""Whose answer is it? One port of a pod speaks with a service and with the pod behind it.

Both connections are the same to the server: the same two addresses and ports. They come one after
the other, and at once; on one node, and across nodes.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from ipaddress import IPv4Address
from itertools import count

import pytest
from attrs import frozen

from k8s_ovs_lab.lab_net import SERVER_PORT, LabNet
from k8s_ovs_testing.traffic.traffic import socket_in

pytestmark = pytest.mark.datapath

CLIENT = "a"
#: The first packet to another node may wait for ARP of the underlay: less than this.
WITHIN = 5.0
SERVICE_PORT = 80
#: Who hears it ends the connection, and is the one that remembers it for a minute.
BYE = b"bye"
_ports = count(40001)

places = pytest.mark.parametrize("server", ["b", "c"], ids=["on one node", "across nodes"])
orders = pytest.mark.parametrize(
    "order", [("service", "pod"), ("pod", "service")], ids=["service first", "pod first"]
)


@frozen
class Target:
    """A server under both of its addresses."""

    service: tuple[str, int]
    pod: tuple[str, int]

    def __getitem__(self, name: str) -> tuple[str, int]:
        return {"service": self.service, "pod": self.pod}[name]


Serving = Callable[[str, str], AbstractContextManager[Target]]


@pytest.fixture(scope="module")
def service_of(world: LabNet) -> dict[tuple[str, str], IPv4Address]:
    """A service before each server, by TCP and by UDP."""
    return {
        (server, protocol): world.lab.service(
            f"before-{server}-{protocol}",
            SERVICE_PORT,
            [f"{server}:{SERVER_PORT}"],
            protocol=protocol,
        ).address
        for server in ("b", "c")
        for protocol in ("tcp", "udp")
    }


@pytest.fixture
def port() -> int:
    """A port of the client that no other test has used."""
    return next(_ports)


@pytest.fixture
def serving(world: LabNet, service_of: dict[tuple[str, str], IPv4Address]) -> Serving:
    """Meanwhile a server answers each message by a protocol with the same message."""
    return lambda server, protocol: _serving(
        world, server, protocol, (str(service_of[server, protocol]), SERVICE_PORT)
    )


@contextmanager
def _serving(
    world: LabNet, server: str, protocol: str, service: tuple[str, int]
) -> Iterator[Target]:
    address = str(world.address(server))
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    with ExitStack() as stack:
        listening = stack.enter_context(closing(socket_in(world.netns(server), 2, kind)))
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((address, SERVER_PORT))
        serve = _serve_streams if protocol == "tcp" else _serve_datagrams
        if protocol == "tcp":
            listening.listen()
        thread = threading.Thread(target=serve, args=(listening,), daemon=True)
        thread.start()
        try:
            yield Target(service, (address, SERVER_PORT))
        finally:
            _end(listening)
            thread.join(WITHIN)


def _end(listening: socket.socket) -> None:
    if listening.type == socket.SOCK_STREAM:
        listening.shutdown(socket.SHUT_RDWR)
    else:
        listening.sendto(b"", listening.getsockname())


def _serve_datagrams(listening: socket.socket) -> None:
    while True:
        said, client = listening.recvfrom(1 << 16)
        if not said:
            return
        listening.sendto(said, client)


def _serve_streams(listening: socket.socket) -> None:
    while True:
        try:
            connection = listening.accept()[0]
        except OSError:
            return
        threading.Thread(target=_echo, args=(connection,), daemon=True).start()


def _echo(connection: socket.socket) -> None:
    with closing(connection):
        try:
            while (said := connection.recv(1 << 16)) not in (b"", BYE):
                connection.sendall(said)
        except OSError:
            return


def connected(world: LabNet, port: int, target: tuple[str, int]) -> socket.socket:
    """A connection of the client from this port. Raises OSError."""
    channel = socket_in(world.netns(CLIENT), socket.AF_INET, socket.SOCK_STREAM)
    channel.settimeout(WITHIN)
    channel.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    channel.bind((str(world.address(CLIENT)), port))
    channel.connect(target)
    return channel


def asked(channel: socket.socket, said: bytes) -> bytes:
    """What comes back."""
    channel.sendall(said)
    return channel.recv(1 << 16)


class TestTcp:
    @places
    @orders
    def test_one_after_the_other(
        self,
        world: LabNet,
        serving: Serving,
        port: int,
        server: str,
        order: tuple[str, str],
    ) -> None:
        with serving(server, "tcp") as target:
            for name in order:
                with closing(connected(world, port, target[name])) as channel:
                    assert asked(channel, name.encode()) == name.encode()

    @places
    @orders
    def test_again_and_again(
        self,
        world: LabNet,
        serving: Serving,
        port: int,
        server: str,
        order: tuple[str, str],
    ) -> None:
        with serving(server, "tcp") as target:
            for name in order * 3:
                with closing(connected(world, port, target[name])) as channel:
                    assert asked(channel, name.encode()) == name.encode()
                    assert asked(channel, BYE) == b""

    @places
    @orders
    def test_both_at_once(
        self,
        world: LabNet,
        serving: Serving,
        port: int,
        server: str,
        order: tuple[str, str],
    ) -> None:
        first, second = order
        with serving(server, "tcp") as target, ExitStack() as stack:
            older = stack.enter_context(closing(connected(world, port, target[first])))
            assert asked(older, b"older") == b"older"
            newer = stack.enter_context(closing(connected(world, port, target[second])))
            for number in range(20):
                said = str(number).encode()
                assert asked(newer, b"newer" + said) == b"newer" + said
                assert asked(older, b"older" + said) == b"older" + said
            newer.close()
            assert asked(older, b"alone") == b"alone"

    @places
    def test_many_ports_at_once(self, world: LabNet, serving: Serving, server: str) -> None:
        ports = [next(_ports) for _ in range(20)]
        with serving(server, "tcp") as target, ExitStack() as stack:
            channels = {
                (port, name): stack.enter_context(closing(connected(world, port, target[name])))
                for port in ports
                for name in ("service", "pod")
            }
            for channel in channels.values():
                assert asked(channel, b"large" * 2000)[:5] == b"large"
            told = {place: f"{place}".encode() for place in channels}
            for place, channel in channels.items():
                _drain(channel)
                channel.sendall(told[place])
            assert {place: each.recv(1 << 16) for place, each in channels.items()} == told


def _drain(channel: socket.socket) -> None:
    """Hear what is still on its way of the large message."""
    channel.settimeout(0.2)
    try:
        while channel.recv(1 << 16):
            continue
    except TimeoutError:
        channel.settimeout(WITHIN)


@contextmanager
def asking(world: LabNet, port: int) -> Iterator[socket.socket]:
    """A UDP socket of the client, at this port."""
    with closing(socket_in(world.netns(CLIENT), socket.AF_INET, socket.SOCK_DGRAM)) as channel:
        channel.bind((str(world.address(CLIENT)), port))
        channel.settimeout(WITHIN)
        yield channel


class TestUdp:
    @places
    @pytest.mark.parametrize("size", [20, 8000], ids=["small", "in fragments"])
    def test_one_socket_asks_both(
        self,
        world: LabNet,
        serving: Serving,
        port: int,
        server: str,
        size: int,
    ) -> None:
        with serving(server, "udp") as target, asking(world, port) as channel:
            # The first one to another node may be lost: the underlay's ARP.
            assert world.pings(CLIENT, world.address(server))
            for number in range(5):
                for name in ("service", "pod"):
                    # Bytes that a wrong checksum would change without a trace.
                    said = f"{name}{number}".encode().ljust(size, b"\xff")
                    channel.sendto(said, target[name])
                    assert channel.recvfrom(1 << 16) == (said, target[name])

    @places
    def test_answers_that_come_late_are_told_apart(
        self,
        world: LabNet,
        serving: Serving,
        port: int,
        server: str,
    ) -> None:
        """All questions but the first are sent before one answer is read."""
        with serving(server, "udp") as target, asking(world, port) as channel:
            assert world.pings(CLIENT, world.address(server))
            for whom in (target.service, target.pod):
                channel.sendto(b"first", whom)
                assert channel.recvfrom(1 << 16) == (b"first", whom)
            asked = {
                (f"{name}{number}".encode(), target[name])
                for number in range(20)
                for name in ("service", "pod")
            }
            for said, whom in asked:
                channel.sendto(said, whom)
            assert {channel.recvfrom(1 << 16) for _ in asked} == asked
