"""A watch of a real etcd sees every change, whatever happens to etcd meanwhile."""

from __future__ import annotations

import json
import queue
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from structlog.testing import capture_logs

from k8s_ovs.observe.etcd.client import Delete, Etcd, Put
from k8s_ovs.observe.etcd.watch import LeftOut, PrefixWatch
from k8s_ovs.observe.watch_event import Entry, RecordChange, Sink, Snapshot, SourceState, WatchEvent
from k8s_ovs_testing.servers.etcd import EtcdProcess
from k8s_ovs_testing.servers.tcp_proxy import TcpProxy

MakeClient = Callable[..., Etcd]
Events = queue.SimpleQueue[WatchEvent]
MakeWatch = Callable[..., Events]


@pytest.fixture
def watch() -> Iterator[MakeWatch]:
    made: list[PrefixWatch] = []

    def make(
        etcd: Etcd,
        prefix: str,
        also: Sink = lambda event: None,
        left_out: LeftOut | None = None,
    ) -> Events:
        events: Events = queue.SimpleQueue()

        def sink(event: WatchEvent) -> None:
            events.put(event)
            also(event)

        made.append(PrefixWatch(etcd, prefix, "test", sink, left_out))
        made[-1].start()
        return events

    yield make
    for each in made:
        each.stop()


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


def counted_calls(etcd: Etcd) -> Callable[[], int]:
    """How often the client has asked anything since."""
    count, call = 0, etcd.connection.call

    def call_and_count(what: str, ask: Any) -> Any:
        nonlocal count
        count += 1
        return call(what, ask)

    etcd.connection.call = call_and_count  # type: ignore[method-assign]  # this client's alone
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


def test_a_user_watches_what_the_role_allows(
    own: EtcdProcess, client: MakeClient, watch: MakeWatch
) -> None:
    own.enable_auth("root-secret", {"node": ("secret", "/net/")})
    etcd = client(own.endpoint, username="node", password="secret")  # noqa: S106  of this etcd alone
    events = watch(etcd, "/net/")
    until(events, back)
    etcd.put("/net/a", b"1")
    assert until(events, lambda event: isinstance(event, RecordChange))[-1].key == "a"  # type: ignore[union-attr]  # a Change, as waited for
    state = until(watch(etcd, "/other/"), lost)[-1]
    assert isinstance(state, SourceState)
    assert "permission denied" in state.detail


def test_a_watch_tells_what_is_there_and_then_each_change(
    shared: EtcdProcess, client: MakeClient, watch: MakeWatch
) -> None:
    etcd = client(shared.endpoint)
    first = etcd.put("/watch/a", b"1")
    events = watch(etcd, "/watch/")
    snapshot, state = until(events, back)
    assert snapshot == Snapshot("test", {"a": Entry(b"1", first)}, first)
    assert state == SourceState("test", True)

    second = etcd.put("/watch/b", b"2")
    etcd.put("/watching", b"not under the prefix")
    etcd.txn([], [Put("/watch/c", json.dumps({"not": "parsed"}).encode()), Delete("/watch/a")])
    third = second + 2
    seen = until(events, lambda event: isinstance(event, RecordChange) and event.entry is None)
    assert seen == [
        RecordChange("test", "b", Entry(b"2", second), second),
        RecordChange("test", "c", Entry(b'{"not": "parsed"}', third), third),
        RecordChange("test", "a", None, third),
    ]


def test_a_watch_outlives_a_restart_of_etcd(
    own: EtcdProcess, client: MakeClient, watch: MakeWatch
) -> None:
    etcd = client(own.endpoint)
    etcd.put("/w/a", b"1")
    events = watch(etcd, "/w/")
    until(events, back)
    own.stop()
    state = until(events, lost)[-1]
    assert isinstance(state, SourceState)
    assert own.endpoint in state.detail
    own.start()
    until(events, back)
    etcd.put("/w/b", b"2")
    until(events, change_of("b"))


