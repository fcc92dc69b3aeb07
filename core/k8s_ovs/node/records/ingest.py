"""From watch events to slots: what observers say becomes changes of the world.

A record that is invalid is quarantined: its slot says why, and keeps the last settled value.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from functools import partial

from k8s_ovs.errors import InvalidRecord, is_ctrl_c
from k8s_ovs.memory import give_back_memory
from k8s_ovs.model.codec import decode
from k8s_ovs.model.network import NetworkConfig
from k8s_ovs.node.records.exclusive import ExclusiveKind
from k8s_ovs.node.records.left_out import CONFIG_KEY
from k8s_ovs.node.records.outcome import Contradiction, Outcome, Valid
from k8s_ovs.node.records.settled import Changes, Settled
from k8s_ovs.node.records.sources import ETCD, KUBE, Sources
from k8s_ovs.observe.etcd.history import EtcdHistory
from k8s_ovs.observe.watch_event import AnyEntry, RecordChange, Snapshot, SourceState, WatchEvent
from k8s_ovs.plugin.records import KubeResource, RecordKind, tags_of

__all__ = ["ETCD", "KUBE", "Changes", "Ingest"]

#: Seconds after which a plugin is asked again about a record where it did not answer.
_ASK_AGAIN = 60.0

_Which = tuple[str, str]


class Ingest:
    """Says what changes in the world. It keeps etcd's records as they are written, and of the
    objects of Kubernetes, which are large, what plugins read in them.

    watches_kube: each resource of Kubernetes that plugins read is awaited.
    """

    def __init__(self, *, watches_kube: bool = False) -> None:
        self._records: dict[str, AnyEntry] = {}
        self._touched: set[str] = set()
        # By source, objects that are new or changed, and not read yet; None: gone.
        self._objects: dict[str, dict[str, AnyEntry | None]] = {}
        self._sources = Sources(watches_kube=watches_kube)
        self._was_listed = False
        self._forgotten: set[str] = set()
        self._sees_all = self._saw_all = True
        # Of etcd, what was overwritten since the last `changes`, oldest first.
        self._passed: dict[str, list[AnyEntry]] = {}
        self._decoded: dict[str, dict[str, Outcome]] = {}
        # Read before, and to be told again.
        self._again: set[_Which] = set()
        self._exclusives: dict[str, ExclusiveKind] = {}
        # Records about which a plugin did not answer, by source and path, and when to ask again.
        self._passing: dict[tuple[str, str], tuple[float, AnyEntry]] = {}
        self._settled = Settled()
        self._config_entry: AnyEntry | None = None
        self._config: tuple[NetworkConfig | None, str] = (None, "")
        self._history = EtcdHistory(CONFIG_KEY)
        self.revision = 0

    @property
    def sources(self) -> Mapping[str, SourceState]:
        """The last state of each source."""
        return self._sources.states

    def synced(self, source: str) -> bool:
        """Whether this source has sent a snapshot at least once."""
        return self._sources.synced(source)

    def connected(self, source: str) -> bool:
        """Whether this source is synced, and its watch connected now."""
        return self._sources.connected(source)

    def cluster_connected(self, resources: Iterable[KubeResource]) -> bool:
        """Whether etcd is visible, with its configuration, and each resource that is watched for
        the whole cluster: no record of another host depends on what is watched of this one alone.

        What the API server refuses to show is missing to the plugins that look at it, and to
        nobody else.
        """
        if self._history.frozen:
            return False
        sources = [ETCD, *(KUBE + each.name for each in resources if not each.local_only)]
        return all(self.connected(each) or self._sources.refused(each) for each in sources)

    @property
    def pending(self) -> bool:
        """Whether something came that `changes` has not told yet."""
        return bool(self._touched) or any(self._objects.values())

    def absorb(self, event: WatchEvent) -> None:
        """Take in a watch event; `changes` says what follows from it."""
        if event.source in self._forgotten:
            return
        if isinstance(event, SourceState):
            self._sources.states[event.source] = event
        elif event.source == ETCD:
            for each in self._history.take(event):
                self._absorb(each)
            if self._history.frozen:  # nothing of what is in this etcd is in force
                self.revision = 0
        else:
            self._absorb(event)

    def lost(self, kinds: Mapping[str, RecordKind]) -> dict[str, bytes]:
        """Records that etcd has lost, and that the leader is to put back: values by path."""
        if self._history.frozen:
            return {}
        lasting = {name for name, kind in kinds.items() if not kind.leased}
        lost = self._history.lost.items()
        return {path: entry.value for path, entry in lost if _parts(path)[1] in lasting}

    def has(self, path: str) -> bool:
        """Whether etcd itself has a record now: what it has lost counts, and is not there."""
        return path in self._history.there

    def see(self, *, all_kinds: bool) -> None:
        """Whether to read also what only allocations look at."""
        self._sees_all = all_kinds

    def record(self, path: str) -> AnyEntry | None:
        """What counts of a record, as it is written."""
        return self._records.get(path)

    def expect(self, source: str) -> None:
        """A resource of Kubernetes is watched from now on."""
        self._forgotten.discard(source)

    def forget(self, source: str) -> None:
        """It is watched no more: its objects are not known, and what still comes does not count."""
        self._forgotten.add(source)
        self._sources.forget(source)
        known = self._decoded.get(source.removeprefix(KUBE), {})
        self._objects[source] = dict.fromkeys(known)
        self._passing = {which: due for which, due in self._passing.items() if which[0] != source}

    def _absorb(self, event: Snapshot | RecordChange) -> None:
        if isinstance(event, Snapshot):
            self._sources.note_list(event.source)
            self._was_listed = True
        if event.source != ETCD:
            self._absorb_objects(event)
        elif isinstance(event, Snapshot):
            old, new = self._records, dict(event.entries)
            self._touched |= {
                key for key in old.keys() | new.keys() if old.get(key) != new.get(key)
            }
            self._records = new
            self._passed.clear()
            self.revision = event.revision
        else:
            self._change(event)
            self.revision = max(self.revision, event.revision)

    def _absorb_objects(self, event: Snapshot | RecordChange) -> None:
        objects = self._objects.setdefault(event.source, {})
        if isinstance(event, Snapshot):
            known = self._decoded.get(event.source.removeprefix(KUBE), {})
            objects.update(dict.fromkeys([*objects, *known]))
            objects.update(event.entries)
        else:
            objects[event.key] = event.entry

    def config(self) -> tuple[NetworkConfig | None, str]:
        """The configuration as etcd has it now; None: absent or invalid, then with the reason."""
        entry = self._records.get(CONFIG_KEY)
        if entry is None or self._history.frozen:
            return None, f'the key "{CONFIG_KEY}" does not exist'
        if entry is not self._config_entry:
            self._config_entry = entry
            try:
                self._config = decode(NetworkConfig, CONFIG_KEY, entry.value), ""
            except InvalidRecord as error:
                self._config = None, str(error)
        return self._config

    def restart(self, kept: Iterable[str] = (), *, same_network: bool = False) -> None:
        """Tell every record again, into an empty world: another configuration or set of plugins.

        kept: resources that the same plugin reads as before; the others must be listed again.
        same_network: records that etcd has lost are still of use.
        """
        for each in self._history.end_hold(ETCD, now=not same_network):
            self._absorb(each)
        self._decoded = {name: self._decoded[name] for name in kept if name in self._decoded}
        self._again = {(name, key) for name, found in self._decoded.items() for key in found}
        gone = self._sources.restart(kept)
        for source in gone:
            self._objects.pop(source, None)
        self._passing = {which: due for which, due in self._passing.items() if which[0] not in gone}
        self._exclusives.clear()
        self._settled.clear()
        self._touched.update(self._records)

    def changes(
        self,
        config: NetworkConfig,
        kinds: Mapping[str, RecordKind],
        resources: Mapping[str, KubeResource],
    ) -> Changes:
        """What has changed since the last call."""
        self._end_waiting()
        changes: Changes = {}
        dirty, self._again = {each for each in self._again if each[0] in resources}, set()
        dirty |= self._read_records(changes, config, kinds)
        dirty |= self._read_objects(config, resources)
        outcomes: dict[_Which, Outcome] = {
            (kind, key): self._decoded[kind].get(key) for kind, key in dirty
        }
        changes |= self._sources.changes(resources)
        for which, outcome in outcomes.items():
            if which[0] in resources or not kinds[which[0]].exclusive:
                self._settled.settle(changes, which, outcome, at=self._revision_at(config, *which))
        for name in {kind for kind, _ in dirty if kind in kinds and kinds[kind].exclusive}:
            keys = {key for kind, key in dirty if kind == name}
            self._settle_exclusive(changes, config, kinds[name], keys)
        if self._was_listed:
            self._was_listed = False
            give_back_memory()
        return changes

    def _read_records(
        self, changes: Changes, config: NetworkConfig, kinds: Mapping[str, RecordKind]
    ) -> set[_Which]:
        """Read what was written to etcd; which records that were. What was valid for a moment is
        the last settled value of what asks or is invalid: that is in `changes` at once."""
        if self._sees_all is not self._saw_all:
            self._touched.update(path for path in self._records if _for_allocation(path, kinds))
            self._saw_all = self._sees_all
        touched, self._touched = self._touched, set()
        passed, self._passed = self._passed, {}
        dirty: set[_Which] = set()
        for path in touched:
            name, word, key = _parts(path)
            kind = kinds.get(word)
            if name != config.name or not key or kind is None or not self._concerns(kind, key):
                continue
            which = kind.name, key  # one string for all of a kind
            for entry in passed.get(path, ()) if not kind.exclusive else ():
                self._decode(config, kind, key, path, entry)
                earlier = self._decoded[kind.name].get(key)
                self._settled.settle(changes, which, earlier, at=entry.revision)
            found = self._records.get(path) if self._is_read(kind) else None
            self._decode(config, kind, key, path, found)
            dirty.add(which)
        return dirty

    def _read_objects(
        self, config: NetworkConfig, resources: Mapping[str, KubeResource]
    ) -> set[_Which]:
        """Read what the API server has told; which objects that were."""
        dirty: set[_Which] = set()
        for name, resource in resources.items():
            for key, entity in self._objects.pop(KUBE + name, {}).items():
                self._decode(config, resource, key, key, entity)
                dirty.add((name, key))
        return dirty

    def _is_read(self, kind: RecordKind) -> bool:
        return self._sees_all or not kind.for_allocation

    def _concerns(self, kind: RecordKind, key: str) -> bool:
        """Whether it is read, or was and is to be forgotten."""
        return self._is_read(kind) or key in self._decoded.get(kind.name, {})

    def _revision_at(self, config: NetworkConfig, kind: str, key: str) -> int:
        found = self._records.get(f"{config.name}/{kind}/{key}")
        return found.revision if found else 0

    def _settle_exclusive(
        self, changes: Changes, config: NetworkConfig, kind: RecordKind, dirty: set[str]
    ) -> None:
        """What no longer holds what it held may make others valid."""
        while dirty:
            outcomes = self._exclusive(kind, dirty)
            before = {key: self._settled.value(kind.name, key) for key in outcomes}
            for key, outcome in outcomes.items():
                at = self._revision_at(config, kind.name, key)
                self._settled.settle(changes, (kind.name, key), outcome, at)
            dirty = {
                key
                for key, value in before.items()
                if value is not None and self._settled.value(kind.name, key) is not value
            }

    def _end_waiting(self) -> None:
        """What is to be looked at now, as the time for it has come."""
        for each in self._history.end_hold(ETCD):
            self._absorb(each)
        now = time.monotonic()
        for which in [each for each, (due, _) in self._passing.items() if due <= now]:
            (source, path), (_, entry) = which, self._passing.pop(which)
            if source == ETCD:
                self._touched.add(path)
            else:
                self._objects.setdefault(source, {}).setdefault(path, entry)

    def _decode(
        self,
        config: NetworkConfig,
        kind: RecordKind | KubeResource,
        key: str,
        path: str,
        entry: AnyEntry | None,
    ) -> None:
        decoded = self._decoded.setdefault(kind.name, {})
        self._passing.pop((_source(kind), path), None)
        if entry is None:
            decoded.pop(key, None)
            return
        try:
            value = kind.decode(path, entry.value)
            if value is None:  # nobody's business, as if it did not exist
                decoded.pop(key, None)
                return
            asks = False
            if isinstance(kind, RecordKind):
                asks = kind.asks is not None and kind.asks(value)
                if kind.holds is not None:
                    kind.holds(value)  # what cannot be judged is set aside before it is used
                if kind.check and not asks and (text := kind.check(config, key, value)):
                    decoded[key] = Contradiction(f"{kind.name}/{key}: {text}")
                    return
            decoded[key] = Valid(value, entry.revision, tags_of(kind.indexes, value), asks)
        except InvalidRecord as error:
            decoded[key] = str(error)
            if error.passing:
                self._ask_again(kind, path, entry)
        except BaseException as error:  # our fault: this record alone is set aside
            if is_ctrl_c(error):
                raise
            decoded[key] = self._settled.fault(f"{kind.name}/{key}", error)

    def _ask_again(self, kind: RecordKind | KubeResource, path: str, entry: AnyEntry) -> None:
        """A plugin did not answer: it is asked about this record once more, later."""
        self._passing[_source(kind), path] = (time.monotonic() + _ASK_AGAIN, entry)

    def _exclusive(self, kind: RecordKind, dirty: Iterable[str]) -> dict[str, Outcome]:
        """What becomes of the records under the `dirty` keys of a kind that must not overlap, and
        of those that these touch."""
        if kind.name not in self._exclusives:
            assert kind.holds is not None  # noqa: S101 - a kind says so when it is made
            settled = partial(self._settled.value, kind.name)
            self._exclusives[kind.name] = ExclusiveKind(kind.holds, settled)
        found = self._decoded.get(kind.name, {})
        near, wrong = self._exclusives[kind.name].contradictions(dirty, found)
        outcomes: dict[str, Outcome] = {key: found.get(key) for key in near}
        for key, (held, other) in wrong.items():
            if isinstance(found.get(key), Valid):
                outcomes[key] = Contradiction(
                    f"{kind.name}/{key}: {kind.exclusive}: found {held}, expected one that does "
                    f"not overlap {other.held} of {other.key}"
                )
        return outcomes

    def _change(self, event: RecordChange) -> None:
        before = self._records.get(event.key)
        if before is not None and event.key in self._touched:
            self._passed.setdefault(event.key, []).append(before)
        if event.entry is None:
            self._records.pop(event.key, None)
            self._passed.pop(event.key, None)
        else:
            self._records[event.key] = event.entry
        self._touched.add(event.key)


def _source(kind: RecordKind | KubeResource) -> str:
    return ETCD if isinstance(kind, RecordKind) else KUBE + kind.name


def _for_allocation(path: str, kinds: Mapping[str, RecordKind]) -> bool:
    kind = kinds.get(_parts(path)[1])
    return kind is not None and kind.for_allocation


def _parts(path: str) -> tuple[str, str, str]:
    """Of a path below the prefix: the network's name, the kind, the key; "" for what it lacks."""
    name, _, rest = path.partition("/")
    kind, _, key = rest.partition("/")
    return name, kind, key
