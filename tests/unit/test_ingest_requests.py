"""What counts of a record that asks for something, until it has its answer?"""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.model.world import Slot, World
from k8s_ovs.node.records.ingest import ETCD, Changes, Ingest
from k8s_ovs.observe.watch_event import Entry, RecordChange, Snapshot, WatchEvent
from k8s_ovs.plugin import RecordKind, hook
from k8s_ovs.plugin.view import View
from k8s_ovs_subnet import SingleTenant
from k8s_ovs_testing.world import sample_config

CONFIG = sample_config()
MANAGER = PluginManager({"k8s-ovs-subnet": SingleTenant()})


def written(data: bytes | None, revision: int) -> RecordChange:
    """The one record of these tests as it is written; None: it is deleted."""
    entry = None if data is None else Entry(data, revision)
    return RecordChange(ETCD, "k8ssdn/audits/a", entry, revision)


def asking() -> dict[str, RecordKind]:
    """A kind whose records may ask for something."""
    audits = RecordKind(
        "audits", lambda _, data: int(data), lambda value: b"", asks=lambda v: 1 / v < 0
    )
    plugins: dict[str, object] = {"k8s-ovs-subnet": SingleTenant(), "acme": Declaring(audits)}
    return PluginManager(plugins).kinds


class Declaring:
    def __init__(self, kind: RecordKind) -> None:
        self.kind = kind

    @hook
    def kinds(self) -> Iterable[RecordKind]:
        return [self.kind]


def test_a_record_that_asks_counts_for_nothing_else_until_it_is_answered() -> None:
    ingest, kinds = Ingest(), asking()

    def told(data: bytes | None, revision: int) -> Changes:
        ingest.absorb(written(data, revision))
        return ingest.changes(CONFIG, kinds, {})

    assert told(b"1", 1) == {("audits", "a"): Slot(1, revision=1)}
    assert told(b"-1", 2) == {("audits", "a"): Slot(1, asked=-1, revision=2)}
    assert told(b"2", 3) == {("audits", "a"): Slot(2, revision=3)}
    told(b"-1", 4)
    spoilt = told(b"?", 5)["audits", "a"]
    assert spoilt is not None
    assert (spoilt.settled, spoilt.asked, spoilt.revision) == (2, None, 5)
    assert spoilt.problem
    told(b"-1", 6)
    assert told(None, 7) == {("audits", "a"): None}


def test_while_it_is_not_answered_all_that_is_written_counts_by_its_newest_revision() -> None:
    ingest, kinds, world = Ingest(), asking(), World()

    def see(event: WatchEvent) -> View:
        nonlocal world
        ingest.absorb(event)
        world = world.changed(ingest.changes(CONFIG, kinds, {}), ingest.revision)
        return MANAGER.view(world)

    view = see(written(b"-1", 1))
    assert (view.get("audits", "a"), view.request("audits", "a")) == (None, -1)
    assert view.revision("audits", "a") == 1
    see(written(b"1", 2))
    view = see(written(b"-2", 3))
    assert (view.get("audits", "a"), view.request("audits", "a")) == (1, -2)
    assert view.revision("audits", "a") == 3
    view = see(written(b"?", 4))
    assert (view.get("audits", "a"), view.request("audits", "a")) == (1, None)
    assert view.revision("audits", "a") == 4
    # A gap in what is seen: the answer and the next request are seen as one.
    gap = Snapshot(ETCD, {"k8ssdn/audits/a": Entry(b"-3", 8)}, 9)
    view = see(gap)
    assert (view.get("audits", "a"), view.request("audits", "a")) == (1, -3)
    view = see(Snapshot(ETCD, {}, 10))
    assert (view.get("audits", "a"), view.request("audits", "a")) == (None, None)
    assert view.revision("audits", "a") == 0


@pytest.mark.parametrize("last", [b"-1", b"?"])
def test_what_was_good_between_two_looks_is_the_last_valid_one(last: bytes) -> None:
    ingest, kinds = Ingest(), asking()
    ingest.absorb(written(b"1", 1))
    ingest.changes(CONFIG, kinds, {})
    for data, revision in ((b"-5", 2), (b"2", 3), (last, 4)):
        ingest.absorb(written(data, revision))
    world = World().changed(ingest.changes(CONFIG, kinds, {}), 4)
    assert world.slot("audits", "a").settled == 2
    assert world.slot("audits", "a").revision == 4
    for change in (written(b"3", 5), written(None, 6)):
        ingest.absorb(change)
    ingest.absorb(written(last, 7))
    world = world.changed(ingest.changes(CONFIG, kinds, {}), 7)
    assert world.slot("audits", "a").settled == 2, "as after a gap: it was not seen to go"


def test_after_a_restart_what_asks_is_told_again() -> None:
    ingest, kinds = Ingest(), asking()
    ingest.absorb(written(b"1", 1))
    ingest.changes(CONFIG, kinds, {})
    ingest.absorb(written(b"-1", 2))
    ingest.changes(CONFIG, kinds, {})
    ingest.restart()
    assert ingest.changes(CONFIG, kinds, {}) == {("audits", "a"): Slot(asked=-1, revision=2)}


def test_a_kind_that_raises_on_a_value_sets_the_record_aside() -> None:
    ingest = Ingest()
    ingest.absorb(written(b"0", 4))
    (slot,) = ingest.changes(CONFIG, asking(), {}).values()
    assert slot == Slot(problem=slot.problem, revision=4)
    assert slot.problem.startswith(
        "plugin acme cannot judge 0: ZeroDivisionError('division by zero') ("
    )
