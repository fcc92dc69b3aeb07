"""Who has looked at what.

In a large cluster there are a hundred thousand things that one question alone has looked at. A set
of one takes five times a tuple of one, so sets are for what many look at.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable
from typing import Generic, TypeVar

__all__ = ["Readers"]

R = TypeVar("R", bound=Hashable)
_FEW = 8


class Readers(Generic[R]):
    """Readers by what they have looked at."""

    def __init__(self) -> None:
        self._of: dict[Hashable, tuple[R, ...] | set[R]] = {}

    def of(self, read: Hashable) -> Collection[R]:
        """Who has looked at it."""
        return self._of.get(read, ())

    def __contains__(self, read: Hashable) -> bool:
        return read in self._of

    def add(self, read: Hashable, reader: R) -> None:
        """`reader` has looked at it."""
        known = self._of.get(read, ())
        if isinstance(known, set):
            known.add(reader)
        elif reader not in known:
            more = (*known, reader)
            self._of[read] = more if len(more) <= _FEW else set(more)

    def discard(self, read: Hashable, reader: R) -> bool:
        """`reader` does not look at it any more; whether nobody is left who does."""
        known = self._of.get(read)
        if known is None:
            return False
        if isinstance(known, set):
            known.discard(reader)
        else:
            known = self._of[read] = tuple(each for each in known if each != reader)
        if not known:
            del self._of[read]
        return not known
