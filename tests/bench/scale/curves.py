"""How does it grow? An SVG image of curves, both axes logarithmic."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import ceil, floor, log10
from typing import Any

from tests.bench.scale.report import ROLES, changes_of, figure
from tests.bench.svg import document

__all__ = ["drawn"]

_WIDTH, _PANEL, _LEFT, _TOP, _BOTTOM = 960, 330, 70, 70, 330
_LEGEND = 20
_COLOURS = ("#0969da", "#8250df", "#1a7f37", "#bc4c00", "#cf222e", "#57606a", "#bf3989", "#4d2d00")
_STYLES = {".curve": "stroke-width: 1.8; fill: none;"}


def drawn(sizes: Mapping[str, Any]) -> str:
    """Processor time of each change, for a daemon that follows and for one that leads."""
    panels: list[str] = []
    for place, role in enumerate(ROLES):
        curves = {
            what: [
                figure(each, (role, "changes", what, "cpu_ms", "median")) for each in sizes.values()
            ]
            for what in changes_of(sizes)
        }
        left = _LEFT + place * (_WIDTH // 2)
        panels += _panel(list(sizes), f"a daemon that {role}", curves, left)
    height = _BOTTOM + 60 + _LEGEND * len(_COLOURS)
    above = "Milliseconds of processor in a second with one change, by nodes x namespaces"
    lines = [f'<text class="title" x="{_LEFT}" y="30">{above}</text>', *panels]
    title = "Processor time of a node's daemon by the size of the cluster"
    return document(title, _WIDTH, height, _STYLES, lines)


def _panel(
    sizes: Sequence[str], title: str, curves: Mapping[str, Sequence[float | None]], left: int
) -> Iterator[str]:
    known = [value for values in curves.values() for value in values if value and value > 0]
    if not known:
        return
    least = floor(log10(min(known)))
    most = max(ceil(log10(max(known))), least + 1)

    def height(value: float) -> float:
        share = (log10(max(value, 10.0**least)) - least) / (most - least)
        return round(_BOTTOM - (_BOTTOM - _TOP) * share, 1)

    yield f'<text class="small" x="{left}" y="{_TOP - 16}">{title}</text>'
    for power in range(least, most + 1):
        y = height(10.0**power)
        yield f'<path class="line" d="M{left} {y} h{_PANEL}"/>'
        yield f'<text class="right" x="{left - 8}" y="{y + 4}">{10.0**power:g}</text>'
    step = _PANEL / max(1, len(sizes) - 1)
    for place, size in enumerate(sizes):
        x = left + place * step
        yield f'<text class="middle" x="{x:.0f}" y="{_BOTTOM + 20}">{size}</text>'
    for number, (name, values) in enumerate(curves.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        there = [(left + at * step, value) for at, value in enumerate(values) if value is not None]
        path = " L".join(f"{x:.0f} {height(value)}" for x, value in there)
        yield f'<path class="curve" stroke="{colour}" d="M{path}"/>'
        y = _BOTTOM + 50 + _LEGEND * number
        yield f'<path class="curve" stroke="{colour}" d="M{left} {y - 4} h24"/>'
        yield f'<text class="small" x="{left + 32}" y="{y}">{name}</text>'
