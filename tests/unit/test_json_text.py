"""JSON of any depth and content: a value that can be used, or one ValueError."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k8s_ovs.errors import shown
from k8s_ovs.model.json_text import MOST_DEEP, parse_json, shown_json

BRACKETS = st.sampled_from(['{"a":%s}', "[%s]", '[1,{"b":[]},%s]', '{"c":[],"a":%s}'])


def nested(brackets: str, depth: int, of: str = "1") -> str:
    for _ in range(depth):
        of = brackets % of
    return of


@given(BRACKETS, st.integers(0, MOST_DEEP - 2))
def test_what_is_not_too_deep_is_read(brackets: str, depth: int) -> None:
    text = nested(brackets, depth)
    assert parse_json(text) == parse_json(text.encode()) == json.loads(text)


@given(BRACKETS, st.integers(MOST_DEEP + 1, 5000))
def test_what_is_too_deep_is_refused_and_nothing_else_happens(brackets: str, depth: int) -> None:
    for text in (nested(brackets, depth), nested(brackets, depth).encode()):
        with pytest.raises(ValueError, match="more than 200 levels deep"):
            parse_json(text)


def test_a_long_list_is_not_deep() -> None:
    assert len(parse_json(json.dumps([{"a": []}] * 5000))) == 5000


@given(st.binary(max_size=40) | st.text(max_size=40))
def test_any_text_is_a_value_or_one_error(text: bytes | str) -> None:
    with suppress(ValueError):
        found = parse_json(text)
        assert shown(found)
        assert len(shown_json(found)) <= 80


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", '{"a":-Infinity}'])
def test_a_number_that_json_does_not_have_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no JSON number"):
        parse_json(text)