def test_what_happened_while_we_were_cut_off_comes_as_changes_and_nothing_is_listed(
    own: EtcdProcess, client: MakeClient, watch: MakeWatch
) -> None:
    direct = client(own.endpoint)
    direct.put("/w/goes", b"1")
    direct.put("/w/stays", b"1")
    with TcpProxy("127.0.0.1", etcd_port(own)) as proxy:
        etcd = client(f"http://127.0.0.1:{proxy.port}")
        lists = counted(etcd)
        events = watch(etcd, "/w/")
        until(events, back)
        for count in range(3):
            proxy.cut()
            until(events, lost)
            direct.put("/w/stays", str(count).encode())
            direct.delete("/w/goes")
            direct.put("/w/goes", b"2")
            proxy.heal()
            seen = until(events, change_of("goes")) + until(events, change_of("goes"))
            assert changes(seen) == [
                ("stays", str(count).encode()),
                ("goes", None),
                ("goes", b"2"),
            ]
        assert lists() == 1


def test_an_etcd_with_other_data_and_a_higher_revision_is_listed_again(
    own: EtcdProcess, client: MakeClient, watch: MakeWatch
) -> None:
    direct = client(own.endpoint)
    direct.put("/w/old", b"1")
    with TcpProxy("127.0.0.1", etcd_port(own)) as proxy:
        events = watch(client(f"http://127.0.0.1:{proxy.port}"), "/w/")
        until(events, back)
        proxy.cut()
        until(events, lost)
        own.stop()
        shutil.rmtree(own.directory / "data")
        own.start()
        for number in range(10):
            direct.put("/w/new", str(number).encode())
        proxy.heal()
        assert last_keys(until(events, back)) == ["new"]


def test_an_etcd_that_went_back_is_listed_again(
    own: EtcdProcess, client: MakeClient, watch: MakeWatch, tmp_path: Path
) -> None:
    etcd = client(own.endpoint)
    etcd.put("/w/kept", b"1")
    with TcpProxy("127.0.0.1", etcd_port(own)) as proxy:
        events = watch(client(f"http://127.0.0.1:{proxy.port}"), "/w/")
        until(events, back)
        own.ctl("snapshot", "save", str(tmp_path / "backup"))
        etcd.put("/w/forgotten", b"1")
        until(events, change_of("forgotten"))
        proxy.cut()
        until(events, lost)
        own.restore(tmp_path / "backup")
        etcd.put("/w/other", b"1")  # at the revision that "forgotten" had
        etcd.put("/w/more", b"1")
        proxy.heal()
        assert last_keys(until(events, back)) == ["kept", "more", "other"]


def test_what_an_unseen_prefix_did_before_a_restored_etcd_passed_our_revision_is_not_missed(
    own: EtcdProcess, client: MakeClient, watch: MakeWatch, tmp_path: Path
) -> None:
    etcd = client(own.endpoint)
    etcd.put("/w/kept", b"1")
    own.ctl("snapshot", "save", str(tmp_path / "backup"))
    for _ in range(3):
        etcd.put("/elsewhere", b"1")
    with TcpProxy("127.0.0.1", etcd_port(own)) as proxy:
        events = watch(client(f"http://127.0.0.1:{proxy.port}"), "/w/")
        until(events, back)
        proxy.cut()
        until(events, lost)
        own.restore(tmp_path / "backup")
        etcd.put("/w/new", b"1")  # at a revision that the first list had passed
        for _ in range(5):
            etcd.put("/elsewhere", b"1")
        proxy.heal()
        assert changes(until(events, change_of("new"))) == [("new", b"1")]


def named_by(value: bytes | None) -> tuple[str, ...] | None:
    """`a` leaves out a/noise/ and a/status/; `?` says nothing."""
    if value == b"?":
        return None
    return () if value is None else (f"{value.decode()}/noise/", f"{value.decode()}/status/")


