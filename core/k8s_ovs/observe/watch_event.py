"""What an observer sends: a whole snapshot, one change to it, or that it is disconnected.

Every observer (one key prefix of etcd, one resource of Kubernetes) has a source name and sends
these values to a sink, in order: a `Snapshot` first and after every gap, then one `RecordChange` at
a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import field, frozen

__all__ = [
    "AnyEntry",
    "Entry",
    "PackedEntry",
    "RecordChange",
    "Sink",
    "Snapshot",
    "SourceState",
    "WatchEvent",
]


@frozen
class Entry:
    """A record as found. etcd: `value` is bytes. Kubernetes: `value` is the JSON object.

    revision: etcd's mod_revision; 0 for Kubernetes, whose versions are opaque.
    """

    value: Any
    revision: int = 0


@frozen
class PackedEntry:
    """An entry of many, kept as its text and read when its value is asked for, each time."""

    text: bytes
    read: Callable[[bytes], Any]
    revision: int = 0

    @property
    def value(self) -> Any:
        """As that of an `Entry`."""
        return self.read(self.text)


AnyEntry = Entry | PackedEntry


@frozen
class Snapshot:
    """All records of the source; a key that is absent does not exist (any more)."""

    source: str
    entries: Mapping[str, AnyEntry] = field(factory=dict)
    revision: int = 0


@frozen
class RecordChange:
    """One record as it is now; `entry` None: it was deleted."""

    source: str
    key: str
    entry: AnyEntry | None
    revision: int = 0


@frozen
class SourceState:
    """Whether the source is connected. `detail` says where it is and what went wrong; refused: it
    answers, and does not know this resource or does not let us read it."""

    source: str
    connected: bool
    detail: str = ""
    refused: bool = False


WatchEvent = Snapshot | RecordChange | SourceState
Sink = Callable[[WatchEvent], None]
