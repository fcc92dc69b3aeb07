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
    """Begins when it is made. added, deleted: flows."""

    node: str
    added: int = 0
    deleted: int = 0
    _begin: float = field(factory=time.monotonic, init=False)
    _mark: float = field(factory=time.monotonic, init=False)
    _steps: dict[str, float] = field(factory=dict, init=False)

    def took(self, step: str) -> None:
        """The time since the last step was spent in `step`."""
        now = time.monotonic()
        self._steps[f"{step}_ms"] = round((now - self._mark) * 1e3, 2)
        self._mark = now

    def tell(self, reconciler: Reconciler, adds: int, removes: int) -> None:
        """Write the line; nothing where nothing was done."""
        if not (adds or removes or self.added or self.deleted):
            return
        world = reconciler.world
        _log.info(
            "commit",
            node=self.node,
            adds=adds,
            removes=removes,
            added=self.added,
            deleted=self.deleted,
            flows=len(reconciler.desired),
            pods=len(world.of(PODS)),
            revision=world.revision,
            ms=round((time.monotonic() - self._begin) * 1e3, 1),
            **self._steps,
        )
