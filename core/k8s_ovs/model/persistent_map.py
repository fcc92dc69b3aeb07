"""A mapping that never changes, of which a changed one is made at the cost of the change alone."""

from __future__ import annotations

from collections.abc import Hashable, ItemsView, Iterator, Mapping, ValuesView
from typing import Any, TypeVar, cast

from immutables import Map

__all__ = ["PersistentMap"]

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
_ABSENT: Any = object()


class PersistentMap(Mapping[K, V]):
    """As a dict that is not written to: it equals one, and its keys are a set. The library's own
    map has neither. Its order is no order."""

    __slots__ = ("_map",)

    def __init__(self, items: Mapping[K, V] | None = None) -> None:
        self._map: Map[K, V] = Map(items or {})

    def changed(self, changes: Mapping[K, V | None]) -> PersistentMap[K, V]:
        """This mapping with other values; None: without that key."""
        new: PersistentMap[K, V] = PersistentMap.__new__(PersistentMap)
        with self._map.mutate() as map_:
            for key, value in changes.items():
                if value is not None:
                    map_[key] = value
                else:
                    map_.pop(key, None)
            new._map = map_.finish()
        return new

    def __getitem__(self, key: K) -> V:
        return self._map[key]

    def get(self, key: K, default: Any = None) -> Any:
        return self._map.get(key, default)

    def __contains__(self, key: object) -> bool:
        return key in self._map

    def __iter__(self) -> Iterator[K]:
        return iter(self._map)

    def __len__(self) -> int:
        return len(self._map)

    def items(self) -> ItemsView[K, V]:
        return cast(ItemsView[K, V], self._map.items())

    def values(self) -> ValuesView[V]:
        return cast(ValuesView[V], self._map.values())

    def __eq__(self, other: object) -> bool:
        if isinstance(other, PersistentMap):
            return bool(self._map == other._map)
        return isinstance(other, Mapping) and dict(self._map) == dict(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(dict(self._map))
