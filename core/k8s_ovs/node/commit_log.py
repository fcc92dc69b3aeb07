"""What did a reconcile do, and how long did each step take? One line in the log."""

from __future__ import annotations

import time

import structlog
from attrs import field, mutable

from k8s_ovs.model.world import PODS
from k8s_ovs.reconcile.reconciler import Reconciler

__all__ = ["CommitLog"]

_log = structlog.get_logger(__name__)


@mutable
class CommitLog:
    """Begins when it is made. adds, removes: pods. added, deleted: flows.

    A reconcile that leaves its flows to the next one leaves its log to it too: so a pod that goes
    is one line.
    """

    node: str
    adds: int = 0
    removes: int = 0
    added: int = 0
    deleted: int = 0
    _mark: float = field(factory=time.monotonic, init=False)
    _steps: dict[str, float] = field(factory=dict, init=False)

    def go_on(self) -> None:
        """The next reconcile begins; the time since the last step was spent elsewhere."""
        self._mark = time.monotonic()

    def took(self, step: str) -> None:
        """The time since the last step was spent in `step`."""
        now = time.monotonic()
        self._steps[step] = self._steps.get(step, 0.0) + now - self._mark
        self._mark = now

    def tell(self, reconciler: Reconciler) -> None:
        """Write the line; nothing where nothing was changed."""
        if not (self.adds or self.removes or self.added or self.deleted):
            return
        world = reconciler.world
        # That a pod went, the line of its DEL says already.
        only_went = self.removes and not (self.adds or self.added)
        say = _log.debug if only_went else _log.info
        say(
            "commit",
            node=self.node,
            adds=self.adds,
            removes=self.removes,
            added=self.added,
            deleted=self.deleted,
            flows=len(reconciler.desired),
            pods=len(world.of(PODS)),
            revision=world.revision,
            ms=round(sum(self._steps.values()) * 1e3, 1),
            **{f"{step}_ms": round(seconds * 1e3, 2) for step, seconds in self._steps.items()},
        )
