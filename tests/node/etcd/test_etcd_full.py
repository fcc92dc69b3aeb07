"""An etcd whose database is full answers, and refuses writes: it is said so, once, with advice."""

from __future__ import annotations

import contextlib
import queue
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from structlog.testing import capture_logs

from k8s_ovs.allocate.election import LeaderElection
from k8s_ovs.errors import K8sOvsError
from k8s_ovs.node.tell.status_publisher import StatusPublisher
from k8s_ovs.observe.etcd.client import Etcd, EtcdFull
from k8s_ovs_testing.node_state import sample_state
from k8s_ovs_testing.servers.etcd import EtcdProcess

MakeClient = Callable[..., Etcd]
WITHIN = 20.0


@pytest.fixture
def full(tmp_path: Path) -> Iterator[EtcdProcess]:
    """An etcd that has no space left."""
    with EtcdProcess(tmp_path / "etcd", quota=1 << 20) as process:
        fill(process)
        yield process


def fill(process: EtcdProcess) -> None:
    while "NOSPACE" not in process.ctl("alarm", "list"):
        with contextlib.suppress(K8sOvsError):  # the last one is refused
            process.ctl("put", "/fill", "x" * 100_000)


def make_room(process: EtcdProcess) -> None:
    """As the advice says."""
    found = re.search(r'"revision":(\d+)', process.ctl("get", "/none", "-w", "json"))
    assert found is not None
    process.ctl("compact", found[1])
    process.ctl("defrag")
    process.ctl("alarm", "disarm")


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + WITHIN
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_write_that_is_refused_is_not_said_to_be_unanswered(
    full: EtcdProcess, client: MakeClient
) -> None:
    etcd = client(full.endpoint)
    for write in (lambda: etcd.put("/a", b"1"), lambda: etcd.lease(10), etcd.check_space):
        with pytest.raises(EtcdFull) as caught:
            write()
        text = str(caught.value)
        assert full.endpoint in text
        assert "did not answer" not in text
        for advice in ("etcdctl alarm list", "etcdctl defrag", "etcdctl alarm disarm"):
            assert advice in text
    assert etcd.get("/a") is None
    make_room(full)
    etcd.check_space()
    etcd.put("/a", b"1")


def test_a_node_says_that_it_cannot_write_its_status_and_when_it_can_again(
    tmp_path: Path, client: MakeClient
) -> None:
    with EtcdProcess(tmp_path / "etcd", quota=1 << 20) as process, capture_logs() as lines:
        etcd = client(process.endpoint)
        told: queue.SimpleQueue[None] = queue.SimpleQueue()
        publisher = StatusPublisher(
            etcd, "/net", "node1", external=False, on_problem=lambda: told.put(None)
        )
        publisher.start()
        state = sample_state()
        publisher.offer(state)
        until(lambda: etcd.get("/net/status/node1"))
        fill(process)
        publisher.offer(evolve(state, applied_revision=99))
        told.get(timeout=WITHIN)
        assert "etcdctl alarm disarm" in publisher.problem
        # Its lease is renewed all the same, so the node is not taken for dead.
        until(lambda: process.ctl("get", "/net/status/node1"))
        make_room(process)
        told.get(timeout=WITHIN)
        assert publisher.problem == ""
        until(lambda: b'"Revision": 99' in value(etcd) or b'"Revision":99' in value(etcd))
        publisher.stop()
    assert events(lines) == ["status not written", "status written again"]


def test_a_node_that_writes_nothing_notices_it(full: EtcdProcess, client: MakeClient) -> None:
    told: queue.SimpleQueue[None] = queue.SimpleQueue()
    with capture_logs():
        publisher = StatusPublisher(
            client(full.endpoint), "/net", "n", external=False, on_problem=lambda: told.put(None)
        )
        publisher.start()
        told.get(timeout=WITHIN)
        assert "alarm NOSPACE" in publisher.problem
        publisher.stop()


def test_who_cannot_become_leader_says_why_once(full: EtcdProcess, client: MakeClient) -> None:
    with capture_logs() as lines:
        etcd = client(full.endpoint)
        election = LeaderElection(etcd, "/net/allocator", "node1", ttl=2)
        election.start()
        until(lambda: election.problem)
        assert "alarm NOSPACE" in election.problem
        make_room(full)
        until(lambda: election.token)
        assert election.problem == ""
        election.stop()
    assert events(lines)[:2] == ["leadership unknown", "leadership known again"]


def value(etcd: Etcd) -> bytes:
    found = etcd.get("/net/status/node1")
    return found.value if found else b""


def events(lines: list[Any]) -> list[str]:
    return [line["event"] for line in lines]
