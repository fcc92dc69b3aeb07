"""A watch of a real etcd sees every change, whatever happens to etcd meanwhile."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from k8s_ovs.observe.etcd.client import Delete, Etcd, Put
from k8s_ovs.observe.etcd.watch import PrefixWatch
from k8s_ovs.observe.watch_event import Change, Entry, Fact, Sight, Sink, Snapshot
from k8s_ovs_testing.servers.etcd import EtcdProcess
from k8s_ovs_testing.servers.tcp_proxy import TcpProxy

MakeClient = Callable[..., Etcd]
Facts = queue.SimpleQueue[Fact]
MakeWatch = Callable[..., Facts]


@pytest.fixture
def watch() -> Iterator[MakeWatch]:
    made: list[PrefixWatch] = []

    def make(etcd: Etcd, prefix: str, also: Sink = lambda fact: None) -> Facts:
        facts: Facts = queue.SimpleQueue()

        def sink(fact: Fact) -> None:
            facts.put(fact)
            also(fact)

        made.append(PrefixWatch(etcd, prefix, "test", sink))
        made[-1].start()
        return facts

    yield make
    for each in made:
        each.stop()


def until(facts: Facts, wanted: Callable[[Fact], bool], timeout: float = 15) -> list[Fact]:
    """All facts up to the first wanted one."""
    deadline, seen = time.monotonic() + timeout, list[Fact]()
    while not (seen and wanted(seen[-1])):
        try:
            seen.append(facts.get(timeout=max(0.01, deadline - time.monotonic())))
        except queue.Empty:
            pytest.fail(f"the wanted fact did not come in {timeout} s, but {seen}")
    return seen


def lost(fact: Fact) -> bool:
    return isinstance(fact, Sight) and not fact.visible


def back(fact: Fact) -> bool:
    return isinstance(fact, Sight) and fact.visible


def last_keys(seen: list[Fact]) -> list[str]:
    return sorted([fact for fact in seen if isinstance(fact, Snapshot)][-1].entries)


def etcd_port(process: EtcdProcess) -> int:
    port = urlsplit(process.endpoint).port
    assert port is not None
    return port


def test_a_user_watches_what_the_role_allows(
    own: EtcdProcess, client: MakeClient, watch: MakeWatch
) -> None:
    own.enable_auth("root-secret", {"node": ("secret", "/net/")})
    etcd = client(own.endpoint, username="node", password="secret")  # noqa: S106  of this etcd alone
    facts = watch(etcd, "/net/")
    until(facts, back)
    etcd.put("/net/a", b"1")
    assert until(facts, lambda fact: isinstance(fact, Change))[-1].key == "a"  # type: ignore[union-attr]  # a Change, as waited for
    sight = until(watch(etcd, "/other/"), lost)[-1]
    assert isinstance(sight, Sight)
    assert "permission denied" in sight.detail


def test_a_watch_tells_what_is_there_and_then_each_change(
    shared: EtcdProcess, client: MakeClient, watch: MakeWatch
) -> None:
    etcd = client(shared.endpoint)
    first = etcd.put("/watch/a", b"1")
    facts = watch(etcd, "/watch/")
    snapshot, sight = until(facts, back)
    assert snapshot == Snapshot("test", {"a": Entry(b"1", first)}, first)
    assert sight == Sight("test", True)

    second = etcd.put("/watch/b", b"2")
    etcd.put("/watching", b"not under the prefix")
    etcd.txn([], [Put("/watch/c", json.dumps({"not": "parsed"}).encode()), Delete("/watch/a")])
    third = second + 2
    seen = until(facts, lambda fact: isinstance(fact, Change) and fact.entry is None)
    assert seen == [
        Change("test", "b", Entry(b"2", second), second),
        Change("test", "c", Entry(b'{"not": "parsed"}', third), third),
        Change("test", "a", None, third),
    ]


def test_a_watch_outlives_a_restart_of_etcd(
    own: EtcdProcess, client: MakeClient, watch: MakeWatch
) -> None:
    etcd = client(own.endpoint)
    etcd.put("/w/a", b"1")
    facts = watch(etcd, "/w/")
    until(facts, back)
    own.stop()
    sight = until(facts, lost)[-1]
    assert isinstance(sight, Sight)
    assert own.endpoint in sight.detail
    own.start()
    assert last_keys(until(facts, back)) == ["a"]
    etcd.put("/w/b", b"2")
    assert isinstance(until(facts, lambda fact: isinstance(fact, Change))[-1], Change)


def test_what_was_deleted_while_we_were_cut_off_is_seen_to_be_gone(
    own: EtcdProcess, client: MakeClient, watch: MakeWatch
) -> None:
    direct = client(own.endpoint)
    direct.put("/w/stays", b"1")
    direct.put("/w/goes", b"1")
    with TcpProxy("127.0.0.1", etcd_port(own)) as proxy:
        facts = watch(client(f"http://127.0.0.1:{proxy.port}"), "/w/")
        assert last_keys(until(facts, back)) == ["goes", "stays"]
        proxy.cut()
        until(facts, lost)
        direct.delete("/w/goes")
        own.ctl("compaction", str(direct.put("/other", b"1")))
        proxy.heal()
        assert last_keys(until(facts, back)) == ["stays"]


def test_a_revision_that_is_compacted_before_the_watch_starts_is_listed_again(
    own: EtcdProcess, client: MakeClient, watch: MakeWatch
) -> None:
    etcd = client(own.endpoint)
    etcd.put("/w/a", b"1")
    snapshots = list[Fact]()

    def compact_after_first(fact: Fact) -> None:
        if isinstance(fact, Snapshot):
            snapshots.append(fact)
            if len(snapshots) == 1:
                etcd.delete("/w/a")
                own.ctl("compaction", str(etcd.put("/w/b", b"2")))

    facts = watch(etcd, "/w/", compact_after_first)
    seen = until(facts, lambda fact: isinstance(fact, Snapshot) and "b" in fact.entries)
    assert last_keys(seen) == ["b"]
    # etcd was there all the time.
    assert not any(lost(fact) for fact in seen)
    etcd.put("/w/c", b"3")
    assert until(facts, lambda fact: isinstance(fact, Change))[-1].key == "c"  # type: ignore[union-attr]  # a Change, as waited for


def test_a_frozen_etcd_is_noticed_and_found_again(
    own: EtcdProcess, client: MakeClient, watch: MakeWatch
) -> None:
    etcd = client(own.endpoint, timeout=1.0)
    facts = watch(etcd, "/w/")
    until(facts, back)
    own.pause()
    sight = until(facts, lost)[-1]
    assert isinstance(sight, Sight)
    assert "no sign of life" in sight.detail
    own.resume()
    until(facts, back)
    etcd.put("/w/a", b"1")
    until(facts, lambda fact: isinstance(fact, Change))


def test_a_half_open_connection_is_left_for_another_endpoint(
    own: EtcdProcess, client: MakeClient, watch: MakeWatch
) -> None:
    direct = client(own.endpoint)
    with TcpProxy("127.0.0.1", etcd_port(own)) as proxy:
        etcd = client(f"http://127.0.0.1:{proxy.port}", own.endpoint)
        facts = watch(etcd, "/w/")
        until(facts, back)
        proxy.stall()
        direct.put("/w/unseen", b"1")
        seen = until(facts, back)
        assert any(lost(fact) for fact in seen)
        assert last_keys(seen) == ["unseen"]


def test_an_etcd_that_comes_late_is_waited_for(
    tmp_path: Path, client: MakeClient, watch: MakeWatch
) -> None:
    process = EtcdProcess(tmp_path / "etcd")
    facts = watch(client(process.endpoint), "/w/")
    assert len(until(facts, lost)) == 1  # and no picture that would look like an empty cluster
    with process:
        assert last_keys(until(facts, back)) == []


def test_a_sink_that_raises_is_reported_and_gets_the_whole_picture_again(
    shared: EtcdProcess, client: MakeClient, watch: MakeWatch
) -> None:
    etcd = client(shared.endpoint)

    def raise_on_change(fact: Fact) -> None:
        if isinstance(fact, Change) and fact.key == "bad":
            raise ValueError("out of order")

    facts = watch(etcd, "/sink/", raise_on_change)
    until(facts, back)
    etcd.put("/sink/bad", b"1")
    seen = until(facts, back)
    assert [fact.detail for fact in seen if lost(fact)] == [  # type: ignore[union-attr]  # Sights
        "watch of /sink/ failed: ValueError('out of order')"
    ]
    assert last_keys(seen) == ["bad"]


def test_a_stopped_watch_says_no_more(shared: EtcdProcess, client: MakeClient) -> None:
    etcd, facts, listed = client(shared.endpoint), list[Fact](), threading.Event()

    def sink(fact: Fact) -> None:
        facts.append(fact)
        listed.set()

    stopped = PrefixWatch(etcd, "/stop/", "ended", sink)
    stopped.start()
    assert listed.wait(10)
    stopped.stop()
    count = len(facts)
    other: Facts = queue.SimpleQueue()
    witness = PrefixWatch(etcd, "/stop/", "test", other.put)
    witness.start()
    until(other, back)
    etcd.put("/stop/a", b"1")
    until(other, lambda fact: isinstance(fact, Change))
    witness.stop()
    assert len(facts) == count
    assert not any(thread.name == "watch ended" for thread in threading.enumerate())
