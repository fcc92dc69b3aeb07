"""All records that a node knows, as one immutable value: a Slot per kind and key.

Records come from etcd, from Kubernetes, and from the core itself (its configuration, its pods).
Their kinds are declared by the hooks `kinds()`, those of the core in builtin/. Not records, though
below the network's Name in etcd too: `status/`, `seen/` and the leader's key (node_status.py).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from attrs import evolve, field, frozen

__all__ = [
    "ASKED",
    "CONFIG",
    "CONNECTED",
    "DELETED",
    "EMPTY",
    "GIVEN",
    "LOCAL_NODE",
    "NODES",
    "PODS",
    "PROBLEM",
    "RESERVED_KINDS",
    "REVISION",
    "SETTLED",
    "SUBNETS",
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
PODS = "pods"
SUBNETS = "subnets"
GIVEN = "given"
#: Which subnet the pods of a node are in, as its daemon says, by the node's name.
USED = "used"
#: Whether the API server's watch of a resource is connected now, by the resource's name.
CONNECTED = "connected"

#: What was deleted a moment ago: for each kind, a `Deleted` by key. Only the leader knows.
DELETED = "deleted"

#: Kinds that the core itself fills, neither from etcd nor from a resource of Kubernetes.
RESERVED_KINDS = frozenset({CONFIG, LOCAL_NODE, PODS, CONNECTED, DELETED})


@frozen
class Deleted:
    """A record that is gone, and what it said. by_leader: the leader itself took it back; else
    somebody meant it to be gone, and it stays away for the hold-down."""

    value: Any
    by_leader: bool


@frozen
class Tag:
    """What records of a kind are found by, beside their keys (see `RecordKind.index`)."""

    value: Hashable


#: Parts of a slot that are read, and change, on their own.
SETTLED, ASKED, PROBLEM, REVISION = "settled", "asked", "problem", "revision"

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
    record is not etcd's. tag, asked_tag: what the two values are indexed by.
    """

    settled: Any = None
    asked: Any = field(default=None, kw_only=True)
    problem: str | None = field(default=None, kw_only=True)
    contradicts: bool = field(default=False, kw_only=True)
    revision: int = field(default=0, kw_only=True)
    tag: Tag | None = field(default=None, kw_only=True)
    asked_tag: Tag | None = field(default=None, kw_only=True)


#: The slot of an unknown key.
EMPTY = Slot()

#: New slots by kind and key; None: nothing is known of that key any more.
Changes = Mapping[tuple[str, str], Slot | None]

_NOTHING: Mapping[str, Slot] = MappingProxyType({})
_NO_KEYS: frozenset[str] = frozenset()


@frozen
class World:
    """All slots, by kind and key.

    revision: etcd's revision up to which all changes are in it. tagged: keys by kind, tag and the
    part that has it. problems: why records are quarantined, by kind and key.
    """

    kinds: Mapping[str, Mapping[str, Slot]] = field(factory=dict)
    revision: int = 0
    tagged: Mapping[tuple[str, Tag, str], frozenset[str]] = field(factory=dict, eq=False)
    problems: Mapping[tuple[str, str], str] = field(factory=dict, eq=False)

    def of(self, kind: str) -> Mapping[str, Slot]:
        """The slots of a kind, by key."""
        return self.kinds.get(kind, _NOTHING)

    def slot(self, kind: str, key: str) -> Slot:
        """What is known of a key."""
        return self.of(kind).get(key, EMPTY)

    def settled(self, kind: str) -> dict[str, Any]:
        """The settled values of a kind, by key."""
        return {key: s.settled for key, s in self.of(kind).items() if s.settled is not None}

    def keys_of(self, kind: str, tag: Tag, part: str) -> frozenset[str]:
        """Keys of the slots of `kind` in which `part` has `tag`."""
        return self.tagged.get((kind, tag, part), _NO_KEYS)

    def changed(self, changes: Changes, revision: int | None = None) -> World:
        """This world after `changes`, which are known up to `revision`; None: as far as before."""
        touched = {kind: dict(self.of(kind)) for kind in {kind for kind, _ in changes}}
        tagged, problems = dict(self.tagged), dict(self.problems)
        for (kind, key), slot in changes.items():
            for which in _tags(kind, touched[kind].pop(key, EMPTY)):
                tagged[which] = tagged.get(which, _NO_KEYS) - {key}
            problems.pop((kind, key), None)
            if slot is None:
                continue
            touched[kind][key] = slot
            if slot.problem is not None:
                problems[kind, key] = slot.problem
            for which in _tags(kind, slot):
                tagged[which] = tagged.get(which, _NO_KEYS) | {key}
        return evolve(
            self,
            kinds={**self.kinds, **touched},
            revision=self.revision if revision is None else revision,
            tagged={which: keys for which, keys in tagged.items() if keys},
            problems=problems,
        )


def reads_of(kind: str, key: str, before: Slot | None, after: Slot | None) -> Iterator[Read]:
    """The reads whose answer this change may change."""
    old, new = before or EMPTY, after or EMPTY
    parts = (
        (SETTLED, (old.settled, old.tag), (new.settled, new.tag)),
        (ASKED, (old.asked, old.asked_tag), (new.asked, new.asked_tag)),
        (PROBLEM, (old.problem, None), (new.problem, None)),
        (REVISION, (old.revision, None), (new.revision, None)),
    )
    for part, (was, was_tag), (now, now_tag) in parts:
        if was != now or was_tag != now_tag:
            yield (kind, key, part)
            yield (kind, None, part)
            yield from ((kind, tag, part) for tag in {was_tag, now_tag} if tag is not None)


def _tags(kind: str, slot: Slot) -> Iterator[tuple[str, Tag, str]]:
    if slot.tag is not None:
        yield kind, slot.tag, SETTLED
    if slot.asked_tag is not None:
        yield kind, slot.asked_tag, ASKED
