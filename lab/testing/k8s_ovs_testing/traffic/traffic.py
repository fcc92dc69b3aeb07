"""Packets for tests: sent, heard and answered in network namespaces, by the test's own process.

    web = Server("/run/netns/web", "172.11.4.2", 8080)
    heard = converse("tcp", "/run/netns/client", ("10.96.0.11", 80), {"web": web})
    assert heard == Heard("web", IPv4Address("172.11.0.2"))

A socket stays in the namespace in which it was opened, so client and servers need no programs.
"""

from __future__ import annotations

import hashlib
import secrets
import select
import socket
import struct
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack, closing
from ipaddress import IPv4Address

from attrs import frozen

from k8s_ovs.errors import TimedOut, Unavailable
from k8s_ovs.link.namespace import entered, opened
from k8s_ovs_testing.traffic.answers import Answers
from k8s_ovs_testing.traffic.frame import checksum

__all__ = [
    "Heard",
    "PingStream",
    "Server",
    "Sniffer",
    "Transfer",
    "converse",
    "send_frames",
    "socket_in",
    "transfer",
]

_ETH_P_ALL = 0x0003
_ECHO_REPLY, _ECHO_REQUEST = 0, 8
_SOL_PACKET, _PACKET_IGNORE_OUTGOING = 263, 23
_SO_RCVBUFFORCE, _SO_TIMESTAMPNS = 33, 35  # asm-generic/socket.h
# Seconds. A datagram may be lost (the userspace datapath drops those that wait for ARP of the
# underlay); who asks by UDP asks again.
_ASK_AGAIN = 0.5
_LIMIT = 20.0

Target = tuple[str | IPv4Address, int]


@frozen
class Server:
    """Who listens: the path of a network namespace, and an address and a port in it.

    The address is given because a datagram's answer leaves from it, not from any other address
    that the place may have, too.
    """

    netns: str
    address: str | IPv4Address
    port: int


@frozen
class Heard:
    """What a conversation came to: which server answered, and whom it saw as its client."""

    server: str
    client: IPv4Address


@frozen
class Transfer:
    """Bytes that crossed: SHA-256 of what was sent and of what came, and how long it took."""

    sent: str
    received: str
    seconds: float


def socket_in(netns: str, family: int, kind: int, protocol: int = 0) -> socket.socket:
    """A socket of the network namespace at this path."""
    with opened(netns) as handle, entered(handle):
        return socket.socket(family, kind, protocol)


def converse(protocol: str, client: str, target: Target, servers: Mapping[str, Server]) -> Heard:
    """One question and its answer, between sockets that are there for it alone.

    protocol: `tcp` or `udp`. client: path of a network namespace. Raises TimedOut where question
    or answer is not heard within 20 s, and Unavailable where the target refuses.
    """
    with ExitStack() as stack:
        listening = {
            stack.enter_context(closing(_listening(protocol, server))): name
            for name, server in servers.items()
        }
        kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
        asking = stack.enter_context(closing(socket_in(client, socket.AF_INET, kind)))
        asking.settimeout(_LIMIT)
        said = f"{protocol} from {client} to {target[0]}:{target[1]}"
        try:
            asking.connect((str(target[0]), target[1]))
            ask = _ask_stream if protocol == "tcp" else _ask_datagram
            server, peer = ask(asking, listening, said)
        except TimeoutError as error:
            raise TimedOut(f"{said}: not heard within {_LIMIT:g} s") from error
        except OSError as error:
            raise Unavailable(f"{said}: {error.strerror}") from error
    return Heard(server, IPv4Address(peer))


def transfer(client: str, target: Target, server: Server, size: int) -> Transfer:
    """Send so many bytes over TCP to a target that the server is behind.

    client: path of a network namespace. Raises Unavailable.
    """
    content = secrets.token_bytes(size)
    received = hashlib.sha256()
    with ExitStack() as stack:
        listening = stack.enter_context(closing(_listening("tcp", server)))
        sending = stack.enter_context(closing(_stream_in(client)))
        begin = time.monotonic()
        try:
            sending.connect((str(target[0]), target[1]))
            receiving = stack.enter_context(closing(listening.accept()[0]))
            receiving.settimeout(_LIMIT)
            sender = threading.Thread(target=_send_all, args=(sending, content))
            sender.start()
            while part := receiving.recv(1 << 16):
                received.update(part)
            sender.join(_LIMIT)
        except OSError as error:
            raise Unavailable(f"{client} to {target[0]}:{target[1]}: {error}") from error
        seconds = time.monotonic() - begin
    return Transfer(hashlib.sha256(content).hexdigest(), received.hexdigest(), seconds)


def send_frames(netns: str, device: str, frames: Collection[bytes]) -> None:
    """Send frames as they are, from a device of a namespace, past its IP stack."""
    with closing(socket_in(netns, socket.AF_PACKET, socket.SOCK_RAW)) as channel:
        for frame in frames:
            channel.sendto(frame, (device, 0))


