"""How long does a short request take, on a connection that stays and on one of its own each?

The client is this very process, inside the pod's network namespace: nothing has to start.
"""

from __future__ import annotations

import re
import socket
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from limited import Place
from load import running

from k8s_ovs.errors import TimedOut, Unavailable
from k8s_ovs_lab.command import inside, run
from k8s_ovs_lab.process import await_that

__all__ = ["ECHO_PORT", "connections", "echo_server", "more_ports", "round_trips"]

ECHO_PORT = 5202
_PROGRAM = Path(__file__).with_name("echo_server.py")
#: Its port in /proc/net/tcp, in hex, and the state LISTEN.
_LISTENS = re.compile(rf":{ECHO_PORT:04X} \S+ 0A ")
_REQUEST = b"0123456789abcdef"
#: Seconds for one step of an exchange; a limit of the kernel's costs no call, as a limit of
#: Python's would.
_STEP_LIMIT_S = 10
_LIMIT = struct.pack("ll", _STEP_LIMIT_S, 0)


@contextmanager
def echo_server(place: Place) -> Iterator[None]:
    """Meanwhile a place says back what it hears at ECHO_PORT."""
    words = [sys.executable, "-I", "-S", str(_PROGRAM), str(ECHO_PORT)]
    with running(place, words) as server:
        seen = Path(f"/proc/{server.pid}/net/tcp")
        await_that("the echo server listens", lambda: bool(_LISTENS.search(seen.read_text())), 30)
        yield


def more_ports(netns: str) -> None:
    """Let clients of a namespace have twice as many ports: one is not free for a minute after."""
    run(["tee", "/proc/sys/net/ipv4/ip_local_port_range"], netns=netns, text="2048 65535\n")


def round_trips(netns: str, address: str, seconds: float) -> list[float]:
    """Milliseconds of each request and its answer, on one connection, one after the other.

    Raises Unavailable and TimedOut.
    """
    with _client(netns, address), _connected(address) as connection:
        times = []
        end = time.perf_counter() + seconds
        while (begin := time.perf_counter()) < end:
            _exchange(connection)
            times.append((time.perf_counter() - begin) * 1e3)
        return times


def connections(netns: str, address: str, seconds: float) -> float:
    """How many times a second, one after the other: connect, request, answer, close.

    Raises Unavailable and TimedOut.
    """
    with _client(netns, address):
        count = 0
        begin = now = time.perf_counter()
        while now < begin + seconds:
            with _connected(address) as connection:
                _exchange(connection)
            count += 1
            now = time.perf_counter()
        return count / (now - begin)


@contextmanager
def _client(netns: str, address: str) -> Iterator[None]:
    """Meanwhile this thread is in the namespace, and an error says who asked whom."""
    with inside(netns):
        said = f"{netns} asks {address} port {ECHO_PORT}"
        try:
            yield
        except BlockingIOError as error:
            raise TimedOut(f"{said}: no answer within {_STEP_LIMIT_S} s") from error
        except OSError as error:
            raise Unavailable(f"{said}: {error}") from error


def _connected(address: str) -> socket.socket:
    connection = socket.socket()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for option in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
        connection.setsockopt(socket.SOL_SOCKET, option, _LIMIT)
    try:
        connection.connect((address, ECHO_PORT))
    except OSError:
        connection.close()
        raise
    return connection


def _exchange(connection: socket.socket) -> None:
    connection.send(_REQUEST)
    if (said := connection.recv(len(_REQUEST))) != _REQUEST:
        raise ConnectionError(f"found the answer {said!r}, expected {_REQUEST!r}")
