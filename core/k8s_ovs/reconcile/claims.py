"""What do flows mean by a number that the bridge has once? Those that come later mean the same."""

from __future__ import annotations

from collections.abc import Collection, Hashable
from typing import Generic, TypeVar

__all__ = ["Claims"]

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Claims(Generic[K, V]):
    """By key: what flows mean by it, and the cookies of those flows."""

    def __init__(self) -> None:
        self._claims: dict[K, tuple[V, set[int]]] = {}

    def values(self) -> list[V]:
        """What is meant, once per key."""
        return [value for value, _ in self._claims.values()]

    def keys(self) -> Collection[K]:
        return self._claims.keys()

    def cookies(self, key: K) -> tuple[int, ...]:
        """The flows that name the key."""
        return tuple(self._claims[key][1]) if key in self._claims else ()

    def other(self, key: K, value: V) -> tuple[int, V] | None:
        """A flow's cookie, and what it means by the key, if that is something else."""
        if key not in self._claims:
            return None
        known, cookies = self._claims[key]
        return None if known == value else (next(iter(cookies)), known)

    def take(self, key: K, value: V, cookie: int) -> None:
        """The flow means `value` by the key, as all others do."""
        self._claims.setdefault(key, (value, set()))[1].add(cookie)

    def release(self, key: K, cookie: int) -> None:
        """The flow is gone."""
        cookies = self._claims[key][1]
        cookies.discard(cookie)
        if not cookies:
            del self._claims[key]
