"""Facts to records: what observers say becomes changes of the world.

A record that cannot be read is quarantined: reported under QUARANTINE, its last good value stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import structlog
from attrs import frozen

from k8s_ovs.errors import InvalidRecord
from k8s_ovs.model.codec import decode
from k8s_ovs.model.network import NetworkConfig
from k8s_ovs.model.subnet import subnet_problems
from k8s_ovs.observe.watch_event import Entry, RecordChange, Snapshot, SourceState, WatchEvent
from k8s_ovs.plugin.hooks import KubeResource, RecordKind
from k8s_ovs.plugin.view import CONNECTED, QUARANTINE, REQUESTS, SUBNETS, Record

__all__ = ["ETCD", "KUBE", "Changes", "Ingest"]

#: Sources of facts: etcd's prefix, and "kube:<name of the resource>".
ETCD = "etcd"
KUBE = "kube:"

_CONFIG_KEY = "config"

Changes = dict[tuple[str, str], Record | None]

_log = structlog.get_logger(__name__)


@frozen
class _Request:
    """A record that asks for something."""

    record: Record


#: What an entry comes to: a record, one that asks for something, why it is none; None: it is gone.
_Outcome = Record | _Request | str | None


class Ingest:
    """Keeps the raw entries of every source and says what changes in the world."""

    def __init__(self) -> None:
        self._entries: dict[str, dict[str, Entry]] = {}
        self._touched: dict[str, set[str]] = {}
        # Of etcd, what was overwritten since the last `changes`, oldest first.
        self._passed: dict[str, list[Entry]] = {}
        self._requested: set[tuple[str, str]] = set()
        self._quarantine: dict[tuple[str, str], Record] = {}
        self._decoded: dict[str, dict[str, Record | _Request | str]] = {}
        self._good: dict[str, dict[str, Record]] = {}
        self._config_entry: Entry | None = None
        self._config: tuple[NetworkConfig | None, str] = (None, "")
        self.revision = 0
        self.sources: dict[str, SourceState] = {}
        self._told_connected: dict[str, bool] = {}

    def synced(self, source: str) -> bool:
        """Whether this source has told its whole picture at least once."""
        return source in self._entries

    def connected(self, source: str) -> bool:
        """Whether the picture of this source is a whole one and kept up to date now."""
        return self.synced(source) and source in self.sources and self.sources[source].connected

    def cluster_connected(self, resources: Iterable[KubeResource]) -> bool:
        """Whether etcd is visible, and each resource that is watched for the whole cluster: no
        record of another host depends on what is watched of this one alone."""
        sources = [ETCD, *(KUBE + each.name for each in resources if not each.local_only)]
        return all(self.connected(source) for source in sources)

    def absorb(self, event: WatchEvent) -> None:
        """Note a fact; `changes` says what follows from it."""
        if isinstance(event, SourceState):
            self._note_state(event)
            return
        entries = self._entries.setdefault(event.source, {})
        touched = self._touched.setdefault(event.source, set())
        if isinstance(event, Snapshot):
            new = dict(event.entries)
            touched |= {
                key for key in entries.keys() | new.keys() if entries.get(key) != new.get(key)
            }
            self._entries[event.source] = new
            if event.source == ETCD:
                self._passed.clear()
        else:
            self._change(entries, touched, event)
        if event.source == ETCD:
            self.revision = max(self.revision, event.revision)

    def config(self) -> tuple[NetworkConfig | None, str]:
        """The configuration as etcd has it now; None: absent or invalid, then with the reason."""
        entry = self._entries.get(ETCD, {}).get(_CONFIG_KEY)
        if entry is None:
            return None, f'the key "{_CONFIG_KEY}" is not there'
        if entry is not self._config_entry:
            self._config_entry = entry
            try:
                self._config = decode(NetworkConfig, _CONFIG_KEY, entry.value), ""
            except InvalidRecord as error:
                self._config = None, str(error)
        return self._config

    def restart(self) -> None:
        """Read every record again into an empty world: another configuration or set of plugins."""
        self._decoded.clear()
        self._good.clear()
        self._quarantine.clear()
        self._requested.clear()
        self._told_connected.clear()
        for source, entries in self._entries.items():
            self._touched.setdefault(source, set()).update(entries)

    def changes(
        self,
        config: NetworkConfig,
        kinds: Mapping[str, RecordKind],
        resources: Mapping[str, KubeResource],
    ) -> Changes:
        """What has changed since the last call."""
        touched, self._touched = self._touched, {}
        passed, self._passed = self._passed, {}
        dirty: set[tuple[str, str]] = set()
        changes: Changes = {}
        for path in touched.get(ETCD, ()):
            name, _, rest = path.partition("/")
            kind, _, key = rest.partition("/")
            if name == config.name and key and kind in kinds:
                # What was good for a moment is the last good one of what asks or cannot be read.
                for entry in passed.get(path, ()) if kind != SUBNETS else ():
                    self._decode(kinds[kind], key, path, entry)
                    earlier = self._decoded[kind][key]
                    self._settle(changes, (kind, key), earlier, at=entry.revision)
                self._decode(kinds[kind], key, path, self._entries[ETCD].get(path))
                dirty.add((kind, key))
        for name, resource in resources.items():
            for key in touched.get(KUBE + name, ()):
                self._decode(resource, key, key, self._entries[KUBE + name].get(key))
                dirty.add((name, key))
        outcomes = {(kind, key): self._decoded[kind].get(key) for kind, key in dirty}
        if any(kind == SUBNETS for kind, _ in dirty):
            outcomes |= self._checked_subnets(config)
        changes |= self._connection_changes(resources)
        for which, outcome in outcomes.items():
            found = self._entries.get(ETCD, {}).get("/".join((config.name, *which)))
            self._settle(changes, which, outcome, at=found.revision if found else 0)
        return changes

    def _connection_changes(self, resources: Mapping[str, KubeResource]) -> Changes:
        """Of which resources the API server was lost or found since the last call."""
        changes: Changes = {}
        for name in resources:
            state = self.sources.get(KUBE + name)
            if state is not None and self._told_connected.get(name) != state.connected:
                self._told_connected[name] = state.connected
                changes[CONNECTED, name] = Record(state.connected)
        return changes

    def _decode(
        self, kind: RecordKind | KubeResource, key: str, path: str, entry: Entry | None
    ) -> None:
        decoded = self._decoded.setdefault(kind.name, {})
        if entry is None:
            decoded.pop(key, None)
            return
        try:
            value = kind.decode(path, entry.value)
            record = kind.record(value, entry.revision)
            asks = isinstance(kind, RecordKind) and kind.asks is not None and kind.asks(value)
            decoded[key] = _Request(record) if asks else record
        except InvalidRecord as error:
            decoded[key] = str(error)

    def _checked_subnets(self, config: NetworkConfig) -> dict[tuple[str, str], _Outcome]:
        """All subnets, those that contradict an older one as the reason why they cannot stand."""
        decoded = self._decoded.get(SUBNETS, {})
        good = self._good.get(SUBNETS, {})
        texts = {key: each for key, each in decoded.items() if isinstance(each, str)}
        # What stands already came first, however late it was written again.
        records = {
            key: (each.value, 0 if _stands(good.get(key), each) else each.revision)
            for key, each in decoded.items()
            if isinstance(each, Record)
        }
        # What stands under a key that asks for something goes on to stand.
        records |= {
            key: (good[key].value, 0)
            for key, each in decoded.items()
            if isinstance(each, _Request) and key in good
        }
        held: set[str] = set()
        while True:
            for key, text in subnet_problems(config, records).items():
                texts.setdefault(key, f"{SUBNETS}/{key}: {text}")
            back = (good.keys() & texts.keys()) - held
            if not back:
                return {(SUBNETS, key): texts.get(key, each) for key, each in decoded.items()}
            # Whoever is refused keeps the last good subnet, which is nobody else's then.
            held |= back
            records |= {key: (good[key].value, 0) for key in back}

    def _settle(self, changes: Changes, which: tuple[str, str], outcome: _Outcome, at: int) -> None:
        """What `outcome` changes in the world. at: the revision of the key as etcd has it, so that
        who mends a record that is set aside can say which one was meant."""
        kind, key = which
        good = self._good.setdefault(kind, {})
        if which in self._requested and not isinstance(outcome, _Request):
            self._requested.remove(which)
            changes[REQUESTS, f"{kind}/{key}"] = None
        if isinstance(outcome, str):
            self._set_aside(changes, which, Record(outcome, at), last_good=key in good)
            return
        if self._quarantine.pop(which, None) is not None:
            _log.info("record is good again", record=f"{kind}/{key}")
            changes[QUARANTINE, f"{kind}/{key}"] = None
        if isinstance(outcome, _Request):
            self._requested.add(which)
            changes[REQUESTS, f"{kind}/{key}"] = outcome.record
            return
        if good.get(key) == outcome:
            return
        changes[kind, key] = outcome
        if outcome is None:
            del good[key]
        else:
            good[key] = outcome

    def _set_aside(
        self, changes: Changes, which: tuple[str, str], aside: Record, *, last_good: bool
    ) -> None:
        before = self._quarantine.get(which)
        if before == aside:
            return
        name = "/".join(which)
        if before is None or before.value != aside.value:
            _log.error("record quarantined", record=name, reason=aside.value, last_good=last_good)
        self._quarantine[which] = aside
        changes[QUARANTINE, name] = aside

    def _change(self, entries: dict[str, Entry], touched: set[str], event: RecordChange) -> None:
        before = entries.get(event.key)
        if event.source == ETCD and before is not None and event.key in touched:
            self._passed.setdefault(event.key, []).append(before)
        if event.entry is None:
            entries.pop(event.key, None)
            self._passed.pop(event.key, None)
        else:
            entries[event.key] = event.entry
        touched.add(event.key)

    def _note_state(self, state: SourceState) -> None:
        before = self.sources.get(state.source)
        self.sources[state.source] = state
        if before is None or before.connected != state.connected:
            say = _log.info if state.connected else _log.warning
            said = "visible" if state.connected else "out of sight, the last good picture stays"
            say(f"{state.source} is {said}", source=state.source, detail=state.detail)


def _stands(good: Record | None, record: Record) -> bool:
    return good is not None and good.value.subnet == record.value.subnet
