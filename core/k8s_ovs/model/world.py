"""All records that a node knows, as one immutable value: a Slot per kind and key.

Records come from etcd, from Kubernetes, and from the core itself (its configuration, its pods).
Their kinds are declared by the hooks `kinds()`, those of the core in builtin/. Not records, though
below the network's Name in etcd too: `status/`, `seen/` and the leader's key (node_status.py).
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from attrs import field, frozen

from k8s_ovs.model.persistent_map import PersistentMap

__all__ = [
    "ASKED",
    "CONFIG",
    "CONNECTED",
    "DELETED",
    "EMPTY",
    "GIVEN",
    "LOCAL_NODE",
    "NODES",
    "OWN_NODE",
    "PODS",
    "PROBLEM",
    "RESERVED_KINDS",
    "REVISION",
    "SETTLED",
    "SLOT",
    "SUBNETS",
    "UNSYNCED",
    "USED",
    "Changes",
    "Deleted",
    "Read",
    "Slot",
    "Tag",
    "World",
    "reads_of",
]

CONFIG = "config"
LOCAL_NODE = "local-node"
NODES = "nodes"
#: Of Kubernetes' Nodes, this node's own.
OWN_NODE = "node"
PODS = "pods"
SUBNETS = "subnets"
GIVEN = "given"
#: Which subnet the pods of a node are in, as its daemon says, by the node's name.
USED = "used"
#: Whether the API server's watch of a resource is connected now, by the resource's name.
CONNECTED = "connected"
#: Resources of Kubernetes of which this node has had no list yet, by name: what is known of their
#: objects is not that there are none.
UNSYNCED = "unsynced"

#: What was deleted a moment ago: for each kind, a `Deleted` by key. Only the leader knows.
DELETED = "deleted"

#: Kinds that the core itself fills, neither from etcd nor from a resource of Kubernetes.
RESERVED_KINDS = frozenset({CONFIG, LOCAL_NODE, PODS, CONNECTED, UNSYNCED, DELETED})


@frozen
class Deleted:
    """A record that is gone, and what it said. by_leader: the leader itself took it back; else
    somebody meant it to be gone, and it stays away for the hold-down."""

    value: Any
    by_leader: bool


class Tag(NamedTuple):
    """What records of a kind are found by, beside their keys: a value of one of the kind's indexes
    (see `RecordKind.indexes`)."""

    name: str
    value: Hashable


#: Parts of a slot that are read, and change, on their own; and all of it.
SETTLED, ASKED, PROBLEM, REVISION, SLOT = "settled", "asked", "problem", "revision", "slot"

#: (kind, key, part) of a slot that was read; a Tag for the key: all slots in which that part has
#: it; None: all of that kind.
Read = tuple[str, str | Tag | None, str]


@frozen
class Slot:
    """What a node knows of one key.

    settled: the last valid value, which counts; None: there has been none. asked: a value that
    asks the allocator for something and is not answered yet (see `RecordKind.asks`). problem: why
    what is written there now is invalid. contradicts: it can be read, and contradicts other
    records. revision: etcd's mod_revision of what is written there now; 0: nothing is, or the
    record is not etcd's. tags, asked_tags: what the two values are found by.
    """

    settled: Any = None
    asked: Any = field(default=None, kw_only=True)
    problem: str | None = field(default=None, kw_only=True)
    contradicts: bool = field(default=False, kw_only=True)
    revision: int = field(default=0, kw_only=True)
    tags: tuple[Tag, ...] = field(default=(), kw_only=True)
    asked_tags: tuple[Tag, ...] = field(default=(), kw_only=True)


#: The slot of an unknown key.
EMPTY = Slot()

#: New slots by kind and key; None: nothing is known of that key any more.
Changes = Mapping[tuple[str, str], Slot | None]

_NO_SLOTS: PersistentMap[str, Slot] = PersistentMap()
_NO_VALUES: PersistentMap[str, Any] = PersistentMap()

#: With so many records a tag has a map of its own; most are of one.
_FEW = 8

#: A tag of a kind's slots, and the part that has it.
_Tagged = tuple[str, Tag, str]


@frozen
class World:
    """All slots, by kind and key. A change costs by what it changes: the maps share the rest.

    revision: etcd's revision up to which all changes are in it. values: settled ones, by kind and
    key. tagged: keys by kind, tag and the part that has it. problems: why records are quarantined,
    by kind and key.
    """

    kinds: Mapping[str, PersistentMap[str, Slot]] = field(factory=dict)
    revision: int = 0
    values: Mapping[str, PersistentMap[str, Any]] = field(factory=dict, eq=False)
    tagged: PersistentMap[_Tagged, Collection[str]] = field(factory=PersistentMap, eq=False)
    problems: PersistentMap[tuple[str, str], str] = field(factory=PersistentMap, eq=False)

    def of(self, kind: str) -> PersistentMap[str, Slot]:
        """The slots of a kind, by key."""
        return self.kinds.get(kind, _NO_SLOTS)

    def slot(self, kind: str, key: str) -> Slot:
        """What is known of a key."""
        found: Slot = self.of(kind).get(key, EMPTY)
        return found

    def settled(self, kind: str) -> PersistentMap[str, Any]:
        """The settled values of a kind, by key."""
        return self.values.get(kind, _NO_VALUES)

    def keys_of(self, kind: str, tag: Tag, part: str) -> Iterable[str]:
        """Keys of the slots of `kind` in which `part` has `tag`."""
        found: Iterable[str] = self.tagged.get((kind, tag, part), ())
        return found

    def changed(self, changes: Changes, revision: int | None = None) -> World:
        """This world after `changes`, which are known up to `revision`; None: as far as before."""
        slots: dict[str, dict[str, Slot | None]] = {}
        values: dict[str, dict[str, Any]] = {}
        problems: dict[tuple[str, str], str | None] = {}
        tagged: dict[_Tagged, dict[str, bool | None]] = {}
        for (kind, key), slot in changes.items():
            before, after = self.slot(kind, key), slot or EMPTY
            slots.setdefault(kind, {})[key] = slot
            values.setdefault(kind, {})[key] = after.settled
            problems[kind, key] = after.problem
            for part, had, has in _tags_of_parts(before, after):
                for tag in had:
                    tagged.setdefault((kind, tag, part), {})[key] = None
                for tag in has:
                    tagged.setdefault((kind, tag, part), {})[key] = True
        keys = {tag: _keys_after(self.tagged.get(tag, ()), new) for tag, new in tagged.items()}
        of_kinds = {kind: self.of(kind).changed(new) for kind, new in slots.items()}
        settled = {kind: self.settled(kind).changed(new) for kind, new in values.items()}
        return World(
            kinds={**self.kinds, **of_kinds},
            revision=self.revision if revision is None else revision,
            values={**self.values, **settled},
            tagged=self.tagged.changed({tag: each or None for tag, each in keys.items()}),
            problems=self.problems.changed(problems),
        )


def reads_of(kind: str, key: str, before: Slot | None, after: Slot | None) -> Iterator[Read]:
    """The reads whose answer this change may change."""
    old, new = before or EMPTY, after or EMPTY
    if old == new:
        return
    yield (kind, key, SLOT)
    yield (kind, None, SLOT)
    no_tags: tuple[Tag, ...] = ()
    parts = (
        (SETTLED, (old.settled, old.tags), (new.settled, new.tags)),
        (ASKED, (old.asked, old.asked_tags), (new.asked, new.asked_tags)),
        (PROBLEM, (old.problem, no_tags), (new.problem, no_tags)),
        (REVISION, (old.revision, no_tags), (new.revision, no_tags)),
    )
    for part, (was, had), (now, has) in parts:
        if was != now or had != has:
            yield (kind, key, part)
            yield (kind, None, part)
            yield from ((kind, tag, part) for tag in {*had, *has})


def _tags_of_parts(
    before: Slot, after: Slot
) -> tuple[tuple[str, tuple[Tag, ...], tuple[Tag, ...]], ...]:
    """Of each part whose tags are other ones: its name, what it had, and what it has."""
    parts = (
        (SETTLED, before.tags, after.tags),
        (ASKED, before.asked_tags, after.asked_tags),
    )
    return tuple(each for each in parts if each[1] != each[2])


def _keys_after(keys: Collection[str], changes: Mapping[str, bool | None]) -> Collection[str]:
    """Keys with a tag after some got it, or lost it (None)."""
    if isinstance(keys, PersistentMap):
        return keys.changed(changes)
    after = {**dict.fromkeys(keys, True), **changes}
    has = {key: True for key, kept in after.items() if kept}
    return tuple(has) if len(has) <= _FEW else PersistentMap(has)
