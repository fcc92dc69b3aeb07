"""A table: one question about a packet, and the tables the answer may send it to.

`Pipeline` puts the core's tables and those of plugins into packet order and gives them numbers.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, get_args

from attrs import field, frozen

from k8s_ovs.errors import shown
from k8s_ovs.model.checked import as_text, as_tuple, has_type, tuple_of

__all__ = ["Pipeline", "PipelineError", "Table"]

_GAP = 10
_LAST_TABLE = 254  # OFPTT_MAX, OpenFlow 1.4 section 7.3.4.1


#: What becomes of a packet that matches no flow of a table: OFPTC_TABLE_MISS_CONTINUE and
#: OFPTC_TABLE_MISS_DROP of OpenFlow 1.1.
Otherwise = Literal["continue", "drop"]


class PipelineError(ValueError):
    """Tables that cannot be put in order, or a hop that no table declares."""


_TEXT = has_type(str, error=PipelineError)


def _as_names(names: Iterable[str]) -> tuple[str, ...]:
    return as_tuple(names)


def _as_pair(pair: Iterable[str] | None) -> tuple[str, str] | None:
    return None if pair is None else as_tuple(pair)  # type: ignore[return-value]  # checked then


def _is_pair_of_tables(instance: Table, _: Any, pair: Any) -> None:
    if pair is None:
        return
    if not (type(pair) is tuple and len(pair) == 2 and all(type(e) is str for e in pair)):
        raise PipelineError(
            f"table {instance.name}: between: found {shown(pair)}, expected the names of two tables"
        )


def _is_otherwise(instance: Table, _: Any, otherwise: Any) -> None:
    if type(otherwise) is not str or otherwise not in get_args(Otherwise):
        raise PipelineError(
            f"table {instance.name}: otherwise: found {shown(otherwise)}, "
            'expected "continue" or "drop"'
        )
    if otherwise == "drop" and instance.between is None:
        raise PipelineError(f"table {instance.name}: otherwise: a table of the core's says nothing")


@frozen
class Table:
    """A stage of the pipeline.

    name: upper case, as people read it in dumps. question: what this table decides.
    next: names of the tables that its flows may go to.
    between: for a plugin's table, the (before, after) pair of tables that it is put between:
    every packet that `before` sends to `after` visits this table first, and goes on to `after`
    where no flow of this table says otherwise. A table that `before` names in its `next` is visited
    by those packets alone that a flow of `before` sends there. None for the core's own tables.
    otherwise: for a plugin's table, what becomes of a packet that matches none of its flows: it
    goes on to `after` ("continue"), or is dropped and counted ("drop").
    """

    name: str = field(converter=as_text, validator=_TEXT)
    question: str = field(eq=False, converter=as_text, validator=_TEXT)
    next: tuple[str, ...] = field(
        default=(), eq=False, converter=_as_names, validator=tuple_of(str, error=PipelineError)
    )
    between: tuple[str, str] | None = field(
        default=None, converter=_as_pair, validator=_is_pair_of_tables
    )
    otherwise: Otherwise = field(default="continue", eq=False, validator=_is_otherwise)

    @property
    def onward(self) -> tuple[str, ...]:
        """Where a plugin's table sends packets that nothing keeps there."""
        return self.between[1:] if self.between else ()

    def allows(self, target: str) -> bool:
        """Whether a flow of this table may send packets to the table named `target`."""
        return target in self.next or target in self.onward


