"""Bits that a plugin has for itself: what they match, what they set, and what they are not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k8s_ovs.pipeline.action import Ct, SetField
from k8s_ovs.pipeline.field import FIELDS, register
from k8s_ovs.pipeline.match import Term, any_packet
from k8s_ovs.pipeline.reservation import Subfield, Zone, clash
from k8s_ovs.pipeline.table import PipelineError, Table

FIELD_NAMES = ("reg0", "reg15", "pkt_mark", "ct_mark", "ct_label")


@st.composite
def subfields(draw: st.DrawFn) -> Subfield:
    name = draw(st.sampled_from(FIELD_NAMES))
    width = FIELDS[name].bits
    first = draw(st.integers(0, width - 1))
    return Subfield(draw(st.text()), name, first, draw(st.integers(1, width - first) | st.none()))


@given(subfields(), st.data())
def test_what_is_set_is_what_matches(bits: Subfield, data: st.DataObject) -> None:
    value = data.draw(st.integers(0, (1 << bits.size) - 1))
    done = bits.set(value)
    (term,) = any_packet(**bits.equals(value)).terms  # type: ignore[arg-type]  # of one field
    assert term == Term(done.field, done.value, done.mask)
    assert done.value >> bits.first == value
    assert bits.mask.bit_count() == bits.size


@given(subfields(), subfields())
def test_two_clash_where_they_share_a_bit_or_a_name(one: Subfield, other: Subfield) -> None:
    bits = [
        {(each.field, n) for n in range(each.first, each.first + each.size)}
        for each in (one, other)
    ]
    shared = bool(bits[0] & bits[1]) or one.name == other.name
    assert (clash(one, [other]) == other) == (clash(other, [one]) == one) == shared


def test_a_whole_register_is_set_and_matched_without_a_mask() -> None:
    rule = Subfield("RULE", "reg8")
    assert rule.set(5) == SetField(FIELDS["reg8"], 5)
    assert any_packet(**rule.equals(5)) == any_packet(reg8=5)


def test_bits_of_a_label_are_set_in_the_exec_of_a_ct() -> None:
    rule = Subfield("RULE", "ct_label", 32, 32)
    track = Ct(zone=Zone("POLICY", 7).number, commit=True, exec=[rule.set(5)])
    assert track.exec == (SetField(FIELDS["ct_label"], 5 << 32, 0xFFFFFFFF << 32),)


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "field": (
        lambda: Subfield("RULE", "reg16"),
        "Subfield RULE: found 'reg16', expected reg0 to reg15, pkt_mark, ct_mark or ct_label",
    ),
    "no text": (lambda: Subfield("RULE", 8), "Subfield RULE: found 8, expected reg0"),
    "last": (
        lambda: Subfield("RULE", "reg8", 30, 4),
        "Subfield RULE: reg8 has the bits 0 to 31, found 30 to 33",
    ),
    "first": (lambda: Subfield("RULE", "reg8", -1), "has the bits 0 to 31, found -1 to 31"),
    "none": (lambda: Subfield("RULE", "reg8", 3, 0), "has the bits 0 to 31, found 3 to 2"),
    "set": (lambda: Subfield("RULE", "reg8", 0, 2).set(4), "RULE=4 does not fit in 2 bits"),
    "match": (lambda: Subfield("RULE", "reg8", 0, 2).equals(-1), "RULE=-1 does not fit in 2 bits"),
    "zone": (lambda: Zone("POLICY", 65536), "zone POLICY=65536 does not fit in 16 bits"),
    "zone of text": (lambda: Zone("POLICY", "7"), "Zone.number: found '7', expected int"),
    "otherwise": (
        lambda: Table("RULES", "Is it?", between=("POD_IN", "ROUTE"), otherwise="allow"),
        'table RULES: otherwise: found \'allow\', expected "continue" or "drop"',
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused(case: str) -> None:
    make, complaint = REFUSED[case]
    with pytest.raises(PipelineError, match=complaint):
        make()


def test_a_register_of_ones_own_is_no_register_of_the_cores() -> None:
    with pytest.raises(KeyError, match=r"no register named RULE: .*one of your own is a Subfield"):
        register("RULE")


@pytest.mark.parametrize("value", ["3", 1.0, True, None])
def test_what_is_no_number_is_refused_with_the_name_of_the_bits(value: Any) -> None:
    seen = Subfield("SEEN", "reg8", 0, 1)
    for use in (seen.set, seen.equals):
        with pytest.raises(PipelineError, match=r"SEEN: found .*, expected a whole number"):
            use(value)
