"""One daemon of all allocates, and one that was deposed cannot write."""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from k8s_ovs.allocate.election import LeaderElection, LeaderToken
from k8s_ovs.observe.etcd.client import Etcd, EtcdSettings, Put
from k8s_ovs.observe.etcd.watch import PrefixWatch
from k8s_ovs.observe.watch_event import RecordChange, Snapshot, WatchEvent
from k8s_ovs_testing.servers.etcd import EtcdProcess
from k8s_ovs_testing.servers.tcp_proxy import TcpProxy

TTL = 2

# A daemon in a process of its own, that stays the leader until it is killed.
DAEMON = """
import signal, sys
from k8s_ovs.allocate.election import LeaderElection
from k8s_ovs.observe.etcd.client import Etcd, EtcdSettings
etcd = Etcd(EtcdSettings((sys.argv[1],)))
on_change = lambda token: print(token, flush=True)
LeaderElection(etcd, sys.argv[2], "first", int(sys.argv[3]), on_change).start()
signal.pause()
"""
Changes = queue.SimpleQueue[LeaderToken | None]


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdProcess]:
    with EtcdProcess(tmp_path_factory.mktemp("etcd")) as running:
        yield running


@pytest.fixture
def etcd(process: EtcdProcess) -> Iterator[Etcd]:
    client = Etcd(EtcdSettings((process.endpoint,)))
    yield client
    client.close()


@pytest.fixture
def run_for_leader() -> Iterator[Callable[..., tuple[LeaderElection, Changes]]]:
    made: list[LeaderElection] = []

    def start(
        etcd: Etcd, key: str, holder: str, *, watched: bool = False
    ) -> tuple[LeaderElection, Changes]:
        changes: Changes = queue.SimpleQueue()
        made.append(LeaderElection(etcd, key, holder, TTL, changes.put, watched=watched))
        made[-1].start()
        return made[-1], changes

    yield start
    for election in made:
        election.stop()


def taken(changes: Changes) -> LeaderToken:
    token = changes.get(timeout=15)
    assert token is not None
    return token


def test_leadership_is_acquired_by_name_and_released(
    etcd: Etcd, run_for_leader: Callable[..., tuple[LeaderElection, Changes]]
) -> None:
    election, changes = run_for_leader(etcd, "/election/one", "node1")
    token = taken(changes)
    assert election.token == token
    found = etcd.get("/election/one")
    assert found is not None
    assert json.loads(found.value) == {"holder": "node1"}
    assert etcd.txn([token.compare()], [Put("/election/one-writes", b"1")]).succeeded
    election.stop()
    assert election.token is None
    assert changes.get(timeout=1) is None
    assert etcd.get("/election/one") is None
    assert not etcd.txn([token.compare()], [Put("/election/one-writes", b"2")]).succeeded


def test_of_two_campaigners_one_wins_and_the_other_follows(
    etcd: Etcd, run_for_leader: Callable[..., tuple[LeaderElection, Changes]]
) -> None:
    first, first_changes = run_for_leader(etcd, "/election/two", "node1")
    old = taken(first_changes)
    second, second_changes = run_for_leader(etcd, "/election/two", "node2")
    assert second.token is None
    first.stop()
    new = taken(second_changes)
    assert new.create_revision > old.create_revision
    assert second.token == new


def test_a_leader_stays_it_beyond_its_lease(
    etcd: Etcd, run_for_leader: Callable[..., tuple[LeaderElection, Changes]]
) -> None:
    election, changes = run_for_leader(etcd, "/election/keep", "node1")
    token = taken(changes)
    other, other_changes = run_for_leader(etcd, "/election/keep", "node2")
    with pytest.raises(queue.Empty):
        other_changes.get(timeout=1.75 * TTL)
    assert election.token == token
    assert other.token is None
    found = etcd.get("/election/keep")
    assert found is not None
    assert found.create_revision == token.create_revision