class Pipeline:
    """Tables in packet order, each with its number; what a goto from one to another means."""

    def __init__(self, core: Iterable[Table], added: Iterable[Table] = ()) -> None:
        """Raises PipelineError for an undeclared, backward or doubled table."""
        order, self.added = list(core), tuple(added)
        self._numbers = {table.name: _GAP * place for place, table in enumerate(order)}
        self._detours: dict[tuple[str, str], str] = {}
        # Tables that only a goto leads to, by the pair that they are between.
        self._branches: dict[tuple[str, str], list[str]] = {}
        _refuse_doubles(order)
        waiting = list(self.added)
        while waiting:
            # One may be next to a table that is declared behind it.
            table = next(filter(self._has_ends, waiting), waiting[0])
            waiting.remove(table)
            self._insert(order, table)
        self.tables: tuple[Table, ...] = tuple(order)
        self._check_hops()

    def number(self, table: str) -> int:
        """The OpenFlow table number of the table named `table`. Raises PipelineError."""
        try:
            return self._numbers[table]
        except KeyError:
            known = ", ".join(each.name for each in self.tables)
            raise PipelineError(
                f"no table named {table} is in the pipeline, expected one of {known}"
            ) from None

    def name(self, number: int) -> str:
        """The name of table `number`, or the number itself as text if no table of ours has it."""
        for name, known in self._numbers.items():
            if known == number:
                return name
        return str(number)

    def hop(self, source: str, target: str) -> int:
        """The number of the table where a packet goes that `source` sends to `target`.

        Raises PipelineError.
        """
        return self.number(self._detours.get((source, target), target))

    def _has_ends(self, table: Table) -> bool:
        return table.between is not None and all(end in self._numbers for end in table.between)

    def _insert(self, order: list[Table], table: Table) -> None:
        if table.between is None:
            raise PipelineError(
                f"table {table.name}: found no between, expected the names of two tables"
            )
        before, after = table.between
        for end in (before, after):
            if end not in self._numbers:
                raise PipelineError(
                    f"table {table.name}: no table named {end} to be next to, expected one of "
                    f"{', '.join(self._numbers)}"
                )
        if table.name in self._numbers:
            raise PipelineError(
                f"table {table.name}: there is one of this name already, expected another name"
            )
        entry = next(each for each in order if each.name == before)
        if not entry.allows(after):
            raise PipelineError(
                f"table {table.name}: no packet goes from {before} to {after}, expected "
                f"{' or '.join(_targets(order, before)) or 'another table'} in the second place"
            )
        # Several tables between the same two are visited in the order their plugins are named.
        ends = self._ends(before, after)
        self._numbers[table.name] = self._free_number(table.name, ends, after)
        if table.name in entry.next:
            self._branches.setdefault((before, after), []).append(table.name)
        else:
            self._detours |= {(end, after): table.name for end in ends}
        order.append(table)
        order.sort(key=lambda each: self._numbers[each.name])

    def _ends(self, before: str, after: str) -> list[str]:
        """The last tables before `after` of packets that `before` sends there, or to a branch."""
        detour = self._detours.get((before, after))
        ends = [before] if detour is None else self._ends(detour, after)
        for branch in self._branches.get((before, after), ()):
            ends += (end for end in self._ends(branch, after) if end not in ends)
        return ends

    def _free_number(self, name: str, behind: Iterable[str], after: str) -> int:
        taken = set(self._numbers.values())
        last = max(behind, key=self.number)
        for number in range(self._numbers[last] + 1, self._numbers[after]):
            if number not in taken and number <= _LAST_TABLE:
                return number
        raise PipelineError(f"table {name}: no number is free between {last} and {after}")

    def _check_hops(self) -> None:
        for table in self.tables:
            for target in table.next + table.onward:
                if target not in self._numbers:
                    raise PipelineError(
                        f"table {table.name} goes to undeclared table {target}, expected one of "
                        f"{', '.join(self._numbers)}"
                    )
                if target != table.name and self._numbers[target] < self._numbers[table.name]:
                    raise PipelineError(
                        f"table {table.name} goes back to {target}, expected a table behind it"
                    )


def _targets(tables: Iterable[Table], source: str) -> list[str]:
    """Where packets go from a table, a table that is put in between left out."""
    return [to for each in tables if each.name == source for to in each.next + each.onward]


def _refuse_doubles(tables: list[Table]) -> None:
    names = [table.name for table in tables]
    for name in names:
        if names.count(name) > 1:
            raise PipelineError(f"table {name} is declared twice")