def test_what_a_record_leaves_out_is_neither_listed_nor_watched(
    shared: EtcdProcess, client: MakeClient, watch: MakeWatch
) -> None:
    etcd = client(shared.endpoint)
    for key in ("a/host", "a/noise/1", "a/own", "a/status/1", "a/zone", "b/status/1"):
        etcd.put(f"/holes/{key}", b"1")
    etcd.put("/holes/config", b"a")
    events = watch(etcd, "/holes/", left_out=LeftOut("config", named_by))
    seen = until(events, back)
    assert last_keys(seen) == ["a/host", "a/own", "a/zone", "b/status/1", "config"]
    keys = ("a/host", "a/noise/1", "a/noisy", "a/status", "a/status/1", "a/zone", "b/status/1")
    for key in keys:
        etcd.put(f"/holes/{key}", b"2")
    seen = until(events, change_of("b/status/1"))
    assert [key for key, _ in changes(seen)] == [
        "a/host",
        "a/noisy",
        "a/status",
        "a/zone",
        "b/status/1",
    ]
    etcd.put("/holes/config", b"?")
    etcd.put("/holes/a/status/1", b"3")
    etcd.put("/holes/config", b"b")
    seen = until(events, lambda event: isinstance(event, Snapshot))
    assert "a/status/1" not in dict(changes(seen))
    assert "a/status/1" in last_keys(seen)
    assert "b/status/1" not in last_keys(seen)
    assert not any(lost(event) for event in seen)


def test_each_range_goes_on_where_it_broke_and_all_comes_in_the_order_in_which_it_was(
    own: EtcdProcess, client: MakeClient, watch: MakeWatch
) -> None:
    direct = client(own.endpoint)
    direct.put("/w/config", b"n")
    with TcpProxy("127.0.0.1", etcd_port(own)) as proxy:
        etcd = client(f"http://127.0.0.1:{proxy.port}")
        lists = counted(etcd)
        events = watch(etcd, "/w/", left_out=LeftOut("config", named_by))
        until(events, back)
        direct.put("/w/n/a", b"1")
        until(events, change_of("n/a"))
        proxy.cut()
        until(events, lost)
        for key in ("n/z", "n/status/1", "n/p", "n/a", "n/z"):
            direct.put(f"/w/{key}", b"2")
        proxy.heal()
        seen = until(events, change_of("n/z")) + until(events, change_of("n/z"))
        assert changes(seen) == [("n/z", b"2"), ("n/p", b"2"), ("n/a", b"2"), ("n/z", b"2")]
        state = [event for event in seen if back(event)]
        assert len(state) == 1
        assert lists() == 1


def test_an_outage_is_one_line_at_its_start_and_one_at_its_end(
    own: EtcdProcess, client: MakeClient, watch: MakeWatch
) -> None:
    with capture_logs() as lines:
        etcd = client(own.endpoint, timeout=0.5)
        etcd.put("/w/a", b"1")
        events = watch(etcd, "/w/")
        until(events, back)
        own.kill()
        until(events, lost)
        tries = counted_calls(etcd)
        while tries() < 5:
            time.sleep(0.05)
        own.start()
        until(events, back)
    assert [line["event"] for line in lines if line["log_level"] == "warning"] == [
        "test is disconnected, serving the last snapshot"
    ]
    assert "test is connected" in [line["event"] for line in lines]


def test_what_was_deleted_while_we_were_cut_off_is_seen_to_be_gone(
    own: EtcdProcess, client: MakeClient, watch: MakeWatch
) -> None:
    direct = client(own.endpoint)
    direct.put("/w/stays", b"1")
    direct.put("/w/goes", b"1")
    with TcpProxy("127.0.0.1", etcd_port(own)) as proxy:
        events = watch(client(f"http://127.0.0.1:{proxy.port}"), "/w/")
        assert last_keys(until(events, back)) == ["goes", "stays"]
        proxy.cut()
        until(events, lost)
        direct.delete("/w/goes")
        own.ctl("compaction", str(direct.put("/other", b"1")))
        proxy.heal()
        assert last_keys(until(events, back)) == ["stays"]


