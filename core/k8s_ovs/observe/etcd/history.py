"""Which records of etcd count when its history breaks: emptied, restored, or another etcd?

Packets must not stop because somebody made etcd anew. Without the key `config` the last picture
stays as it is. Where etcd comes back without records that were there, they go on counting for a
while: the leader puts them back, so that subnets and numbers stay whose they are.
"""

from __future__ import annotations

import time

from k8s_ovs.observe.watch_event import AnyEntry, RecordChange, Snapshot

__all__ = ["EtcdHistory"]

#: Seconds for which records that etcd has lost go on counting, once it has a configuration.
_HELD = 60.0


class EtcdHistory:
    """Between etcd's watch and who reads its records: takes watch events, says which count.

    config_key: of the record without which nothing of etcd counts, once it was there.
    there: what etcd has. frozen: the configuration is not there now. lost: records that go on
    counting, by key.
    """

    def __init__(self, config_key: str, held: float = _HELD) -> None:
        self._config_key = config_key
        self._held = held
        self.there: dict[str, AnyEntry] = {}
        self._shown: dict[str, AnyEntry] = {}
        self._revision = 0
        # What was deleted at the newest revision: all of that is one transaction.
        self._deleted: dict[str, AnyEntry] = {}
        self._ends = 0.0
        self.frozen = False
        self.lost: dict[str, AnyEntry] = {}

    def take(self, event: Snapshot | RecordChange) -> list[Snapshot | RecordChange]:
        """The events that follow from one of etcd's."""
        if isinstance(event, Snapshot):
            broken = self._is_broken(event)
            self.there, self._revision = dict(event.entries), event.revision
        else:
            broken = False
            self._note(event)
        was_frozen, had = self.frozen, self._config_key in self._shown
        self.frozen = had and self._config_key not in self.there
        if self.frozen:
            return self._whole_again(event)
        if was_frozen or broken:
            self._ends = time.monotonic() + self._held
            self.lost = dict(self._shown)
        if was_frozen or isinstance(event, Snapshot):
            return [self._snapshot(event.source)]
        return self._passed_on(event)

    def end_hold(self, source: str, *, now: bool = False) -> list[Snapshot | RecordChange]:
        """What nobody has put back in time, or needs any more, is gone."""
        if not self.lost or not (now or time.monotonic() >= self._ends):
            return []
        self.lost = {}
        return [] if self.frozen else [self._snapshot(source)]

    def _note(self, event: RecordChange) -> None:
        self.there.pop(event.key, None)
        if event.revision != self._revision:
            self._deleted = {}
        if event.entry is not None:
            self.there[event.key] = event.entry
        elif event.key in self._shown:
            self._deleted[event.key] = self._shown[event.key]
        self._revision = max(self._revision, event.revision)

    def _whole_again(self, event: Snapshot | RecordChange) -> list[Snapshot | RecordChange]:
        """The configuration was deleted, and what was deleted with it may have been told before."""
        back = {key: entry for key, entry in self._deleted.items() if key not in self._shown}
        self._shown |= back
        return [RecordChange(event.source, key, entry) for key, entry in back.items()]

    def _is_broken(self, event: Snapshot) -> bool:
        """Whether this is another history than the one that was seen: a key's mod_revision never
        goes back, nor does etcd's."""
        if self._config_key not in self.there:
            return False
        new = event.entries
        return event.revision < self._revision or any(
            key in new and new[key].revision < entry.revision for key, entry in self.there.items()
        )

    def _snapshot(self, source: str) -> Snapshot:
        self.lost = {key: entry for key, entry in self.lost.items() if key not in self.there}
        self._shown = {**self.lost, **self.there}
        return Snapshot(source, self._shown, self._revision)

    def _passed_on(self, event: RecordChange) -> list[Snapshot | RecordChange]:
        if event.entry is None and event.key in self.lost:
            return []
        self.lost.pop(event.key, None)
        self._shown.pop(event.key, None)
        if event.entry is not None:
            self._shown[event.key] = event.entry
        return [event]