class Sniffer:
    """Hears all frames that come in by a device of a namespace, from its making to `close`."""

    def __init__(self, netns: str, device: str) -> None:
        self._channel = socket_in(netns, socket.AF_PACKET, socket.SOCK_RAW)
        self._channel.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
        self._channel.bind((device, _ETH_P_ALL))
        self._channel.setblocking(False)
        self._frames: list[bytes] = []

    def __enter__(self) -> Sniffer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hear no more."""
        self._channel.close()

    def frames(self) -> list[bytes]:
        """What has been heard so far, oldest first."""
        while True:
            try:
                self._frames.append(self._channel.recv(1 << 16))
            except BlockingIOError:
                return self._frames

    def heard(self, token: bytes) -> bool:
        """Whether a frame with these bytes in it has come."""
        return any(token in frame for frame in self.frames())


class PingStream:
    """Echo requests at a steady rate from one place to another, until `stop`.

    netns: path of the client's network namespace. every: least seconds between two; those that the
    machine was too busy for are left out, since a burst of them would overflow some queue.
    """

    def __init__(self, netns: str, target: str | IPv4Address, every: float = 0.01) -> None:
        self._channel = socket_in(netns, socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        self._channel.connect((str(target), 0))
        self._channel.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 1 << 22)
        self._channel.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._every = every
        self._identity = secrets.token_bytes(2)
        self._answers = Answers()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    @property
    def sent(self) -> int:
        """How many have been sent so far."""
        return self._answers.sent

    @property
    def longest_gap(self) -> float:
        """Seconds between two answers at most, while one was waited for."""
        return self._answers.longest_gap

    def stop(self) -> int:
        """End, once the last ones are answered or 2 s are over; how many got no answer."""
        if self._ending.is_set():
            return self._answers.missing
        self._ending.set()
        self._thread.join()
        deadline = time.monotonic() + 2.0
        while self._answers.missing and time.monotonic() < deadline:
            self._hear(self._every)
        self._channel.close()
        return self._answers.missing

    def _beat(self) -> None:
        due = time.monotonic()
        while not self._ending.is_set():
            number = self._answers.ask(time.time())
            self._channel.send(_echo_request(self._identity, number))
            due = max(due + self._every, time.monotonic())
            # Also where the next one is due already: what has come must not fill the socket.
            while self._hear(max(due - time.monotonic(), 0)) and not self._ending.is_set():
                continue

    def _hear(self, seconds: float) -> bool:
        """Take one answer in; False: none came within so many seconds."""
        if not select.select([self._channel], (), (), seconds)[0]:
            return False
        packet, notes, _, _ = self._channel.recvmsg(2048, 64)
        icmp = packet[(packet[0] & 0x0F) * 4 :]
        if icmp[0] == _ECHO_REPLY and icmp[4:6] == self._identity:
            self._answers.answer(int.from_bytes(icmp[8:12], "big"), _came(notes))
        return True


def _came(notes: Sequence[tuple[int, int, bytes]]) -> float:
    """When the kernel got a packet (time.time()), however late it is read."""
    for level, kind, data in notes:
        if (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS):
            seconds, nanoseconds = struct.unpack("@ll", data)
            return float(seconds + nanoseconds / 1e9)
    return time.time()


def _echo_request(identity: bytes, number: int) -> bytes:
    """RFC 792. The number is in the data, since the sequence number has 16 bits only."""
    head = struct.pack("!BBH", _ECHO_REQUEST, 0, 0) + identity + struct.pack("!H", number & 0xFFFF)
    packet = head + struct.pack("!I", number)
    return packet[:2] + struct.pack("!H", checksum(packet)) + packet[4:]


def _listening(protocol: str, server: Server) -> socket.socket:
    where = (str(server.address), server.port)
    if protocol == "udp":
        channel = socket_in(server.netns, socket.AF_INET, socket.SOCK_DGRAM)
        channel.bind(where)
        return channel
    channel = _stream_in(server.netns)
    channel.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    channel.bind(where)
    channel.listen()
    return channel


def _stream_in(netns: str) -> socket.socket:
    channel = socket_in(netns, socket.AF_INET, socket.SOCK_STREAM)
    channel.settimeout(_LIMIT)
    return channel


def _ask_stream(
    asking: socket.socket, listening: Mapping[socket.socket, str], said: str
) -> tuple[str, str]:
    question = secrets.token_bytes(16)
    asking.sendall(question)
    ready, _, _ = select.select(list(listening), (), (), _LIMIT)
    if not ready:
        raise TimedOut(f"{said}: connected, but not to one of: {', '.join(listening.values())}")
    channel, peer = ready[0].accept()
    with closing(channel):
        channel.settimeout(_LIMIT)
        channel.sendall(channel.recv(len(question), socket.MSG_WAITALL)[::-1])
        _expect(asking.recv(len(question), socket.MSG_WAITALL), question, said)
    # The client ends with a reset: connections in TIME_WAIT would hold its port.
    asking.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return listening[ready[0]], peer[0]


def _ask_datagram(
    asking: socket.socket, listening: Mapping[socket.socket, str], said: str
) -> tuple[str, str]:
    question = secrets.token_bytes(16)
    deadline = time.monotonic() + _LIMIT
    while time.monotonic() < deadline:
        asking.send(question)
        ready, _, _ = select.select(list(listening), (), (), _ASK_AGAIN)
        for server in ready:
            heard, peer = server.recvfrom(2048)
            if heard != question:
                continue
            server.sendto(question[::-1], peer)
            asking.settimeout(_ASK_AGAIN)
            try:
                _expect(asking.recv(2048), question, said)
            except TimeoutError:
                continue
            return listening[server], peer[0]
    raise TimedOut(f"{said}: no answer within {_LIMIT:g} s")


def _expect(answer: bytes, question: bytes, said: str) -> None:
    if answer != question[::-1]:
        raise Unavailable(f"{said}: answered {answer!r}, expected {question[::-1]!r}")


def _send_all(channel: socket.socket, content: bytes) -> None:
    channel.sendall(content)
    channel.shutdown(socket.SHUT_WR)
