"""A flow as a value: which table, which packets, what is done with them.

Flows are immutable and independent of a switch. `text` writes them as ovs-ofctl does,
`wire` as OpenFlow 1.4 messages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, get_args

from attrs import field, frozen

from k8s_ovs.model.checked import as_tuple, as_whole, has_type, tuple_of
from k8s_ovs.pipeline.action import Action, Conjunction, Ct, Goto, Meter, Move, Note, SetField
from k8s_ovs.pipeline.field import FIELDS, Field
from k8s_ovs.pipeline.match import Match
from k8s_ovs.pipeline.table import PipelineError, Table

__all__ = ["Flow", "conjunctions_of", "meter_of"]

_WHOLE = has_type(int, error=PipelineError)
_OF_CONNECTIONS = frozenset({FIELDS["ct_mark"], FIELDS["ct_label"]})


def _as_actions(actions: Iterable[Action]) -> tuple[Action, ...]:
    return as_tuple(actions)


@frozen
class Flow:
    """A flow of `table`. No actions: the packet is dropped and counted.

    Raises PipelineError for a goto to a table that `table` does not declare as a next one, and for
    actions that cannot stand where they do.
    """

    table: Table = field(validator=has_type(Table, error=PipelineError))
    priority: int = field(converter=as_whole, validator=_WHOLE)
    match: Match = field(validator=has_type(Match, error=PipelineError))
    actions: tuple[Action, ...] = field(
        default=(),
        converter=_as_actions,
        validator=tuple_of(*get_args(Action), error=PipelineError),
    )

    def __attrs_post_init__(self) -> None:
        if not 0 <= self.priority <= 0xFFFF:
            raise PipelineError(f"{self.table.name}: priority {self.priority} is not 0 to 65535")
        for place, action in enumerate(self.actions):
            check = _CHECKS.get(type(action))
            if check is not None:
                check(self, place, action)


def meter_of(flow: Flow) -> Meter | None:
    """The meter that a flow's packets pass."""
    first = flow.actions[0] if flow.actions else None
    return first if isinstance(first, Meter) else None


def conjunctions_of(flow: Flow) -> tuple[Conjunction, ...]:
    """The conjunctions of which a flow is part of a clause."""
    # A flow that has one has nothing but those and notes.
    if not flow.actions or type(flow.actions[0]) not in (Conjunction, Note):
        return ()
    return tuple(each for each in flow.actions if isinstance(each, Conjunction))


def _check_goto(flow: Flow, place: int, action: Goto) -> None:
    if place != len(flow.actions) - 1:
        raise PipelineError(f"{flow.table.name}: an action follows a goto")
    if not flow.table.allows(action.table):
        _refuse_hop(flow, action.table)


def _check_ct(flow: Flow, _: int, action: Ct) -> None:
    target = action.table
    if target is not None and target != flow.table.name and not flow.table.allows(target):
        _refuse_hop(flow, target)


def _refuse_hop(flow: Flow, target: str) -> None:
    declared = flow.table.next + flow.table.onward
    raise PipelineError(
        f"table {flow.table.name} does not declare a hop to {target}, expected "
        f"{' or '.join(declared) or 'no hop at all'}"
    )


def _check_meter(flow: Flow, place: int, _: Meter) -> None:
    if place != 0:
        raise PipelineError(f"{flow.table.name}: a meter follows another action")


def _check_set(flow: Flow, _: int, action: SetField) -> None:
    _refuse_of_connections(flow, action.field)


def _check_move(flow: Flow, _: int, action: Move) -> None:
    _refuse_of_connections(flow, action.target)


def _refuse_of_connections(flow: Flow, written: Field) -> None:
    if written in _OF_CONNECTIONS:
        raise PipelineError(
            f"{flow.table.name}: {written.name} is set outside of a Ct, expected it in its exec"
        )


def _check_conjunction(flow: Flow, _: int, action: Conjunction) -> None:
    name = f"{flow.table.name}: a flow of the conjunction {action.name}"
    for each in flow.actions:
        if not isinstance(each, Conjunction | Note):
            raise PipelineError(f"{name} has a {type(each).__name__} too, expected Notes alone")
    namesakes = [e.name for e in conjunctions_of(flow) if e.number == action.number]
    if len(namesakes) > 1:
        raise PipelineError(
            f"{name} names {' and '.join(namesakes)}, which are one to Open vSwitch"
        )
    if any(term.field.name == "conj_id" for term in flow.match.terms):
        raise PipelineError(f"{name} matches conj_id, which no flow of a clause can")


_CHECKS: Mapping[type, Callable[[Flow, int, Any], None]] = {
    Goto: _check_goto,
    Ct: _check_ct,
    Meter: _check_meter,
    SetField: _check_set,
    Move: _check_move,
    Conjunction: _check_conjunction,
}
