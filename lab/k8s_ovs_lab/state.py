"""What the lab remembers on disk: what was asked for, and the pods and hosts that were made."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, TypeVar

from attrs import asdict, evolve, field, frozen

from k8s_ovs.errors import InvalidRecord, TimedOut
from k8s_ovs.model.json_text import parse_json
from k8s_ovs_lab.layout import LabNode, LabSettings, Layout

__all__ = [
    "LabPod",
    "LabState",
    "empty",
    "forget_host",
    "forget_pod",
    "hosts",
    "locked",
    "pods",
    "write_host",
    "write_pod",
]

T = TypeVar("T")

_STATE = "lab.json"
_PODS = "pods"
_HOSTS = "hosts"


@frozen
class LabState:
    """The lab's own record.

    datapath: what `auto` has become, system or netdev. complete: all of it was brought up;
    otherwise the lab stopped half way and must be cleaned up. added, removed: numbers of nodes that
    it has beside those that were asked for, and of those that it has no more.
    """

    settings: LabSettings
    datapath: str
    complete: bool = False
    added: tuple[int, ...] = ()
    removed: tuple[int, ...] = ()

    @property
    def numbers(self) -> tuple[int, ...]:
        """Of the nodes that it has now."""
        asked = set(range(1, self.settings.nodes + 1))
        return tuple(sorted((asked | set(self.added)) - set(self.removed)))

    def with_node(self, number: int) -> LabState:
        """The state with one more node."""
        removed = tuple(each for each in self.removed if each != number)
        return evolve(self, added=(*self.added, number), removed=removed)

    def without_node(self, number: int) -> LabState:
        """The state without a node."""
        added = tuple(each for each in self.added if each != number)
        return evolve(self, added=added, removed=(*self.removed, number))

    def write(self, directory: Path) -> None:
        """Put it on disk in one step."""
        _write(directory / _STATE, json.dumps(asdict(self), indent=2))

    @staticmethod
    def exists(directory: Path) -> bool:
        """Whether a lab's record is in the directory, of whatever kind."""
        return (directory / _STATE).exists()

    @classmethod
    def read(cls, directory: Path) -> LabState | None:
        """What is on disk, None if there is no lab. Raises InvalidRecord if it is invalid."""

        def state(record: Any) -> LabState:
            settings = LabSettings(**record["settings"])
            changes = (tuple(map(int, record.get(name, ()))) for name in ("added", "removed"))
            return cls(settings, record["datapath"], record["complete"], *changes)

        return _read(directory / _STATE, state)


@frozen
class LabPod:
    """A pod of the lab. ip is None until the CNI has given it one."""

    node: str
    namespace: str
    name: str
    uid: str
    container: str
    netns: str
    ip: IPv4Address | None = field(default=None)

    @property
    def title(self) -> str:
        """NAMESPACE/NAME."""
        return f"{self.namespace}/{self.name}"


def write_pod(layout: Layout, pod: LabPod) -> None:
    """Remember a pod."""
    path = _pod_file(layout, pod.namespace, pod.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    record = asdict(pod) | {"ip": None if pod.ip is None else str(pod.ip)}
    _write(path, json.dumps(record))


def pods(layout: Layout) -> dict[str, LabPod]:
    """All pods that are remembered, by NAMESPACE/NAME."""
    found = {}
    for path in sorted((layout.directory / _PODS).glob("*.json")):
        pod = _read(path, lambda record: LabPod(**record | {"ip": _address(record["ip"])}))
        if pod is not None:
            found[pod.title] = pod
    return found


def forget_pod(layout: Layout, pod: LabPod) -> None:
    """Forget a pod; nothing happens if it is not known."""
    _pod_file(layout, pod.namespace, pod.name).unlink(missing_ok=True)


def write_host(layout: Layout, host: LabNode) -> None:
    """Remember a host that is no node."""
    path = _host_file(layout, host.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(path, json.dumps({"name": host.name, "address": str(host.address)}))


def hosts(layout: Layout) -> tuple[LabNode, ...]:
    """All hosts that are remembered, by address."""

    def host(record: Any) -> LabNode:
        return layout.host(record["name"], IPv4Address(record["address"]))

    found = [_read(path, host) for path in (layout.directory / _HOSTS).glob("*.json")]
    return tuple(sorted(filter(None, found), key=lambda host: host.address))


def forget_host(layout: Layout, host: LabNode) -> None:
    """Forget a host; nothing happens if it is not known."""
    _host_file(layout, host.name).unlink(missing_ok=True)


def empty(directory: Path) -> None:
    """Remove all that the lab has on disk; a directory that is not a lab's stays as it is."""
    for path in directory.iterdir() if LabState.exists(directory) else ():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name != _STATE:
            path.unlink(missing_ok=True)
    # The last, so that what a crash leaves of this is still known to be a lab's.
    (directory / _STATE).unlink(missing_ok=True)


@contextmanager
def locked(directory: Path, seconds: float = 120.0) -> Iterator[None]:
    """Only one command at a time makes or removes the lab. Raises TimedOut."""
    deadline = time.monotonic() + seconds
    while True:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
        if _lock(handle, directory):
            break
        os.close(handle)
        if time.monotonic() > deadline:
            raise TimedOut(f"another command has held the lab in {directory} for {seconds:g} s")
        time.sleep(0.1)
    try:
        yield
    finally:
        os.close(handle)


def _lock(handle: int, directory: Path) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The previous owner may have removed the directory meanwhile.
        return directory.stat().st_ino == os.fstat(handle).st_ino
    except (BlockingIOError, FileNotFoundError):
        return False


def _pod_file(layout: Layout, namespace: str, name: str) -> Path:
    return layout.directory / _PODS / f"{namespace}.{name}.json"


def _host_file(layout: Layout, name: str) -> Path:
    return layout.directory / _HOSTS / f"{name}.json"


def _write(path: Path, text: str) -> None:
    beside = path.with_suffix(f".{os.getpid()}.new")
    beside.write_text(text + "\n")
    beside.replace(path)


def _read(path: Path, make: Callable[[Any], T]) -> T | None:
    """What is made of a file of ours; None: it is not there, or another command has just removed
    it. Raises InvalidRecord for a file that no lab has written."""
    try:
        return make(parse_json(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise InvalidRecord(
            f"{path}: {error!r} is not what a lab writes; `k8s-ovs lab down` removes it"
        ) from error


def _address(text: str | None) -> IPv4Address | None:
    return None if text is None else IPv4Address(text)
