"""What other threads tell the main thread, and how they wake it."""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from typing import Any

from attrs import frozen

from k8s_ovs.observe.watch_event import RecordChange

__all__ = ["HostChanged", "Inbox"]

#: Seconds within which etcd tells all of one transaction. Whether the configuration is among what
#: was deleted changes what the other deletions mean.
_TOGETHER = 0.02


@frozen
class HostChanged:
    """Somebody may have changed things of these kinds (`state.value`) on this node."""

    kinds: frozenset[str]


class Inbox:
    """A queue that any thread may put into; its file descriptor is readable when it is not empty.

    One wake-up serves all that has come meanwhile, so a burst is one reconcile.
    """

    def __init__(self) -> None:
        self._items: deque[Any] = deque()
        self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def fileno(self) -> int:
        return self._fd

    def put(self, item: Any) -> None:
        self._items.append(item)
        self.wake()

    def wake(self) -> None:
        """Have the main thread reconcile, whether or not something has come."""
        os.eventfd_write(self._fd, 1)

    def take(self) -> list[Any]:
        """All that has come, oldest first; of deletions, all that were made together."""
        items = self._taken()
        # etcd's alone have a revision.
        deleted = (each for each in items if isinstance(each, RecordChange) and not each.entry)
        if any(each.revision for each in deleted):
            time.sleep(_TOGETHER)
            items += self._taken()
        return items

    def _taken(self) -> list[Any]:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._fd)
        items = []
        while self._items:
            items.append(self._items.popleft())
        return items
