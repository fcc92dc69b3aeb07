"""How does the benchmark write to etcd and read from it, quickly and from inside a lab's fabric?

By etcd's JSON gateway: a plain connection belongs to the namespace in which it is opened.
"""

from __future__ import annotations

import base64
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from http.client import HTTPConnection
from typing import Any

from k8s_ovs.errors import K8sOvsError
from k8s_ovs_lab.command import inside

__all__ = ["Gateway", "samples"]

#: etcd takes 128 operations per transaction.
_AT_ONCE = 100
_RECEIVED = "grpc_server_msg_received_total"
_SAMPLE = re.compile(r"^(\w+)(?:\{([^}]*)\})? (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')


class Gateway:
    """One etcd. host, port: where it listens. prefix: before each path, with its slash. netns: the
    namespace in which it is reached, None: our own. calls: how many were made here, by name."""

    def __init__(self, host: str, port: int, prefix: str, netns: str | None = None) -> None:
        self.calls = Counter[str]()
        self._prefix = prefix
        self._connection = HTTPConnection(host, port, timeout=30)
        with inside(netns) if netns else nullcontext():
            self._connection.connect()

    def write(self, records: Mapping[str, bytes | None]) -> int:
        """Put records, delete those that are None, many in one transaction; etcd's revision."""
        revision = 0
        items = list(records.items())
        for at in range(0, len(items), _AT_ONCE):
            steps = [self._step(path, value) for path, value in items[at : at + _AT_ONCE]]
            revision = int(self._post("Txn", {"success": steps})["header"]["revision"])
        return revision

    def read(self, path: str) -> tuple[Any, int] | None:
        """A record as JSON, and the revision of its last write; None: there is none."""
        found = self._post("Range", {"key": self._key(path)}).get("kvs")
        if not found:
            return None
        return json.loads(base64.b64decode(found[0]["value"])), int(found[0]["mod_revision"])

    def count(self, folder: str) -> int:
        """How many keys there are below a path."""
        found = self._post("Range", {**self._range(folder), "count_only": True})
        return int(found.get("count", 0))

    def clear(self, folder: str) -> None:
        """Delete all keys below a path."""
        self._post("DeleteRange", self._range(folder))

    @property
    def port(self) -> int:
        """Our end of the connection."""
        return int(self._connection.sock.getsockname()[1])

    def received(self) -> dict[str, float]:
        """How many messages etcd has got from others, by gRPC's method."""
        found = _total(self.metrics(), _RECEIVED, "grpc_method")
        return {call: count - self.calls[call] for call, count in found.items()}

    def metrics(self) -> Iterator[tuple[str, dict[str, str], float]]:
        """What etcd tells Prometheus."""
        self._connection.request("GET", "/metrics")
        return samples(self._connection.getresponse().read().decode())

    def _step(self, path: str, value: bytes | None) -> dict[str, Any]:
        if value is None:
            return {"request_delete_range": {"key": self._key(path)}}
        text = base64.b64encode(value).decode()
        return {"request_put": {"key": self._key(path), "value": text}}

    def _key(self, path: str) -> str:
        return base64.b64encode((self._prefix + path).encode()).decode()

    def _range(self, folder: str) -> dict[str, str]:
        return {"key": self._key(folder), "range_end": self._key(f"{folder[:-1]}0")}

    def _post(self, call: str, body: Mapping[str, Any]) -> Any:
        self.calls[call] += 1
        self._connection.request("POST", f"/v3/kv/{call.lower()}", json.dumps(body))
        response = self._connection.getresponse()
        text = response.read()
        if response.status != 200:
            raise K8sOvsError(f"etcd's gateway: {call}: found {response.status} {text[:300]!r}")
        return json.loads(text)


def samples(text: str) -> Iterator[tuple[str, dict[str, str], float]]:
    """Name, labels and value of each line of a page for Prometheus."""
    for name, labels, value in _SAMPLE.findall(text):
        yield name, dict(_LABEL.findall(labels)), float(value)


def _total(
    found: Iterable[tuple[str, dict[str, str], float]], name: str, by: str
) -> dict[str, float]:
    """The sums of one name, by one of its labels."""
    sums: dict[str, float] = {}
    for each, labels, value in found:
        if each == name:
            which = labels.get(by, "")
            sums[which] = sums.get(which, 0.0) + value
    return sums
