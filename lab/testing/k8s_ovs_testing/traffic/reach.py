"""Who reaches whom: TCP connections of many clients to many targets, all tried at once.

A client that is let through hears the name of the server that took its connection.
"""

from __future__ import annotations

import secrets
import select
import socket
import struct
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from ipaddress import IPv4Address

from k8s_ovs.errors import TimedOut
from k8s_ovs_testing.traffic.traffic import Server, Target, socket_in

__all__ = ["Pair", "carries", "connected", "reached"]

#: (client, target), by name.
Pair = tuple[str, str]

# Seconds: how long what is awaited may take, and how long what is not awaited is listened for,
# which is longer than the first repetition of a SYN takes (RFC 6298 section 2).
_LIMIT = 20.0
_LISTEN_ON = 1.5


def reached(
    clients: Mapping[str, str],
    targets: Mapping[str, Target],
    servers: Mapping[str, Server],
    awaited: Collection[Pair],
) -> dict[Pair, str]:
    """Which server each client has got at each target, of those pairs that connected.

    clients: paths of network namespaces. servers: who listens. A client does not try the target
    that has its own name. awaited: pairs that are waited for; all others are listened for too.
    """
    found: dict[Pair, str] = {}
    with ExitStack() as stack:
        listening = {
            stack.enter_context(closing(_listening(server))): name
            for name, server in servers.items()
        }
        asking = {
            stack.enter_context(closing(_connecting(netns, target))): (client, name)
            for client, netns in clients.items()
            for name, target in targets.items()
            if client != name
        }
        deadline = time.monotonic() + _LIMIT
        while not found.keys() >= set(awaited) and time.monotonic() < deadline:
            _hear(listening, asking, found, stack)
        deadline = time.monotonic() + _LISTEN_ON
        while time.monotonic() < deadline:
            _hear(listening, asking, found, stack)
    return found


@contextmanager
def connected(
    client: str, target: Target, servers: Sequence[Server]
) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a TCP connection to a target that one of the servers is behind.

    client: path of a network namespace. Raises TimedOut where it does not come about.
    """
    with ExitStack() as stack:
        listening = [stack.enter_context(closing(_listening(server))) for server in servers]
        asking = stack.enter_context(closing(_connecting(client, target)))
        ready, _, _ = select.select(listening, (), (), _LIMIT)
        if not ready:
            raise TimedOut(f"{client} to {target[0]}:{target[1]}: no connection in {_LIMIT:g} s")
        yield asking, stack.enter_context(closing(ready[0].accept()[0]))


def carries(near: socket.socket, there: socket.socket) -> bool:
    """Whether what is said at one end of a connection is heard at the other, by the time that TCP
    has said it again."""
    said = secrets.token_bytes(16)
    near.sendall(said)
    ready, _, _ = select.select([there], (), (), _LISTEN_ON)
    return bool(ready) and there.recv(len(said)) == said


def _hear(
    listening: Mapping[socket.socket, str],
    asking: dict[socket.socket, Pair],
    found: dict[Pair, str],
    stack: ExitStack,
) -> None:
    """Take in what comes within a moment."""
    ready, _, _ = select.select([*listening, *asking], (), (), 0.1)
    for channel in ready:
        if channel in listening:
            taken = stack.enter_context(closing(channel.accept()[0]))
            taken.sendall(listening[channel].encode())
            continue
        pair = asking.pop(channel)
        try:
            found[pair] = channel.recv(1024).decode()
        except OSError:
            continue  # refused, or cut: not reached


def _connecting(netns: str, target: Target) -> socket.socket:
    channel = socket_in(netns, socket.AF_INET, socket.SOCK_STREAM)
    # It ends with a reset: connections in TIME_WAIT would hold its port.
    channel.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    channel.setblocking(False)
    channel.connect_ex((str(IPv4Address(target[0])), target[1]))
    return channel


def _listening(server: Server) -> socket.socket:
    channel = socket_in(server.netns, socket.AF_INET, socket.SOCK_STREAM)
    channel.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    channel.bind((str(server.address), server.port))
    channel.listen(64)
    return channel
