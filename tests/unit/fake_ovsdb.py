"""An ovsdb-server of a test: a real greeting, and any answers behind it."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

__all__ = ["FakeOvsdb", "content", "sound_answers"]

#: Seconds for which the server's thread waits for its end.
_LOOK_EVERY = 0.05
_NO_TRANSACTION = str(UUID(int=0))

_COLUMNS = {"name": "string", "model": "string", "connected": "boolean", "leader": "boolean"}
#: Of the database _Server, in which the server tells of itself: ovsdb-server(5).
_SERVER = {
    "name": "_Server",
    "version": "1.2.0",
    "tables": {"Database": {"columns": {name: {"type": kind} for name, kind in _COLUMNS.items()}}},
}
_DATABASE = {"name": "Open_vSwitch", "model": "standalone", "connected": True, "leader": True}


def _id(number: int) -> list[str]:
    return ["uuid", str(UUID(int=number))]


def content(*ports: str, told_as: str = "initial") -> dict[str, Any]:
    """What ovsdb-server tells of a br0 with these ports; without one, there is no br0.

    told_as: the word of the answer that it is in (ovsdb-server(7); "new" in RFC 7047).
    """
    rows: dict[str, dict[str, Any]] = {
        "Port": {},
        "Interface": {},
        "Bridge": {},
        "QoS": {},
        "Flow_Table": {},
    }
    for number, name in enumerate(ports):
        port, interface = _id(100 + number), _id(200 + number)
        rows["Port"][port[1]] = {"name": name, "interfaces": interface, "qos": _id(4)}
        ids = ["map", [["k8s-ovs-pod", name]]]
        rows["Interface"][interface[1]] = {"name": name, "ofport": number, "external_ids": ids}
    root: dict[str, Any] = {"next_cfg": 1, "cur_cfg": 1, "ovs_version": "3.1.0"}
    if ports:
        root["bridges"] = _id(2)
        named = ["set", [_id(100 + number) for number in range(len(ports))]]
        tables = ["map", [[10, _id(5)]]]
        rows["QoS"] = {_id(4)[1]: {"type": "linux-noop"}}
        rows["Flow_Table"] = {_id(5)[1]: {"name": "POD_IN"}}
        rows["Bridge"][_id(2)[1]] = {"name": "br0", "ports": named, "flow_tables": tables}
    rows["Open_vSwitch"] = {_id(1)[1]: root}
    return {
        table: {row: {told_as: columns} for row, columns in found.items()}
        for table, found in rows.items()
    }


def sound_answers(*ports: str) -> dict[str, Any]:
    """What a real server answers, by method."""
    return {
        "get_schema": _SERVER,
        "monitor_cond": {"Database": {_id(9)[1]: {"initial": _DATABASE}}},
        "set_db_change_aware": {},
        "monitor_cond_since": [False, _NO_TRANSACTION, content(*ports)],
        "monitor": content(*ports, told_as="new"),
        "transact": [{}, {}, {}],
    }


class FakeOvsdb:
    """Listens at `path` while it is entered.

    answers: the result of each method; bytes are the whole answer. news: what follows the content
    unasked. Both may be changed; `hang_up` has the client come again.
    """

    def __init__(self, path: Path) -> None:
        self.answers: dict[str, Any] = {}
        self.news: list[Any] = []
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen()
        self._listener.settimeout(_LOOK_EVERY)
        self._client: socket.socket | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> FakeOvsdb:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.hang_up()
        self._thread.join()
        self._listener.close()

    def tell(self, *ports: str) -> None:
        """Be a sound server of this content from now on."""
        self.answers, self.news = sound_answers(*ports), []

    def hang_up(self) -> None:
        """End the connection that there is."""
        if self._client is not None:
            with suppress(OSError):
                self._client.shutdown(socket.SHUT_RDWR)

    def _serve(self) -> None:
        while not self._ended.is_set():
            with suppress(OSError):
                self._client, _ = self._listener.accept()
                with self._client:
                    self._talk(self._client)

    def _talk(self, client: socket.socket) -> None:
        client.settimeout(_LOOK_EVERY)
        asked = ""
        while not self._ended.is_set():
            with suppress(TimeoutError):
                piece = client.recv(1 << 16)
                if not piece:
                    return
                asked += piece.decode()
            while asked:
                try:
                    request, end = json.JSONDecoder().raw_decode(asked)
                except ValueError:
                    break
                asked = asked[end:]
                self._answer(client, request)

    def _answer(self, client: socket.socket, request: Mapping[str, Any]) -> None:
        method = request.get("method")
        if method is None:
            return  # an answer to what this server asked
        result = request["params"] if method == "echo" else self.answers.get(method)
        whole = isinstance(result, bytes)
        self._send(
            client, result if whole else {"id": request["id"], "error": None, "result": result}
        )
        for each in self.news if method == "monitor_cond_since" else ():
            self._send(client, each)

    def _send(self, client: socket.socket, message: Any) -> None:
        client.sendall(message if isinstance(message, bytes) else json.dumps(message).encode())
