"""What the CNI program sends and gets, and what the server hands on."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from queue import Queue
from typing import Any

from k8s_ovs.node.cni.protocol import CniRequest
from k8s_ovs.node.cni.server import Reply

__all__ = ["CONFIG", "LIMIT", "Client", "Handled", "request"]

LIMIT = 20.0
CONFIG = {"cniVersion": "1.1.0", "name": "k8s-ovs", "type": "k8s-ovs"}


def request(command: str = "ADD", container: str = "c1", config: Any = CONFIG) -> bytes:
    items = {
        "CNI_COMMAND": command,
        "CNI_CONTAINERID": container,
        "CNI_NETNS": "/run/netns/pod",
        "CNI_IFNAME": "eth0",
    }
    head = "\0".join(f"{key}={value}" for key, value in items.items())
    return head.encode() + b"\0\0" + json.dumps(config).encode()


class Client:
    """One connection, from the CNI program's side."""

    def __init__(self, path: Path, *parts: bytes, hang_up: bool = True) -> None:
        self._channel = socket.socket(socket.AF_UNIX)
        self._channel.settimeout(LIMIT)
        self._channel.connect(str(path))
        for part in parts:
            self._channel.sendall(part)
        if hang_up:
            self.hang_up()

    def hang_up(self) -> None:
        """No more is sent."""
        self._channel.shutdown(socket.SHUT_WR)

    def answer(self) -> tuple[int, Any]:
        reply = self.raw()
        return reply[0], json.loads(reply[1:]) if reply[1:] else None

    def raw(self) -> bytes:
        with self._channel:
            parts = []
            while part := self._channel.recv(65536):
                parts.append(part)
            return b"".join(parts)

    def close(self) -> None:
        self._channel.close()


class Handled:
    """Keeps what the server hands on, in order."""

    def __init__(self) -> None:
        self._queue: Queue[tuple[CniRequest, Reply]] = Queue()

    def __call__(self, asked: CniRequest, reply: Reply) -> None:
        self._queue.put((asked, reply))

    def next(self) -> tuple[CniRequest, Reply]:
        return self._queue.get(timeout=LIMIT)

    @property
    def empty(self) -> bool:
        return self._queue.empty()
