"""Two leaders at once, 2,000 namespaces meanwhile: no number, no subnet is given twice."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sized
from ipaddress import IPv4Address, IPv4Network
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field

from k8s_ovs.model.codec import encode
from k8s_ovs.observe.etcd.client import Etcd, Put
from k8s_ovs.observe.etcd.watch import PrefixWatch
from k8s_ovs.observe.watch_event import RecordChange, Snapshot, WatchEvent
from k8s_ovs_testing.servers.etcd import EtcdProcess
from k8s_ovs_testing.world import sample_config

MakeClient = Callable[..., Etcd]

PREFIX = "/two"
ALLOCATOR = Path(__file__).with_name("allocator_process.py")
NAMESPACES, NODES = 2000, 200
#: So often the leader is paused past its lease, while new namespaces and nodes come.
PAUSES = 3
TIMEOUT = 30.0
PAUSE_BEFORE_WRITING = signal.SIGUSR1


@define
class History:
    """All that etcd ever had below the prefix, change by change. Nothing is deleted but the
    election key.

    given: who has each number or subnet, by kind.
    """

    events: queue.SimpleQueue[WatchEvent] = field(factory=queue.SimpleQueue)
    given: dict[str, dict[Any, str]] = field(
        factory=lambda: {"netnamespaces": {}, "vnids": {}, "subnets": {}}
    )
    values: dict[tuple[str, str], Any] = field(factory=dict)
    leaders: list[str] = field(factory=list)

    def until(self, done: Callable[[], bool]) -> None:
        while not done():
            event = self.events.get(timeout=TIMEOUT)
            if isinstance(event, Snapshot):
                assert not self.leaders, "no gap in the history"
            elif isinstance(event, RecordChange) and event.entry is not None:
                self._note(event.key, json.loads(event.entry.value))

    def until_more(self, of: Sized) -> None:
        before = len(of)
        self.until(lambda: len(of) > before)

    def _note(self, path: str, found: Mapping[str, Any]) -> None:
        kind, _, key = path.partition("/")[2].partition("/")
        if kind == "allocator":
            self.leaders.append(found["holder"])
        numbers = {"netnamespaces": "NetID", "vnids": "VNID", "subnets": "Subnet"}
        if kind in numbers:
            number = found[numbers[kind]]
            assert self.given[kind].setdefault(number, key) == key, f"{path}: {number} given twice"
            assert self.values.setdefault((kind, key), number) == number, f"{path}: given anew"


@pytest.fixture
def history(own: EtcdProcess, client: MakeClient) -> Iterator[History]:
    history = History()
    watch = PrefixWatch(client(own.endpoint), f"{PREFIX}/", "history", history.events.put)
    watch.start()
    yield history
    watch.stop()


@pytest.fixture
def allocators(own: EtcdProcess, tmp_path: Path) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """By name; what they say is in a file of that name."""
    started: dict[str, subprocess.Popen[bytes]] = {}
    for name in ("one", "two"):
        with (tmp_path / name).open("wb") as log:
            command = [sys.executable, str(ALLOCATOR), own.endpoint, PREFIX, name]
            started[name] = subprocess.Popen(command, stdout=log, stderr=log)
    yield started
    for process in started.values():
        process.kill()
        process.wait(5)


def create(etcd: Etcd, resource: str, names: Mapping[str, object]) -> None:
    """Kubernetes' objects come."""
    puts = [
        Put(f"{PREFIX}-kube/{resource}/{name}", json.dumps(found).encode())
        for name, found in names.items()
    ]
    for first in range(0, len(puts), 100):
        etcd.txn((), puts[first : first + 100])


Object = tuple[str, Mapping[str, object]]


def names_of(make: Callable[[int], Object], count: int, parts: int, part: int) -> dict[str, Any]:
    """The objects of one part of so many, from the end."""
    return dict(
        make(number) for number in range(count) if number * parts // count == parts - 1 - part
    )


def namespace(number: int) -> Object:
    return f"ns{number:04}", {}


def node(number: int) -> Object:
    address = {"type": "InternalIP", "address": str(IPv4Address("10.0.0.1") + number)}
    return f"node{number:03}", {"status": {"addresses": [address]}}


def test_a_paused_allocator_that_goes_on_gives_nothing_that_another_one_gave(
    own: EtcdProcess,
    client: MakeClient,
    history: History,
    allocators: dict[str, subprocess.Popen[bytes]],
) -> None:
    etcd = client(own.endpoint)
    config = sample_config(plugin_name="k8s-ovs-multitenant", host_subnet_length=8)
    etcd.put(f"{PREFIX}/config", encode(config))
    parts = 2 * PAUSES + 1
    records = history.given["netnamespaces"]

    def come(part: int) -> None:
        # The last ones in order first: what is given to whom depends on who is there.
        create(etcd, "namespaces", names_of(namespace, NAMESPACES, parts, part))
        create(etcd, "nodes", names_of(node, NODES, parts, part))

    history.until(lambda: bool(history.leaders))
    for pause in range(PAUSES):
        is_leader = allocators[history.leaders[-1]]
        is_leader.send_signal(PAUSE_BEFORE_WRITING)
        come(2 * pause)
        assert os.waitid(os.P_PID, is_leader.pid, os.WSTOPPED) is not None
        come(2 * pause + 1)
        history.until_more(history.leaders)
        assert allocators[history.leaders[-1]] != is_leader
        history.until_more(records)
        is_leader.send_signal(signal.SIGCONT)
    come(2 * PAUSES)
    history.until(lambda: (len(records), len(history.given["subnets"])) == (NAMESPACES, NODES))
    assert len(history.given["vnids"]) == NAMESPACES
    subnets = sorted(map(IPv4Network, history.given["subnets"]))
    assert not any(one.overlaps(other) for one, other in pairwise(subnets))
    assert [each.poll() for each in allocators.values()] == [None, None], "both are alive"
