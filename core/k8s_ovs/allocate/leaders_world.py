"""What does the leader see: the newest snapshot, what it wrote since, what was just deleted?"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from k8s_ovs.allocate.deletions import Deletions
from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.model.world import DELETED, Slot, World
from k8s_ovs.plugin.records import RecordKind
from k8s_ovs.plugin.values import Allocation, Write
from k8s_ovs.reconcile.answers import Answers

__all__ = ["LeadersWorld", "Which"]

#: Kind and key of a record.
Which = tuple[str, str]


class LeadersWorld:
    """The world in which one leader allocates. answers: what plugins have asked about it."""

    def __init__(self, manager: PluginManager, hold_down: float) -> None:
        self.manager = manager
        self.answers = Answers[str](manager.view)
        self._seen = World()
        # What we wrote, and the snapshot may not show yet, all parts of it or some; None: deleted.
        self._ours: dict[Which, tuple[Slot | None, int]] = {}
        self._deletions = Deletions(hold_down)

    @property
    def world(self) -> World:
        return self.answers.world

    def see(self, world: World, touched: Iterable[Which] | None) -> None:
        """Take in the newest snapshot. touched: what may differ from the last one; None: all."""
        if world.revision < self._seen.revision:  # etcd was restored: nobody has deleted anything
            touched = [*_all(world), *_all(self.world)]
            self._seen, self._ours = World(), {}
        elif touched is None or not self._seen.kinds:
            touched = [*_all(world), *_all(self._seen)]
        shown = {w for w, (_, revision) in self._ours.items() if revision < world.revision}
        changed = {*touched, *shown}
        self._note_deletions(world, changed)
        for which in shown:
            del self._ours[which]
        self._seen = world
        slots = {which: self._slot(which) for which in changed}
        self.answers.update({**slots, **self._deleted()}, world.revision)

    def look_at_clock(self) -> None:
        """What was deleted long enough ago is just not there."""
        if self.world.of(DELETED):
            self.answers.update(self._deleted())

    def wrote(self, kind: RecordKind, write: Write, revision: int) -> None:
        """Our own write counts at once. revision: that of the transaction."""
        which = write.kind, write.key
        if write.value is None:
            self._ours[which] = (None, revision)
            self._deletions.note({which: self._seen.slot(*which).settled}, by_leader=True)
        else:
            self._ours[which] = (kind.slot(write.value, revision), revision)
        self.answers.update({which: self._slot(which), **self._deleted()})

    def is_held(self, wanted: Allocation) -> bool:
        """Whether it would write what somebody has just deleted."""
        # A request is explicit, whatever was deleted before.
        if any(self._seen.slot(each.kind, each.key).asked for each in wanted.writes):
            return False
        written = (each for each in wanted.writes if each.value is not None)
        return any(self._deletions.stays_away((each.kind, each.key)) for each in written)

    def _slot(self, which: Which) -> Slot | None:
        if which in self._ours:
            return self._ours[which][0]
        kind, key = which
        found: Slot | None = self._seen.of(kind).get(key)
        return found

    def _note_deletions(self, world: World, changed: Iterable[Which]) -> None:
        """Hold down what somebody else has deleted since the last snapshot."""
        gone: dict[Which, Any] = {}
        for kind, key in changed:
            before: Slot | None = self._seen.of(kind).get(key)
            slot, revision = self._ours.get((kind, key), (before, 0))
            if slot is None or revision < world.revision:
                before = slot
            of_etcd = kind in self.manager.kinds
            if of_etcd and before is not None and key not in world.of(kind):
                gone[kind, key] = before.settled
        self._deletions.note(gone, by_leader=False)
        # What we have deleted may be shown for a moment yet.
        removed = {which for which, (slot, _) in self._ours.items() if slot is None}
        self._deletions.forget(lambda it: it not in removed and it[1] in world.of(it[0]))

    def _deleted(self) -> dict[Which, Slot | None]:
        """What has changed of what was deleted a moment ago."""
        known, now = self.world.of(DELETED), self._deletions.as_slots()
        over = {(DELETED, kind): None for kind in known if (DELETED, kind) not in now}
        return over | {which: slot for which, slot in now.items() if slot != known.get(which[1])}


def _all(world: World) -> Iterable[Which]:
    kinds = world.kinds.items()
    return ((kind, key) for kind, slots in kinds if kind != DELETED for key in slots)
