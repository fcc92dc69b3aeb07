"""The items of a list, of which no more than one at a time is an object.

In Python an object of Kubernetes takes ten times its text, and what many have taken is not given
back whole. So each is looked at alone, and its text is what is kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from k8s_ovs.model.json_text import parse_json_at
from k8s_ovs.observe.kube.documents import Json, read_items, read_object

__all__ = ["Keep", "read_list"]

#: What to keep of an item: from what it is, whatever the server has put there, and its text.
Keep = Callable[[Any, str], Any]

#: As the API server begins the items of each list.
_ITEMS = '"items":['
#: Stands where the items were while the rest is read, to see that they were the list's own.
_TAKEN = "taken out"


def read_list(data: bytes, where: str, keep: Keep) -> tuple[Json, str]:
    """A page of a list: the list object, with what `keep` says in the place of each item, and where
    the next page begins; "": it is the last. where: server and request, for errors.

    Raises Garbled.
    """
    try:
        text = data.decode()
        before, kept, after = _taken_apart(text, keep)
        whole = read_object(f'{before}"{_TAKEN}"{after}'.encode(), where)
        if whole.get("items") != [_TAKEN]:
            raise ValueError("those were the items of something else")
    except ValueError:  # no JSON, or as no API server writes it
        whole = read_object(data, where)
        items, token = read_items(whole, where)
        return {**whole, "items": [keep(each, json.dumps(each)) for each in items]}, token
    _, token = read_items(whole, where)
    return {**whole, "items": kept}, token


def _taken_apart(text: str, keep: Keep) -> tuple[str, list[Any], str]:
    """What is before the items, what is kept of them, and what is after them. Raises ValueError."""
    place = text.index(_ITEMS) + len(_ITEMS)
    before, kept = text[:place], list[Any]()
    end = place
    while text[end : end + 1] != "]":
        if kept and text[end : end + 1] != ",":
            raise ValueError("no comma between two items")
        begin = end + 1 if kept else place
        item, end = parse_json_at(text, begin)
        kept.append(keep(item, text[begin:end]))
    return before, kept, text[end:]
