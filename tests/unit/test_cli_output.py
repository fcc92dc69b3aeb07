"""Columns for people: aligned, and never cut."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from k8s_ovs.plugin.command.output import as_columns

CELLS = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=9)


def test_columns_are_aligned() -> None:
    assert as_columns([("A", "LONG"), ("bcd", "e")]) == ["A    LONG", "bcd  e"]


@given(st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1))
def test_no_cell_is_lost(rows: list[tuple[str, str, str]]) -> None:
    assert [tuple(line.split()) for line in as_columns(rows)] == rows
