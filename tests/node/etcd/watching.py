"""How a test follows what a watch of etcd says."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

import pytest

from k8s_ovs.observe.etcd.client import Etcd
from k8s_ovs.observe.watch_event import RecordChange, Snapshot, SourceState, WatchEvent
from k8s_ovs_testing.servers.etcd import EtcdProcess

__all__ = [
    "Events",
    "MakeClient",
    "MakeWatch",
    "back",
    "change_of",
    "changes",
    "counted",
    "etcd_port",
    "last_keys",
    "lost",
    "named_by",
    "until",
]

MakeClient = Callable[..., Etcd]
Events = queue.SimpleQueue[WatchEvent]
MakeWatch = Callable[..., Events]


def until(
    events: Events, wanted: Callable[[WatchEvent], bool], timeout: float = 15
) -> list[WatchEvent]:
    """All events up to the first wanted one."""
    deadline, seen = time.monotonic() + timeout, list[WatchEvent]()
    while not (seen and wanted(seen[-1])):
        try:
            seen.append(events.get(timeout=max(0.01, deadline - time.monotonic())))
        except queue.Empty:
            pytest.fail(f"the wanted event did not come in {timeout} s, but {seen}")
    return seen


def lost(event: WatchEvent) -> bool:
    return isinstance(event, SourceState) and not event.connected


def back(event: WatchEvent) -> bool:
    return isinstance(event, SourceState) and event.connected


def last_keys(seen: list[WatchEvent]) -> list[str]:
    return sorted([event for event in seen if isinstance(event, Snapshot)][-1].entries)


def change_of(key: str) -> Callable[[WatchEvent], bool]:
    return lambda event: isinstance(event, RecordChange) and event.key == key


def counted(etcd: Etcd) -> Callable[[], int]:
    """How often the client has listed a prefix since."""
    count, list_prefix = 0, etcd.list

    def list_and_count(prefix: str, left_out: Iterable[str] = ()) -> Any:
        nonlocal count
        count += 1
        return list_prefix(prefix, left_out)

    etcd.list = list_and_count  # type: ignore[method-assign]  # this client's alone
    return lambda: count


def changes(seen: list[WatchEvent]) -> list[tuple[str, bytes | None]]:
    """Key and value of each change, None: deleted."""
    return [
        (event.key, event.entry.value if event.entry else None)
        for event in seen
        if isinstance(event, RecordChange)
    ]


def etcd_port(process: EtcdProcess) -> int:
    port = urlsplit(process.endpoint).port
    assert port is not None
    return port


def named_by(value: bytes | None) -> tuple[str, ...] | None:
    """`a` leaves out a/noise/ and a/status/; `?` says nothing."""
    if value == b"?":
        return None
    return () if value is None else (f"{value.decode()}/noise/", f"{value.decode()}/status/")
