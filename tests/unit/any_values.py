"""What can come in where JSON or bytes are expected: any of it, and real messages with a fault."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

__all__ = ["BYTES", "JSON", "damaged_bytes", "damaged_json", "nested"]


def nested(depth: int, of: Any = None) -> Any:
    """A value that is that deep."""
    for _ in range(depth):
        of = {"a": [of]}
    return of


JSON: SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["x" * 100_000, nested(300), 10**400, "\ud800", "10.0.0.1/8"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
BYTES: SearchStrategy[bytes] = st.binary(max_size=200) | JSON.map(
    lambda value: json.dumps(value).encode()
)


@st.composite
def damaged_json(draw: DrawFn, sound: Any, others: SearchStrategy[Any] = JSON) -> Any:
    """`sound` with something else in any place of it, or without what is there."""
    damaged = {"": copy.deepcopy(sound)}
    places = list(_places(damaged))
    for _ in range(draw(st.integers(1, 2))):
        holder, key = places[draw(st.integers(0, len(places) - 1))]
        if isinstance(holder, dict) and key and draw(st.booleans()):
            holder.pop(key, None)
        else:
            holder[key] = draw(others)
    return damaged[""]


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    keys = value.keys() if isinstance(value, dict) else range(len(value))
    for key in keys:
        yield value, key
        if isinstance(value[key], dict | list):
            yield from _places(value[key])


@st.composite
def damaged_bytes(draw: DrawFn, sound: bytes) -> bytes:
    """`sound`, with other bytes in any place of it, and cut off or not."""
    damaged = bytearray(sound)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(sound)))
        damaged[at : at + draw(st.integers(0, 4))] = draw(st.binary(max_size=4))
    return bytes(damaged[: draw(st.none() | st.integers(0, len(damaged)))])
