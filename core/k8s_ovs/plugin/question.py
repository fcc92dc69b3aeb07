"""What a hook asks through its view: a pure function's answer, for one thing or for each."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from attrs import frozen

__all__ = ["Each", "Query", "Question"]


@frozen(cache_hash=True)
class Query:
    """`function(view, *arguments)`."""

    function: Callable[..., Any]
    arguments: tuple[Hashable, ...]


@frozen(cache_hash=True)
class Each:
    """`function(view, key)` for each key of any of the kinds."""

    function: Callable[..., Any]
    kinds: tuple[str, ...]

    def of(self, key: str) -> Query:
        """The same for one key."""
        return Query(self.function, (key,))


Question = Query | Each
