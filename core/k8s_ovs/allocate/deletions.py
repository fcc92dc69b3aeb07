"""What was deleted a moment ago: by somebody who means it, or by the leader, who takes it back."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from k8s_ovs.model.world import DELETED, Changes, Deleted, Slot

__all__ = ["Deletions"]

_Which = tuple[str, str]


class Deletions:
    """Deleted records by (kind, key), each for `hold_down` seconds, or until it is there again."""

    def __init__(self, hold_down: float) -> None:
        self._hold_down = hold_down
        self._records: dict[_Which, tuple[Deleted, float]] = {}

    def note(self, gone: Mapping[_Which, Any], *, by_leader: bool) -> None:
        """These have just been deleted; what each said last, or None."""
        ends = time.monotonic() + self._hold_down
        self._records |= {which: (Deleted(v, by_leader), ends) for which, v in gone.items()}

    def forget(self, exists: Callable[[_Which], bool]) -> None:
        """What exists, or was put back, is not deleted."""
        self._records = {which: each for which, each in self._records.items() if not exists(which)}

    def stays_away(self, which: _Which) -> bool:
        """Whether somebody has deleted it, and the hold-down is not over."""
        found = self._records.get(which)
        return found is not None and not found[0].by_leader and found[1] > time.monotonic()

    def as_slots(self) -> Changes:
        """For the world in which allocations are made; those whose time is over are left out."""
        now = time.monotonic()
        self._records = {which: each for which, each in self._records.items() if each[1] > now}
        of_kinds: dict[str, dict[str, Deleted]] = {}
        for (kind, key), (each, _) in self._records.items():
            of_kinds.setdefault(kind, {})[key] = each
        return {(DELETED, kind): Slot(found) for kind, found in of_kinds.items()}
