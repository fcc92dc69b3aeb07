"""How a command says what it found: aligned columns for people, JSON for programs.

Not imported by `k8s_ovs.plugin` itself, since only commands need it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer

__all__ = [
    "Output",
    "OutputForm",
    "as_columns",
    "complain",
    "few",
    "printable",
    "say_columns",
    "say_json",
]


class Output(StrEnum):
    """The forms in which a command can say what it found."""

    TABLE = "table"
    JSON = "json"


OutputForm = Annotated[
    Output, typer.Option("--output", "-o", help="table for people, json for programs.")
]


def as_columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of equal length as lines, each column as wide as its widest cell.

    Lines are never cut or wrapped, so that they can be searched; the last column has no padding.
    What a terminal cannot show, such as a line break in a record, is escaped.
    """
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]


def printable(text: str) -> str:
    """A text in one line: other characters than printable ones as in Python's strings."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def say_columns(head: Sequence[str], rows: Iterable[Sequence[str]], none: str = "") -> None:
    """Print a table. none: what is said where it has no rows, such as "no pods"; empty: nothing."""
    body = list(rows)
    if not body:
        if none:
            typer.echo(none)
        return
    first, *others = as_columns([head, *body])
    typer.secho(first, bold=True)
    for line in others:
        typer.echo(line)


def say_json(value: Any) -> None:
    """Print a JSON value; addresses and networks in it become strings."""
    typer.echo(json.dumps(value, indent=2, default=str))


def few(names: Sequence[str], most: int = 3) -> str:
    """The first names, and how many more there are; a dash for none."""
    more = len(names) - most
    return (", ".join(names[:most]) or "-") + (f" and {more} more" if more > 0 else "")


def complain(kind: str, text: str) -> None:
    """One line on stderr: `error: ...` or `warning: ...`."""
    colour = typer.colors.RED if kind == "error" else typer.colors.YELLOW
    typer.secho(f"{kind}: ", fg=colour, nl=False, err=True)
    typer.echo(printable(text), err=True)
