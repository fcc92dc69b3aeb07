"""What does a record that was read come to, and what is known of its key then?"""

from __future__ import annotations

from typing import Any

import structlog
from attrs import frozen

from k8s_ovs.model.world import EMPTY, Slot, Tag

__all__ = ["Contradiction", "Outcome", "Valid", "log_quarantine", "slot_of"]

_log = structlog.get_logger(__name__)


@frozen
class Valid:
    """A record that could be read. asks: it asks the allocator for something."""

    value: Any
    revision: int
    tags: tuple[Tag, ...]
    asks: bool


@frozen
class Contradiction:
    """Why a record that could be read is invalid beside the others of its kind."""

    text: str


#: What an entry comes to: a valid record, why it is invalid; None: it is gone.
Outcome = Valid | Contradiction | str | None


def slot_of(before: Slot, outcome: Outcome, at: int) -> Slot:
    """What is known of a key once `outcome` is written there, at etcd's revision `at`."""
    match outcome:
        case None:
            return EMPTY
        case str():
            return Slot(before.settled, tags=before.tags, problem=outcome, revision=at)
        case Contradiction(text):
            kept = before.settled
            return Slot(kept, tags=before.tags, problem=text, contradicts=True, revision=at)
        case Valid(value, revision, tags, asks=True):
            kept = before.settled
            return Slot(kept, tags=before.tags, asked=value, asked_tags=tags, revision=revision)
        case Valid(value, revision, tags):
            return Slot(value, revision=revision, tags=tags)


def log_quarantine(record: str, before: Slot, after: Slot) -> None:
    if after.problem is not None and after.problem != before.problem:
        last_valid = before.settled is not None
        _log.error("record quarantined", record=record, reason=after.problem, last_valid=last_valid)
    elif before.problem is not None and after.problem is None:
        _log.info("record valid again", record=record)
