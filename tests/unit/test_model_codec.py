"""Records with records and lists inside: to JSON and back, and where in them something is wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping
from ipaddress import IPv4Network
from typing import Any

import pytest
from attrs import field, frozen
from hypothesis import given
from hypothesis import strategies as st

from k8s_ovs.errors import InvalidRecord
from k8s_ovs.plugin import decode, encode, named

NETWORKS = st.integers(0, 2**24 - 1).map(lambda number: IPv4Network((number << 8, 24)))


@frozen
class Rule:
    to: IPv4Network = named("To")
    port: int = named("Port", default=0)
    extra: Mapping[str, Any] = field(factory=dict)


@frozen
class Rules:
    first: Rule = named("First")
    others: tuple[Rule, ...] = named("Others", default=())
    names: tuple[str, ...] = named("Names", default=())
    extra: Mapping[str, Any] = field(factory=dict)


RULE = st.builds(Rule, NETWORKS, st.integers(), st.just({}) | st.just({"Unknown": [1]}))
RULES = st.builds(Rules, RULE, st.lists(RULE).map(tuple), st.lists(st.text()).map(tuple))


@given(RULES)
def test_what_is_written_is_read_again_and_what_is_unknown_stays(rules: Rules) -> None:
    assert decode(Rules, "key", encode(rules)) == rules


def test_fields_have_their_names_in_json_at_each_level() -> None:
    rules = Rules(Rule(IPv4Network("10.0.0.0/8"), 80), (Rule(IPv4Network("0.0.0.0/0")),), ("a",))
    assert json.loads(encode(rules)) == {
        "First": {"To": "10.0.0.0/8", "Port": 80},
        "Others": [{"To": "0.0.0.0/0", "Port": 0}],
        "Names": ["a"],
    }


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        ({"First": None}, "First: found null, expected an object"),
        ({"First": {}}, "First.To: found nothing, expected an IPv4 CIDR such as 172.11.0.0/16"),
        ({"First": {"To": "10.0.0.1/8"}}, 'First.To: found "10.0.0.1/8", host bits are set'),
        ({"Others": "abc"}, 'Others: found "abc", expected a list'),
        ({"Others": [{"To": "10.0.0.0/8"}, 1]}, "Others[1]: found 1, expected an object"),
        (
            {"Others": [{"To": "10.0.0.0/8", "Port": "80"}]},
            'Others[0].Port: found "80", expected a whole number',
        ),
        ({"Names": ["a", None]}, "Names[1]: found null, expected a string"),
    ],
)
def test_an_error_says_where_in_the_record(harm: dict[str, Any], said: str) -> None:
    record = {"First": {"To": "10.0.0.0/8"}} | harm
    with pytest.raises(InvalidRecord) as raised:
        decode(Rules, "rules/red", json.dumps(record).encode())
    assert str(raised.value).startswith(f"rules/red: {said}")


@frozen
class Noted:
    note: str | None = named("Note")


def test_a_field_that_may_be_null_and_is_missing_is_named() -> None:
    with pytest.raises(InvalidRecord, match="rules/red: Note: found nothing, expected a string"):
        decode(Noted, "rules/red", b"{}")
    assert decode(Noted, "rules/red", b'{"Note":null}') == Noted(None)
