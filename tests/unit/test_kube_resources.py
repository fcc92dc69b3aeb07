"""A resource that is refused, not installed, selected or shared: what its readers see of that."""

from __future__ import annotations

import json
import queue
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.unit.scripted_apiserver import ScriptedApiServer
from tests.unit.test_kube_garbage import GOOD, Observed, kube_at, listing

from k8s_ovs.errors import PluginError
from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.model.world import UNSYNCED, World
from k8s_ovs.node import kube_watches
from k8s_ovs.node.inbox import Inbox
from k8s_ovs.node.kube_watches import KubeWatches, watched_as
from k8s_ovs.node.records.ingest import Ingest
from k8s_ovs.observe.kube import ResourceWatch, WatchedResource
from k8s_ovs.observe.kube import watch as kube_watch
from k8s_ovs.observe.watch_event import (
    Entry,
    RecordChange,
    Snapshot,
    SourceState,
    WatchEvent,
)
from k8s_ovs.plugin import KubeResource, hook
from k8s_ovs_subnet import SingleTenant
from k8s_ovs_testing.world import sample_config

PATH = "/apis/acme.example/v1/rules"
UNKNOWN = json.dumps({"kind": "Status", "message": "could not find the requested resource"})


@pytest.fixture
def api() -> Iterator[ScriptedApiServer]:
    with ScriptedApiServer() as server:
        server.bodies[PATH] = (404, UNKNOWN.encode())
        yield server


@contextmanager
def watching(api: ScriptedApiServer, *, optional: bool) -> Iterator[Observed]:
    seen = Observed()
    resource = WatchedResource(PATH, "kube:rules", optional=optional, reader="acme")
    watch = ResourceWatch(kube_at(api), resource, seen.put)
    watch.start()
    try:
        yield seen
    finally:
        watch.stop()


@pytest.mark.parametrize("status", [400, 403, 404])
def test_what_is_refused_is_told_with_its_plugin(api: ScriptedApiServer, status: int) -> None:
    api.bodies[PATH] = (status, UNKNOWN.encode())
    with capture_logs() as logs, watching(api, optional=False) as seen:
        seen.until("disconnected")
        assert seen.states[-1].refused
        assert f"GET {PATH}: {status} could not find" in seen.states[-1].detail
        api.bodies[PATH] = (200, listing(GOOD))
        seen.until("connected")
        assert not seen.states[-1].refused
    (told,) = [each for each in logs if each["log_level"] == "warning"]
    assert (told["source"], told["plugin"]) == ("kube:rules", "acme")


def test_a_server_that_fails_does_not_refuse(api: ScriptedApiServer) -> None:
    api.bodies[PATH] = (500, b"")
    with watching(api, optional=True) as seen:
        seen.until("disconnected")
        assert not seen.states[-1].refused
        api.bodies[PATH] = (403, b"")
        seen.until("disconnected")
        assert seen.states[-1].refused


def test_what_is_optional_and_not_installed_is_empty_until_it_is(api: ScriptedApiServer) -> None:
    told: queue.SimpleQueue[WatchEvent] = queue.SimpleQueue()
    rules = WatchedResource(PATH, "kube:rules", optional=True)
    watch = ResourceWatch(kube_at(api), rules, told.put)
    with capture_logs() as logs:
        watch.start()
        first = [told.get(timeout=10.0), told.get(timeout=10.0)]
        assert first == [SourceState("kube:rules", connected=True), Snapshot("kube:rules")]
        api.bodies[PATH] = (200, listing(GOOD))
        listed = told.get(timeout=10.0)
        watch.stop()
    assert isinstance(listed, Snapshot)
    assert listed.entries.keys() == {"node1"}
    events = [each["event"] for each in logs]
    assert events[:2] == ["resource not installed", "resource listed"]


