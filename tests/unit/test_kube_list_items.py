"""A list that is taken apart item by item says what the list says that is read whole."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k8s_ovs.model.json_text import MOST_DEEP
from k8s_ovs.observe.kube.errors import Garbled
from k8s_ovs.observe.kube.list_items import read_list

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just('"items":['),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["items", "metadata", "name", 'a"b']), inner, max_size=3)
    ),
    max_leaves=8,
)
AROUND = st.dictionaries(st.sampled_from(["kind", "items", "apiVersion", "status"]), JSON)


def _item(item: Any, _text: str) -> Any:
    return item


def texts(page: dict[str, Any], *, spaces: bool, ascii_only: bool) -> bytes:
    separators = None if spaces else (",", ":")
    return json.dumps(page, separators=separators, ensure_ascii=ascii_only).encode()


@given(AROUND, st.lists(JSON, max_size=4), AROUND, st.tuples(st.booleans(), st.booleans()))
def test_items_are_what_they_are_wherever_they_are_and_however_written(
    before: dict[str, Any], items: list[Any], after: dict[str, Any], written: tuple[bool, bool]
) -> None:
    page = {**before, "metadata": {"continue": "next", "items": before}, "items": items, **after}
    page["items"] = items
    data = texts(page, spaces=written[0], ascii_only=written[1])
    whole, found = read_list(data, "x", lambda item, text: (item, json.loads(text)))
    assert whole == {**page, "items": [(item, item) for item in items]}
    assert found == "next"


@given(st.lists(JSON, max_size=3), st.data())
def test_half_an_answer_is_an_error_and_no_part_of_a_list(items: list[Any], data: Any) -> None:
    page = {"metadata": {}, "items": items}
    text = texts(page, spaces=False, ascii_only=True)
    end = data.draw(st.integers(0, len(text) - 1))
    with pytest.raises(Garbled):
        read_list(text[:end], "API server x: GET /y", _item)


@pytest.mark.parametrize(
    "items", ["[1 2]", "[1,]", "[,1]", "[1,,2]", "[NaN]", "[1]]", "[[1]", "{}"]
)
def test_what_is_no_list_of_json_is_an_error(items: str) -> None:
    with pytest.raises(Garbled, match="API server x: GET /y"):
        read_list(f'{{"metadata":{{}},"items":{items}}}'.encode(), "API server x: GET /y", _item)


def test_an_item_that_is_too_deep_is_an_error() -> None:
    deep = "[" * (MOST_DEEP + 1) + "]" * (MOST_DEEP + 1)
    with pytest.raises(Garbled, match="levels deep"):
        read_list(f'{{"metadata":{{}},"items":[{deep}]}}'.encode(), "x", _item)
