"""How much arrives within some seconds, of what a place sends as fast as it may?"""

from __future__ import annotations

import select
import socket
import threading
import time
from contextlib import closing, suppress

from k8s_ovs_testing.traffic.traffic import Server, socket_in

__all__ = ["flooded", "received"]

_SO_RCVBUFFORCE = 33  # asm-generic/socket.h
_RECEIVED_AT_ONCE = 1 << 22
_CHUNK = 1 << 16
_DATAGRAM = 1400
#: Seconds for which the first bytes are waited for.
_BEGIN = 10.0


def received(netns: str, server: Server, seconds: float) -> int:
    """Bits of a TCP stream that a server has read within so many seconds of its first ones.

    netns: path of the client's network namespace.
    """
    with (
        closing(_bound(server, socket.SOCK_STREAM)) as accepting,
        closing(socket_in(netns, socket.AF_INET, socket.SOCK_STREAM)) as sending,
    ):
        accepting.listen()
        sending.settimeout(_BEGIN)
        sending.connect((str(server.address), server.port))
        with closing(accepting.accept()[0]) as reading:
            return _heard(sending, reading, bytes(_CHUNK), seconds)


def flooded(netns: str, server: Server, seconds: float) -> int:
    """Bits of datagrams, without headers, that a server has read within so many seconds of its
    first one, of a client that sends without ever waiting."""
    with (
        closing(_bound(server, socket.SOCK_DGRAM)) as reading,
        closing(socket_in(netns, socket.AF_INET, socket.SOCK_DGRAM)) as sending,
    ):
        sending.connect((str(server.address), server.port))
        return _heard(sending, reading, bytes(_DATAGRAM), seconds)


def _bound(server: Server, kind: socket.SocketKind) -> socket.socket:
    channel = socket_in(server.netns, socket.AF_INET, kind)
    channel.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    channel.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVED_AT_ONCE)
    channel.bind((str(server.address), server.port))
    channel.settimeout(_BEGIN)
    return channel


def _heard(sending: socket.socket, reading: socket.socket, said: bytes, seconds: float) -> int:
    ending = threading.Event()
    sender = threading.Thread(target=_say, args=(sending, said, ending))
    sender.start()
    try:
        count, deadline = 0, time.monotonic() + _BEGIN
        while select.select([reading], (), (), max(0.0, deadline - time.monotonic()))[0]:
            size = len(reading.recv(_CHUNK))
            if not count:
                deadline = time.monotonic() + seconds
            count += size
        return count * 8
    finally:
        ending.set()
        sender.join()


def _say(sending: socket.socket, said: bytes, ending: threading.Event) -> None:
    sending.setblocking(False)
    while not ending.is_set():
        # What finds no room is said again.
        with suppress(OSError):
            select.select((), [sending], (), 0.1)
            sending.send(said)
