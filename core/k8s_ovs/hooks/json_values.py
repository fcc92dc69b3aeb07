"""Is what a plugin says JSON? It becomes plain values, whatever class it is of."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from k8s_ovs.errors import shown
from k8s_ovs.hooks.result import WrongResult
from k8s_ovs.model.checked import as_plain

__all__ = ["plain_object"]

#: Levels of lists and objects in each other; more than this nobody reads.
_DEEPEST = 20
#: Values, and characters of texts, in all: the status of a node is written every second.
_MOST = 100_000
#: Of a whole number; a float has no more.
_MOST_BITS = 1024


def plain_object(found: Mapping[Any, Any]) -> dict[str, Any]:
    """`found` as an object of JSON. Raises WrongResult, and whatever `found` raises."""
    return _Reader(found).object_of(found, ())


class _Reader:
    """Reads one result, and stops where it is too large."""

    def __init__(self, result: object) -> None:
        self._result = result
        self._left = _MOST

    def object_of(self, found: Mapping[Any, Any], path: tuple[str, ...]) -> dict[str, Any]:
        plain: dict[str, Any] = {}
        for each in self._counted(found, path):
            name = as_plain(each)
            if type(name) is not str:
                raise self._wrong(name, path, "names that are text")
            self._count(len(name), path)
            plain[name] = self._value_of(found[each], (*path, name))
        return plain

    def _value_of(self, found: Any, path: tuple[str, ...]) -> Any:
        value = as_plain(found)
        if value is None or type(value) is bool:
            return value
        if type(value) is str:
            self._count(len(value), path)
            return value
        if type(value) is int and value.bit_length() <= _MOST_BITS:
            return value
        if type(value) is float and math.isfinite(value):
            return value
        if not isinstance(value, Mapping | list | tuple):
            raise self._wrong(value, path, "a value of JSON")
        if len(path) >= _DEEPEST:
            raise self._wrong(value, path, f"{_DEEPEST} levels at most")
        if isinstance(value, Mapping):
            return self.object_of(value, path)
        return [self._value_of(each, path) for each in self._counted(value, path)]

    def _counted(self, values: Iterable[Any], path: tuple[str, ...]) -> Iterator[Any]:
        for each in values:
            self._count(1, path)
            yield each

    def _count(self, size: int, path: tuple[str, ...]) -> None:
        self._left -= size
        if self._left < 0:
            raise self._wrong(self._result, path, f"{_MOST} values and characters at most")

    def _wrong(self, found: object, path: tuple[str, ...], expected: str) -> WrongResult:
        where = f" as {shown('.'.join(path), 80)}" if path else ""
        return WrongResult(f"returned {shown(found)}{where}, expected {expected}")
