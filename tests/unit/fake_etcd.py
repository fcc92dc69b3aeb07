"""What commands ask, where a test says what etcd has and no Open vSwitch runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from attrs import frozen

from k8s_ovs.errors import Unavailable

__all__ = ["CONFIG", "FakeEtcd", "no_switch"]

PREFIX = "/k8s.ovs.com/ovs/network"
CONFIG = {
    "Name": "k8ssdn",
    "Network": "172.11.0.0/16",
    "HostSubnetLength": 10,
    "ServiceNetwork": "10.96.0.0/12",
    "PluginName": "k8s-ovs-multitenant",
}


@frozen
class Value:
    """What etcd has under a key."""

    key: str
    value: bytes
    mod_revision: int
    lease: int = 0


class FakeEtcd:
    """An etcd that has these records."""

    records: Mapping[str, bytes] = {}

    def __init__(self, _settings: Any) -> None:
        pass

    def check_space(self) -> None:
        """There is enough."""

    def list(self, prefix: str) -> tuple[dict[str, Value], int]:
        found = {
            f"{PREFIX}/{path}": Value(f"{PREFIX}/{path}", data, revision)
            for revision, (path, data) in enumerate(self.records.items(), start=1)
        }
        return {key: each for key, each in found.items() if key.startswith(prefix)}, len(found)

    def get(self, key: str) -> Value | None:
        return self.list(key)[0].get(key)

    def close(self) -> None:
        pass


@contextmanager
def no_switch(*_: Any) -> Iterator[None]:
    raise Unavailable("no Open vSwitch here")
    yield
