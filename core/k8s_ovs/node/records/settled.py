"""What counts of each record and object now, and what a new outcome changes of it."""

from __future__ import annotations

from typing import Any

from k8s_ovs.errors import is_ctrl_c, shown
from k8s_ovs.model.world import EMPTY, Slot
from k8s_ovs.node.records.outcome import Outcome, log_quarantine, slot_of
from k8s_ovs.supervise import FaultLog

__all__ = ["Changes", "Settled"]

#: New slots by kind and key; None: nothing is known there any more.
Changes = dict[tuple[str, str], Slot | None]


class Settled:
    """Slots by kind and key. It remembers which failures it has told."""

    def __init__(self) -> None:
        self._slots: dict[tuple[str, str], Slot] = {}
        self._faults = FaultLog()

    def value(self, kind: str, key: str) -> Any:
        """What counts; None: nothing."""
        return self._slots.get((kind, key), EMPTY).settled

    def clear(self) -> None:
        """Nothing is known."""
        self._slots.clear()

    def settle(self, changes: Changes, which: tuple[str, str], outcome: Outcome, at: int) -> None:
        """What `outcome` changes in the world. at: the revision of the key as etcd has it, so that
        who repairs a quarantined record can say which one was meant."""
        before = self._slots.get(which, EMPTY)
        try:
            after = slot_of(before, outcome, at)
            same = bool(after == before)
        except BaseException as error:  # values of plugins compare themselves
            if is_ctrl_c(error):
                raise
            after, same = slot_of(before, self.fault("/".join(which), error), at), False
        if same:
            return
        log_quarantine("/".join(which), before, after)
        changes[which] = None if after == EMPTY else after
        if after == EMPTY:
            del self._slots[which]
        else:
            self._slots[which] = after

    def fault(self, record: str, error: BaseException) -> str:
        """A failure that is not the record's: in the log whole; returns what is said of it."""
        self._faults.tell("record failed", error, record=record)
        return f"{record}: k8s-ovs failed on it: {shown(error)}"
