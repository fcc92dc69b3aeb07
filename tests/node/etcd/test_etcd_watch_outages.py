"""A watch of a real etcd misses nothing, whatever happens to etcd meanwhile."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from structlog.testing import capture_logs
from tests.node.etcd.watching import (
    MakeClient,
    MakeWatch,
    back,
    change_of,
    changes,
    counted,
    etcd_port,
    last_keys,
    lost,
    named_by,
    until,
)

from k8s_ovs.observe.etcd.client import Etcd
from k8s_ovs.observe.etcd.watch import LeftOut
from k8s_ovs.observe.watch_event import RecordChange, SourceState
from k8s_ovs_testing.servers.etcd import EtcdProcess
from k8s_ovs_testing.servers.tcp_proxy import TcpProxy


def counted_calls(etcd: Etcd) -> Callable[[], int]:
    """How often the client has asked anything since."""
    count, call = 0, etcd.connection.call

    def call_and_count(what: str, ask: Any) -> Any:
        nonlocal count
        count += 1
        return call(what, ask)

    etcd.connection.call = call_and_count  # type: ignore[method-assign]  # this client's alone
    return lambda: count


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
