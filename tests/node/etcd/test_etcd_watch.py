"""A watch of a real etcd tells what is there, and then each change."""

from __future__ import annotations

import json
import queue
import threading

from tests.node.etcd.watching import (
    Events,
    MakeClient,
    MakeWatch,
    back,
    change_of,
    changes,
    last_keys,
    lost,
    named_by,
    until,
)

from k8s_ovs.observe.etcd.client import Delete, Put
from k8s_ovs.observe.etcd.watch import LeftOut, PrefixWatch
from k8s_ovs.observe.watch_event import Entry, RecordChange, Snapshot, SourceState, WatchEvent
from k8s_ovs_testing.servers.etcd import EtcdProcess


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
