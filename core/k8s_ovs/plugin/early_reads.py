"""Which resources of Kubernetes did a hook look at before they had been listed?"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from contextlib import contextmanager

__all__ = ["EarlyReads"]


class EarlyReads:
    """Looks through one view. unsynced: resources that have not been listed yet."""

    def __init__(self, unsynced: Container[str]) -> None:
        self._unsynced = unsynced
        self._looked: set[str] = set()
        self._minded: set[str] = set()

    def note(self, kinds: Iterable[str]) -> None:
        """Records of these kinds were looked at."""
        self._looked.update(each for each in kinds if each in self._unsynced)

    def mind(self, resource: str) -> None:
        """Who looks has asked whether this resource is listed, and so knows."""
        self._minded.add(resource)

    @property
    def found(self) -> frozenset[str]:
        """Resources that are unsynced, and were looked at by somebody who has not asked."""
        return frozenset(self._looked - self._minded)

    @contextmanager
    def apart(self) -> Iterator[set[str]]:
        """The block is one plugin's hook. What is `found` of it alone is in the set at its end."""
        looked, minded, found = self._looked, self._minded, set[str]()
        self._looked, self._minded = set(), set()
        try:
            yield found
        finally:
            found |= self.found
            self._looked, self._minded = looked | found, minded
