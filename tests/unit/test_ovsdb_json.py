"""The reader of OVSDB's messages, which come in pieces of any size."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k8s_ovs.ovs.ovsdb import json_parser
from k8s_ovs.ovs.ovsdb.json_parser import MessageParser

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
MESSAGES = st.dictionaries(st.text(), VALUES, min_size=1)


def read(text: str, sizes: list[int]) -> list[Any]:
    """What comes out when the text arrives in pieces of these sizes, the rest at once."""
    messages: list[Any] = []
    parser = MessageParser()
    for size in [*sizes, len(text)]:
        piece, text = text[:size], text[size:]
        while piece:
            piece = piece[parser.feed(piece) :]
            if parser.is_done():
                messages.append(parser.finish())
                parser = MessageParser()
    return messages


@given(
    messages=st.lists(MESSAGES, min_size=1, max_size=4),
    sizes=st.lists(st.integers(1, 20), max_size=12),
    ascii_only=st.booleans(),
)
def test_messages_come_out_whole_however_they_are_cut(
    messages: list[Any], sizes: list[int], ascii_only: bool
) -> None:
    text = "".join(json.dumps(message, ensure_ascii=ascii_only) for message in messages)
    assert read(text, sizes) == messages


def test_a_message_that_has_not_ended_is_not_done() -> None:
    parser = MessageParser()
    assert parser.feed('{"method": "a}b"') == 16
    assert not parser.is_done()


def test_each_character_is_looked_at_once_however_long_the_message(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It was decoded from its start for each 4096 bytes: 2,000 pods took ten seconds."""
    rows = {f"row{n}": {"name": f"veth{n}", "ids": ["map", [["a\\", '"{']]]} for n in range(60_000)}
    text = json.dumps({"id": 1, "result": rows})
    assert len(text) > 3_000_000
    decoded: list[int] = []
    decode = json_parser._decode

    def counting(whole: str) -> Any:
        decoded.append(len(whole))
        return decode(whole)

    monkeypatch.setattr(json_parser, "_decode", counting)
    assert read(text, [4096] * (len(text) // 4096)) == [json.loads(text)]
    assert decoded == [len(text)]


@pytest.mark.parametrize("text", ["}", "[1,,2]", '{"a": nonsense}', "[" * 100_000 + "]" * 100_000])
def test_what_is_not_json_ends_in_a_text_that_the_library_takes_for_an_error(text: str) -> None:
    (said,) = read(text, [])
    assert isinstance(said, str)
    assert "not JSON" in said
