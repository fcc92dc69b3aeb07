"""What an observer of Kubernetes says, and when, while its API server comes, goes and hangs."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest

from k8s_ovs.errors import TimedOut, Unavailable
from k8s_ovs.observe.kube import (
    Conflict,
    Involved,
    Json,
    Kube,
    KubeSettings,
    NotFound,
    ResourceWatch,
    WatchedResource,
    post_event,
)
from k8s_ovs.observe.watch_event import RecordChange, Snapshot, SourceState, WatchEvent
from k8s_ovs_testing.servers.kube import ApiServerProcess
from k8s_ovs_testing.servers.tcp_proxy import TcpProxy

NODES = WatchedResource("/api/v1/nodes", "nodes")
PODS = "/api/v1/namespaces/default/pods"
HISTORY = 20

F = TypeVar("F", Snapshot, RecordChange, SourceState)


class Observed:
    """The watch events of one watch, in order."""

    def __init__(self, kube: Kube, resource: WatchedResource) -> None:
        self._facts: queue.SimpleQueue[WatchEvent] = queue.SimpleQueue()
        self.watch = ResourceWatch(kube, resource, self._facts.put)
        self.watch.start()

    def next(self, kind: type[F], within: float = 10.0) -> F:
        """The next watch event, which must be of this kind."""
        event = self._facts.get(timeout=within)
        assert isinstance(event, kind), event
        return event

    def nothing_more(self) -> bool:
        return self._facts.empty()


Observe = Callable[..., Observed]


@pytest.fixture(scope="module")
def shared() -> Iterator[ApiServerProcess]:
    """A server that no test stops; each test uses names of its own."""
    with ApiServerProcess(history=HISTORY, bookmark_interval=0.2) as server:
        yield server


@pytest.fixture
def own() -> Iterator[ApiServerProcess]:
    """A server that the test may stop."""
    with ApiServerProcess() as server:
        yield server


@pytest.fixture
def observe() -> Iterator[Observe]:
    started: list[Observed] = []

    def start(kube: Kube, resource: WatchedResource = NODES) -> Observed:
        started.append(Observed(kube, resource))
        return started[-1]

    yield start
    for observed in started:
        observed.watch.stop()


def kube_at(url: str, timeout: float = 4.0) -> Kube:
    return Kube(KubeSettings.from_environment({"KUBERNETES_MASTER": url}), timeout)


def node(name: str, **labels: str) -> Json:
    return {"metadata": {"name": name, "labels": labels, "managedFields": [{"manager": "me"}]}}


def test_a_snapshot_comes_first_and_then_each_change(
    shared: ApiServerProcess, observe: Observe
) -> None:
    kube = kube_at(shared.url)
    kube.create(NODES.path, node("first"))

    seen = observe(kube)
    assert seen.next(SourceState) == SourceState("nodes", True)
    first = seen.next(Snapshot).entries["first"].value
    kube.create(NODES.path, node("second"))
    added = seen.next(RecordChange)
    kube.patch(f"{NODES.path}/second", {"metadata": {"labels": {"zone": "a"}}})
    changed = seen.next(RecordChange)
    kube.delete(f"{NODES.path}/second")
    deleted = seen.next(RecordChange)

    assert added.key == changed.key == deleted.key == "second"
    assert changed.entry is not None
    assert changed.entry.value["metadata"]["labels"] == {"zone": "a"}
    assert deleted.entry is None
    assert first["kind"] == "Node", "objects of a list look like those of a watch"
    assert "managedFields" not in first["metadata"]
    kube.delete(f"{NODES.path}/first")


def test_only_this_nodes_pods_are_seen_and_one_that_leaves_is_deleted(
    shared: ApiServerProcess, observe: Observe
) -> None:
    kube = kube_at(shared.url)
    seen = observe(
        kube, WatchedResource("/api/v1/pods", "pods", field_selector="spec.nodeName=node1")
    )
    assert seen.next(SourceState).connected
    assert seen.next(Snapshot).entries == {}

    for name, host in (("other", "node2"), ("mine", "node1")):
        kube.create(PODS, {"metadata": {"name": name}, "spec": {"nodeName": host}})
    assert seen.next(RecordChange).key == "default/mine"
    kube.patch(f"{PODS}/mine", {"spec": {"nodeName": "node2"}})
    gone = seen.next(RecordChange)

    assert gone.key == "default/mine"
    assert gone.entry is None


def test_what_was_deleted_in_a_gap_longer_than_the_history_is_missing_in_a_new_snapshot(
    shared: ApiServerProcess, observe: Observe
) -> None:
    kube = kube_at(shared.url)
    kube.create(NODES.path, node("stays"))
    kube.create(NODES.path, node("goes"))
    with TcpProxy("127.0.0.1", shared.port) as proxy:
        seen = observe(kube_at(f"127.0.0.1:{proxy.port}"))
        assert seen.next(SourceState).connected
        assert {"stays", "goes"} <= set(seen.next(Snapshot).entries)

        proxy.cut()
        assert not seen.next(SourceState).connected
        kube.delete(f"{NODES.path}/goes")
        for number in range(HISTORY + 1):
            kube.patch(f"{NODES.path}/stays", {"metadata": {"labels": {"n": str(number)}}})
        proxy.heal()

        assert seen.next(SourceState).connected
        entries = seen.next(Snapshot).entries
    assert "stays" in entries
    assert "goes" not in entries


def test_a_short_gap_is_made_up_without_a_snapshot(
    shared: ApiServerProcess, observe: Observe
) -> None:
    kube = kube_at(shared.url)
    with TcpProxy("127.0.0.1", shared.port) as proxy:
        seen = observe(kube_at(f"127.0.0.1:{proxy.port}"))
        assert seen.next(SourceState).connected
        seen.next(Snapshot)

        proxy.cut()
        assert not seen.next(SourceState).connected
        kube.create(NODES.path, node("meanwhile"))
        proxy.heal()

        assert seen.next(SourceState).connected
        assert seen.next(RecordChange).key == "meanwhile"
    kube.delete(f"{NODES.path}/meanwhile")


def test_bookmarks_keep_a_quiet_watch_younger_than_the_history(
    shared: ApiServerProcess, observe: Observe
) -> None:
    kube = kube_at(shared.url)
    quiet = WatchedResource("/api/v1/pods", "pods", field_selector="spec.nodeName=nobody")
    with TcpProxy("127.0.0.1", shared.port) as proxy:
        seen = observe(kube_at(f"127.0.0.1:{proxy.port}"), quiet)
        assert seen.next(SourceState).connected
        began = seen.next(Snapshot)
        for number in range(HISTORY + 1):
            kube.create("/api/v1/namespaces", node(f"quiet-{number}"))
        _await_bookmark(kube, quiet)

        proxy.cut()
        assert not seen.next(SourceState).connected
        proxy.heal()
        assert seen.next(SourceState).connected
        kube.create(PODS, {"metadata": {"name": "late"}, "spec": {"nodeName": "nobody"}})

        assert began.entries == {}
        assert seen.next(RecordChange).key == "default/late", "no new snapshot was needed"


def test_a_server_that_forgot_everything_is_listed_again(
    own: ApiServerProcess, observe: Observe
) -> None:
    kube = kube_at(own.url)
    kube.create(NODES.path, node("old"))
    seen = observe(kube)
    assert seen.next(SourceState).connected
    assert set(seen.next(Snapshot).entries) == {"old"}

    own.stop()
    lost = seen.next(SourceState)
    own.start()

    assert not lost.connected
    assert own.url in lost.detail
    assert seen.next(SourceState).connected
    assert seen.next(Snapshot).entries == {}


def test_a_server_that_is_not_there_at_start_is_named_and_then_found(
    own: ApiServerProcess, observe: Observe
) -> None:
    own.stop()
    seen = observe(kube_at(own.url))

    blind = seen.next(SourceState)
    own.start()

    assert not blind.connected
    assert own.url in blind.detail
    assert "KUBERNETES_MASTER" in blind.detail
    assert "Connection refused" in blind.detail
    assert seen.next(SourceState).connected
    assert seen.next(Snapshot).entries == {}


def test_a_peer_that_went_silent_is_noticed_by_asking(
    shared: ApiServerProcess, observe: Observe
) -> None:
    kube = kube_at(shared.url)
    with TcpProxy("127.0.0.1", shared.port) as proxy:
        seen = observe(kube_at(f"127.0.0.1:{proxy.port}"))
        assert seen.next(SourceState).connected
        seen.next(Snapshot)
        kube.create(NODES.path, node("before-silence"))
        assert seen.next(RecordChange).key == "before-silence", "the watch is open"

        proxy.stall()
        lost = seen.next(SourceState)
        proxy.heal()

        assert not lost.connected
        assert "does not answer within 2 s" in lost.detail
        assert seen.next(SourceState).connected


def test_a_server_that_hangs_is_noticed_by_asking(own: ApiServerProcess, observe: Observe) -> None:
    kube = kube_at(own.url)
    seen = observe(kube)
    assert seen.next(SourceState).connected
    seen.next(Snapshot)
    kube.create(NODES.path, node("before"))
    assert seen.next(RecordChange).key == "before", "the watch is open"

    own.pause()
    lost = seen.next(SourceState)
    own.resume()

    assert not lost.connected
    assert seen.next(SourceState).connected
    kube.create(NODES.path, node("after"))
    assert seen.next(RecordChange).key == "after", "the watch went on where it broke"


def test_stop_ends_a_silent_watch_and_nothing_is_sent_after_it(
    shared: ApiServerProcess, observe: Observe
) -> None:
    kube = kube_at(shared.url)
    seen = observe(kube)
    assert seen.next(SourceState).connected
    seen.next(Snapshot)

    seen.watch.stop()
    kube.create(NODES.path, node("unseen"))

    assert "watch-nodes" not in {thread.name for thread in threading.enumerate()}
    assert seen.nothing_more()
    kube.delete(f"{NODES.path}/unseen")


def test_refusals_name_what_was_asked_for(shared: ApiServerProcess) -> None:
    kube = kube_at(shared.url)
    kube.create(NODES.path, node("once"))

    with pytest.raises(NotFound, match='GET /api/v1/nodes/none: 404 nodes "none" not found'):
        kube.get("/api/v1/nodes/none")
    with pytest.raises(Conflict, match='POST /api/v1/nodes: 409 nodes "once" already exists'):
        kube.create(NODES.path, node("once"))


def test_a_request_ends_at_its_time_limit(own: ApiServerProcess) -> None:
    kube = kube_at(own.url, timeout=0.3)
    own.pause()

    with pytest.raises(TimedOut, match=rf"{own.url} .* does not answer within 0.3 s"):
        kube.get("/version")


def test_an_event_is_posted_and_one_that_cannot_be_is_forgotten(own: ApiServerProcess) -> None:
    kube = kube_at(own.url)
    about = Involved("Node", "node1")

    assert post_event(kube, about, "NoSubnet", "no subnet is free", severity="Warning")
    (event,) = kube.list("/api/v1/events", {"fieldSelector": "involvedObject.name=node1"})["items"]
    own.stop()

    assert (event["reason"], event["type"]) == ("NoSubnet", "Warning")
    assert event["metadata"]["namespace"] == "default"
    assert not post_event(kube, about, "NoSubnet", "no subnet is free")
    with pytest.raises(Unavailable, match="Connection refused"):
        kube.get("/version")


def _await_bookmark(kube: Kube, resource: WatchedResource) -> None:
    """Returns when the server has sent bookmarks to all watches that began before this one."""
    query = {**resource.params, "watch": "true", "allowWatchBookmarks": "true"}
    with kube.lines(resource.path, query, 5.0) as lines:
        next(line for line in lines if b"BOOKMARK" in line)
