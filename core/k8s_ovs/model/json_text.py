"""JSON that somebody else wrote: the one way to read it.

Python raises RecursionError for deep JSON: its parser does, or what prints or compares the value
later, with less of the stack left. So depth is bounded here, and no other code has to think of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

__all__ = ["JSON_KINDS", "MOST_DEEP", "parse_json", "parse_json_at", "shown_json"]

#: Levels of objects and lists. Kubernetes' own records have some 20.
MOST_DEEP = 200
_TOO_DEEP = f"more than {MOST_DEEP} levels deep"

#: What errors call a value of each type.
JSON_KINDS: Mapping[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    str: "a string",
    list: "a list",
    dict: "an object",
}


def parse_json(data: bytes | str) -> Any:
    """The JSON value in `data`. Raises ValueError that says what is wrong with it."""
    try:
        found = _DECODER.decode(data if isinstance(data, str) else _text(data))
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    if _may_be_deep(data) and _is_deep(found):
        raise ValueError(_TOO_DEEP)
    return found


def parse_json_at(text: str, begin: int) -> tuple[Any, int]:
    """The JSON value that begins there, without a space before it, and where it ends. Raises
    ValueError that says what is wrong with it."""
    try:
        found, end = _DECODER.raw_decode(text, begin)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    if _may_be_deep(text[begin:end]) and _is_deep(found):
        raise ValueError(_TOO_DEEP)
    return found, end


def shown_json(value: Any, limit: int = 80) -> str:
    """A JSON value, or bytes that should be one, in the text of an error."""
    text = value.decode(errors="replace") if isinstance(value, bytes) else json.dumps(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _text(data: bytes) -> str:
    # RFC 8259 section 8.1: UTF-8, and a byte order mark may be ignored.
    return data.decode().removeprefix("\ufeff")


def _refuse_constant(name: str) -> Any:
    # Python reads and writes NaN and Infinity; RFC 8259 section 6 has no such numbers.
    raise ValueError(f"{name} is no JSON number")


#: To make one takes longer than to read a small record.
_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def _may_be_deep(data: bytes | str) -> bool:
    """Counting brackets costs nothing, and rules it out for all but long texts."""
    if isinstance(data, str):
        return data.count("[") + data.count("{") > MOST_DEEP
    return data.count(b"[") + data.count(b"{") > MOST_DEEP


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MOST_DEEP):
        level = [inner for each in level for inner in _inside(each) if type(inner) in (dict, list)]
        if not level:
            return False
    return True


def _inside(value: Any) -> Any:
    return value.values() if type(value) is dict else value if type(value) is list else ()