def test_a_revision_that_is_compacted_before_the_watch_starts_is_listed_again(
    own: EtcdProcess, client: MakeClient, watch: MakeWatch
) -> None:
    etcd = client(own.endpoint)
    etcd.put("/w/a", b"1")
    snapshots = list[WatchEvent]()

    def compact_after_first(event: WatchEvent) -> None:
        if isinstance(event, Snapshot):
            snapshots.append(event)
            if len(snapshots) == 1:
                etcd.delete("/w/a")
                own.ctl("compaction", str(etcd.put("/w/b", b"2")))

    events = watch(etcd, "/w/", compact_after_first)
    seen = until(events, lambda event: isinstance(event, Snapshot) and "b" in event.entries)
    assert last_keys(seen) == ["b"]
    # etcd was there all the time.
    assert not any(lost(event) for event in seen)
    etcd.put("/w/c", b"3")
    assert until(events, lambda event: isinstance(event, RecordChange))[-1].key == "c"  # type: ignore[union-attr]  # a Change, as waited for


def test_a_frozen_etcd_is_noticed_and_found_again(
    own: EtcdProcess, client: MakeClient, watch: MakeWatch
) -> None:
    etcd = client(own.endpoint, timeout=1.0)
    events = watch(etcd, "/w/")
    until(events, back)
    own.pause()
    state = until(events, lost)[-1]
    assert isinstance(state, SourceState)
    assert "no sign of life" in state.detail
    own.resume()
    until(events, back)
    etcd.put("/w/a", b"1")
    until(events, lambda event: isinstance(event, RecordChange))


def test_a_half_open_connection_is_left_for_another_endpoint(
    own: EtcdProcess, client: MakeClient, watch: MakeWatch
) -> None:
    direct = client(own.endpoint)
    with TcpProxy("127.0.0.1", etcd_port(own)) as proxy:
        etcd = client(f"http://127.0.0.1:{proxy.port}", own.endpoint)
        events = watch(etcd, "/w/")
        until(events, back)
        proxy.stall()
        direct.put("/w/unseen", b"1")
        seen = until(events, back)
        assert any(lost(event) for event in seen)
        assert last_keys(seen) == ["unseen"]


def test_an_etcd_that_comes_late_is_waited_for(
    tmp_path: Path, client: MakeClient, watch: MakeWatch
) -> None:
    process = EtcdProcess(tmp_path / "etcd")
    events = watch(client(process.endpoint), "/w/")
    assert len(until(events, lost)) == 1  # and no snapshot that would look like an empty cluster
    with process:
        assert last_keys(until(events, back)) == []


def test_a_sink_that_raises_is_reported_and_gets_the_whole_snapshot_again(
    shared: EtcdProcess, client: MakeClient, watch: MakeWatch
) -> None:
    etcd = client(shared.endpoint)

    def raise_on_change(event: WatchEvent) -> None:
        if isinstance(event, RecordChange) and event.key == "bad":
            raise ValueError("out of order")

    events = watch(etcd, "/sink/", raise_on_change)
    until(events, back)
    etcd.put("/sink/bad", b"1")
    seen = until(events, back)
    assert [event.detail for event in seen if lost(event)] == [  # type: ignore[union-attr]  # SourceStates
        "watch of /sink/ failed: ValueError('out of order')"
    ]
    assert last_keys(seen) == ["bad"]


def test_a_stopped_watch_says_no_more(shared: EtcdProcess, client: MakeClient) -> None:
    etcd, events, listed = client(shared.endpoint), list[WatchEvent](), threading.Event()

    def sink(event: WatchEvent) -> None:
        events.append(event)
        listed.set()

    stopped = PrefixWatch(etcd, "/stop/", "ended", sink)
    stopped.start()
    assert listed.wait(10)
    stopped.stop()
    count = len(events)
    other: Events = queue.SimpleQueue()
    witness = PrefixWatch(etcd, "/stop/", "test", other.put)
    witness.start()
    until(other, back)
    etcd.put("/stop/a", b"1")
    until(other, lambda event: isinstance(event, RecordChange))
    witness.stop()
    assert len(events) == count
    assert not any(thread.name == "watch ended" for thread in threading.enumerate())