def test_what_was_listed_stays_until_its_absence_lasts(
    api: ScriptedApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A definition is replaced, or an API server starts: 404 for a moment."""
    api.bodies[PATH] = (200, listing(GOOD))
    expired = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old"}}
    api.watch_body = json.dumps(expired).encode() + b"\n"
    told: queue.SimpleQueue[WatchEvent] = queue.SimpleQueue()
    rules = WatchedResource(PATH, "kube:rules", optional=True)
    watch = ResourceWatch(kube_at(api), rules, told.put)
    watch.start()
    try:
        found = [told.get(timeout=10.0), told.get(timeout=10.0)]
        api.bodies[PATH] = (404, UNKNOWN.encode())
        while not (isinstance(found[-1], SourceState) and not found[-1].connected):
            found.append(told.get(timeout=10.0))
        assert all(each.entries for each in found if isinstance(each, Snapshot))
        monkeypatch.setattr(kube_watch, "_BELIEVED_AFTER", 0.0)
        later = [told.get(timeout=30.0), told.get(timeout=10.0)]
        assert later == [SourceState("kube:rules", connected=True), Snapshot("kube:rules")]
    finally:
        watch.stop()


@pytest.mark.parametrize(
    ("resource", "params"),
    [
        (KubeResource("a", PATH, dict), {}),
        (KubeResource("a", PATH, dict, label_selector="x=y"), {"labelSelector": "x=y"}),
        (
            KubeResource("a", "/api/v1/nodes", dict, local_only=True),
            {"fieldSelector": "metadata.name=n"},
        ),
        (
            KubeResource("a", PATH, dict, local_only=True, field_selector="status.phase=Running"),
            {"fieldSelector": "status.phase=Running,spec.nodeName=n"},
        ),
    ],
)
def test_what_selects_the_objects(resource: KubeResource, params: Mapping[str, str]) -> None:
    assert watched_as(resource, "n").params == params


class Reads:
    """Reads resources, of pods mostly."""

    def __init__(self, *names: str, **fields: Any) -> None:
        self.declared = [KubeResource(name, "/api/v1/pods", _whole, **fields) for name in names]

    @hook
    def resources(self) -> Iterable[KubeResource]:
        return self.declared


def _whole(_: str, found: Any) -> Any:
    return dict(found)


def manager(**plugins: object) -> PluginManager:
    return PluginManager({"mode": SingleTenant(), **plugins})


class Watches:
    """KubeWatches whose watches do nothing by themselves. open: those that run, by their source."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open: dict[str, Any] = {}
        self.begun: list[str] = []
        monkeypatch.setattr(kube_watches, "ResourceWatch", partial(_Watch, self))
        self.inbox, self.ingest, self.world = Inbox(), Ingest(watches_kube=True), World()
        kube: Any = object()  # nobody asks it
        self.watches = KubeWatches(kube, "node1", self.inbox, self.ingest)

    def follow(self, running: PluginManager) -> set[str]:
        """What is watched, but for what the core itself reads."""
        self.running = running
        self.watches.follow(running, sees_all=False)
        return set(self.open) - {"kube:node"}

    def look(self) -> World:
        for event in self.inbox.take():
            self.ingest.absorb(event)
        changes = self.ingest.changes(sample_config(), {}, self.running.resources)
        self.world = self.world.changed(changes)
        return self.world


class _Watch:
    def __init__(self, of: Watches, _: Any, resource: WatchedResource, sink: Any) -> None:
        self.of, self.resource, self.sink = of, resource, sink

    def start(self) -> None:
        self.of.begun.append(self.resource.source)
        self.of.open[self.resource.source] = self

    def stop(self, *, wait: bool) -> None:
        del self.of.open[self.resource.source]


def test_plugins_that_read_the_same_objects_share_a_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    watches = Watches(monkeypatch)
    both = manager(a=Reads("doors"), b=Reads("walls", "local", label_selector=""))
    assert watches.follow(both) == {"kube:doors, kube:walls, kube:local"}
    (watch,) = (each for source, each in watches.open.items() if source != "kube:node")
    assert watch.resource.reader == "a, b"
    watch.sink(Snapshot(watch.resource.source, {"p": Entry({"n": 1})}))
    world = watches.look()
    assert {name: dict(world.settled(name)) for name in both.resources if name != "nodes"} == {
        "doors": {"p": {"n": 1}},
        "walls": {"p": {"n": 1}},
        "local": {"p": {"n": 1}},
        "node": {},
    }
    assert set(world.of(UNSYNCED)) == {"node"}
    watch.sink(RecordChange(watch.resource.source, "p", Entry({"n": [2]})))
    world = watches.look()
    first, second = world.settled("doors")["p"], world.settled("walls")["p"]
    assert first == second == {"n": [2]}
    assert first["n"] is not second["n"]


def test_no_reader_sees_what_another_one_does_to_an_object(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one reads it before the others have got theirs."""
    watches, found = Watches(monkeypatch), []
    watches.follow(manager(a=Reads("doors"), b=Reads("walls")))

    def put(event: WatchEvent) -> None:
        if isinstance(event, RecordChange) and event.entry is not None:
            found.append(dict(event.entry.value))
            event.entry.value["n"] = "changed"

    monkeypatch.setattr(watches.inbox, "put", put)
    (watch,) = (each for source, each in watches.open.items() if source != "kube:node")
    watch.sink(RecordChange(watch.resource.source, "p", Entry({"n": 1})))
    assert found == [{"n": 1}, {"n": 1}]


def test_other_objects_are_another_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    watches = Watches(monkeypatch)
    running = manager(
        a=Reads("all"),
        b=Reads("own", local_only=True),
        c=Reads("some", label_selector="x=y"),
        d=Reads("perhaps", optional=True),
    )
    assert watches.follow(running) == {"kube:all", "kube:own", "kube:some", "kube:perhaps"}


def test_who_comes_later_has_all_listed_and_who_stays_keeps_what_it_knows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watches = Watches(monkeypatch)
    watches.follow(manager(a=Reads("doors")))
    watches.open["kube:doors"].sink(Snapshot("", {"p": Entry({})}))
    watches.look()
    assert watches.follow(manager(a=Reads("doors"), b=Reads("walls"))) == {"kube:doors, kube:walls"}
    world = watches.look()
    assert set(world.of(UNSYNCED)) == {"node", "walls"}
    assert world.settled("doors").keys() == {"p"}
    assert watches.follow(manager(b=Reads("walls"))) == {"kube:walls"}
    assert watches.begun.count("kube:node") == 1


def test_what_one_makes_of_an_object_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    watches = Watches(monkeypatch)

    def broken(_: str, found: Any) -> Any:
        found.clear()
        raise RuntimeError("cannot read pods")

    wrong = Reads()
    wrong.declared = [KubeResource("doors", "/api/v1/pods", broken)]
    watches.follow(manager(a=wrong, b=Reads("walls")))
    (watch,) = (each for source, each in watches.open.items() if source != "kube:node")
    watch.sink(RecordChange("", "p", Entry({"n": 1})))
    with capture_logs():
        world = watches.look()
    assert world.settled("walls") == {"p": {"n": 1}}
    assert world.problems.keys() == {("doors", "p")}


def test_one_name_is_one_plugins_and_both_are_named() -> None:
    told = (
        'plugin b: records named "doors" are declared already, by plugin a, expected another name:'
    )
    with pytest.raises(PluginError, match=told):
        manager(a=Reads("doors"), b=Reads("doors"))
