"""Which are looked at next, where looking at all at once takes too long?"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["RoundRobin"]


class RoundRobin:
    """at_once: how many are chosen each time; all of them in turn."""

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._had: set[str] = set()

    def choose(self, names: Iterable[str]) -> list[str]:
        """The next ones of those that there are now."""
        there = list(names)
        left = [name for name in there if name not in self._had]
        if not left:
            self._had.clear()
            left = there
        chosen = left[: self._at_once]
        self._had.update(chosen)
        return chosen
