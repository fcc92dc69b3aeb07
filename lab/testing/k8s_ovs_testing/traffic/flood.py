"""Datagrams at a steady rate, and when each of those that arrived was sent."""

from __future__ import annotations

import select
import socket
import struct
import threading
import time

from k8s_ovs_testing.traffic.traffic import Server, socket_in

__all__ = ["Flood"]


class Flood:
    """Datagrams from a place to a server, until `stop`, answered or not.

    netns: path of the client's network namespace. every: least seconds between two.
    """

    def __init__(self, netns: str, server: Server, every: float = 0.001) -> None:
        self._hearing = socket_in(server.netns, socket.AF_INET, socket.SOCK_DGRAM)
        self._hearing.bind((str(server.address), server.port))
        self._hearing.setblocking(False)
        self._saying = socket_in(netns, socket.AF_INET, socket.SOCK_DGRAM)
        self._target = (str(server.address), server.port)
        self._every = every
        self._arrived: list[float] = []
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __enter__(self) -> Flood:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def arrived(self) -> list[float]:
        """When each datagram that has arrived so far was sent (time.monotonic())."""
        return list(self._arrived)

    def stop(self) -> list[float]:
        """End; when each datagram that arrived was sent."""
        if not self._ending.is_set():
            self._ending.set()
            self._thread.join()
            self._hear(0.5)
            self._hearing.close()
            self._saying.close()
        return self._arrived

    def _run(self) -> None:
        due = time.monotonic()
        while not self._ending.is_set():
            self._saying.sendto(struct.pack("!d", time.monotonic()), self._target)
            due = max(due + self._every, time.monotonic())
            self._hear(max(due - time.monotonic(), 0))

    def _hear(self, seconds: float) -> None:
        """Take in what comes within so many seconds."""
        end = time.monotonic() + seconds
        while select.select([self._hearing], (), (), max(end - time.monotonic(), 0))[0]:
            self._arrived += struct.unpack("!d", self._hearing.recv(16))