def test_a_frozen_leader_is_replaced_and_cannot_write_when_it_wakes(
    process: EtcdProcess, etcd: Etcd, run_for_leader: Callable[..., tuple[LeaderElection, Changes]]
) -> None:
    command = [sys.executable, "-c", DAEMON, process.endpoint, "/election/frozen", str(TTL)]
    daemon = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert daemon.stdout is not None
        while "LeaderToken" not in (line := daemon.stdout.readline()):
            assert line, "the daemon ended"
        found = etcd.get("/election/frozen")
        assert found is not None
        deposed = LeaderToken("/election/frozen", found.create_revision)
        daemon.send_signal(signal.SIGSTOP)
        _, changes = run_for_leader(etcd, "/election/frozen", "second")
        successor = taken(changes)
        assert not etcd.txn([deposed.compare()], [Put("/election/frozen-writes", b"old")]).succeeded
        assert etcd.txn([successor.compare()], [Put("/election/frozen-writes", b"new")]).succeeded
        daemon.send_signal(signal.SIGCONT)
        with pytest.raises(queue.Empty):  # the woken one takes nothing from its successor
            changes.get(timeout=TTL)
    finally:
        daemon.kill()
        daemon.communicate(timeout=5)


def test_a_leader_that_cannot_reach_etcd_loses_leadership(
    process: EtcdProcess, run_for_leader: Callable[..., tuple[LeaderElection, Changes]]
) -> None:
    port = int(process.endpoint.rpartition(":")[2])
    with TcpProxy("127.0.0.1", port) as proxy:
        client = Etcd(EtcdSettings((f"http://127.0.0.1:{proxy.port}",), timeout=0.5))
        election, changes = run_for_leader(client, "/election/apart", "node1")
        old = taken(changes)
        proxy.cut()
        assert changes.get(timeout=15) is None
        assert election.token is None
        proxy.heal()
        assert taken(changes).create_revision >= old.create_revision


def test_a_leader_whose_key_was_removed_runs_again(
    etcd: Etcd, run_for_leader: Callable[..., tuple[LeaderElection, Changes]]
) -> None:
    _, changes = run_for_leader(etcd, "/election/removed", "node1")
    old = taken(changes)
    etcd.delete("/election/removed")
    assert changes.get(timeout=15) is None
    assert taken(changes).create_revision > old.create_revision


def test_a_campaign_waits_for_an_etcd_that_comes_late(
    tmp_path: Path, run_for_leader: Callable[..., tuple[LeaderElection, Changes]]
) -> None:
    late = EtcdProcess(tmp_path / "etcd")
    client = Etcd(EtcdSettings((late.endpoint,), timeout=0.5))
    election, changes = run_for_leader(client, "/election/late", "node1")
    with late:
        taken(changes)
        election.stop()


@pytest.fixture
def watch_for() -> Iterator[Callable[..., None]]:
    """Shows elections whether their key exists, as the daemon does."""
    made: list[PrefixWatch] = []

    def start(etcd: Etcd, key: str, *elections: LeaderElection) -> None:
        def see(event: WatchEvent) -> None:
            for election in elections:
                if isinstance(event, Snapshot):
                    election.saw("" in event.entries)
                elif isinstance(event, RecordChange) and not event.key:
                    election.saw(event.entry is not None)

        made.append(PrefixWatch(etcd, key, "test", see))
        made[-1].start()

    yield start
    for watch in made:
        watch.stop()


def test_who_is_shown_the_key_asks_for_nothing_and_follows_a_leader_that_ends(
    process: EtcdProcess,
    etcd: Etcd,
    run_for_leader: Callable[..., tuple[LeaderElection, Changes]],
    watch_for: Callable[..., None],
) -> None:
    key = "/election/watched"
    first, first_changes = run_for_leader(etcd, key, "node1", watched=True)
    old = taken(first_changes)
    own = Etcd(EtcdSettings((process.endpoint,)))
    asked: list[str] = []
    call = own.connection.call

    def call_and_note(what: str, ask: Any) -> Any:
        asked.append(what)
        return call(what, ask)

    own.connection.call = call_and_note  # type: ignore[method-assign]  # this client's alone
    second, changed = run_for_leader(own, key, "node2", watched=True)
    third, _ = run_for_leader(own, key, "node3", watched=True)
    watch_for(etcd, key, second, third)
    with pytest.raises(queue.Empty):
        changed.get(timeout=2 * TTL)
    assert asked == [f"get {key}"] * 2  # each looked once, as it began
    third.stop()
    first.stop()
    assert taken(changed).create_revision > old.create_revision
