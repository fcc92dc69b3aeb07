"""How long to wait before the next attempt? Longer each time, up to a cap, never in step."""

from __future__ import annotations

import random

__all__ = ["Backoff"]


class Backoff:
    """Waits in seconds that double from `first` to `cap`, each cut by up to half at random.

    Without randomness all nodes would return to a restarted server in the same moment.
    """

    def __init__(self, first: float = 0.2, cap: float = 5.0) -> None:
        self._first = first
        self._cap = cap
        self._next = first

    def wait(self) -> float:
        """Seconds to wait now."""
        limit = self._next
        self._next = min(limit * 2, self._cap)
        return limit * random.uniform(0.5, 1.0)  # noqa: S311  spreads load, guards nothing

    def reset(self) -> None:
        """An attempt succeeded: the next wait is a short one again."""
        self._next = self._first
