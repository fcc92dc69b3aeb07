"""What does a change of a limit look like? An SVG image of the series that was measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import log10
from typing import Any

from svg import document

__all__ = ["live_change"]

_WIDTH, _HEIGHT = 960, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 78, 936, 84, 342
#: Mbit/s at the ends of the axis, whose scale is logarithmic; its lines.
_LEAST, _MOST = 1, 3000
_LINES = (1, 10, 100, 1000)

_STYLES = {
    ".moment": "font-size: 11px; font-weight: 600; fill: #8250df;",
    ".bound": "font-size: 11px; font-weight: 600; fill: #1a7f37;",
    ".axis": "stroke: #57606a; stroke-width: 1.5; fill: none;",
    ".limit": "stroke: #aceebb; stroke-width: 9;",
    ".change": "stroke: #8250df; stroke-width: 1.5; stroke-dasharray: 2 3;",
    ".measured": "stroke: #0969da; stroke-width: 1.8; fill: none;",
}


def live_change(found: Mapping[str, Any]) -> str:
    """The image of what `live.measure` has found."""
    series, every = found["mbit_per_second"], found["every_s"]
    drawing = _Drawing(len(series) * every)
    lines = [
        f'<text class="title" x="{_LEFT}" y="28">A running pod whose limit changes</text>',
        f'<text class="small" x="{_LEFT}" y="46">Mbit/s at the receiver, every '
        f"{every * 1e3:.0f} ms; one TCP stream; the scale is logarithmic</text>",
        *drawing.axes(),
        *drawing.limits(found["first_limit"], found["changes"]),
        *drawing.measured(series, every),
        *(line for change in found["changes"] for line in drawing.change(change)),
    ]
    title = "Throughput of a running pod while its limit changes"
    return document(title, _WIDTH, _HEIGHT, _STYLES, lines)


class _Drawing:
    """Elements in a plane of seconds and Mbit/s. seconds: the length of its axis."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def axes(self) -> Iterator[str]:
        """Lines and numbers of both axes."""
        for each in _LINES:
            y = _y(each)
            yield f'<path class="line" d="M{_LEFT} {y} H{_RIGHT}"/>'
            yield f'<text class="right" x="{_LEFT - 8}" y="{y + 4:.1f}">{each}</text>'
        yield f'<path class="axis" d="M{_LEFT} {_TOP} V{_BOTTOM} H{_RIGHT}"/>'
        for second in range(round(self._seconds) + 1):
            x = self._x(second)
            yield f'<path class="axis" d="M{x} {_BOTTOM} v5"/>'
            yield f'<text class="middle" x="{x}" y="{_BOTTOM + 20}">{second}</text>'
        middle = (_LEFT + _RIGHT) / 2
        yield f'<text class="middle" x="{middle}" y="{_BOTTOM + 40}">seconds</text>'

    def limits(self, first: int, changes: Sequence[Mapping[str, Any]]) -> Iterator[str]:
        """A line at each limit, as long as it is the one that is asked for."""
        begins = [(0.0, first), *((each["at_s"], each["after"]) for each in changes)]
        ends = [each["at_s"] for each in changes] + [self._seconds]
        for (begin, limit), end in zip(begins, ends, strict=True):
            if limit is not None:
                path = f"M{self._x(begin)} {_y(limit)} H{self._x(end)}"
                yield f'<path class="limit" d="{path}"/>'
                where = f'x="{self._x(begin) + 6:.1f}" y="{_y(limit) - 12:.1f}"'
                yield f'<text class="bound" {where}>limit {limit}M</text>'

    def measured(self, series: Sequence[float], every: float) -> Iterator[str]:
        """The series, each of its points as long as its interval."""
        steps = (
            f"V{_y(mbits)} H{self._x((number + 1) * every)}" for number, mbits in enumerate(series)
        )
        yield f'<path class="measured" d="M{self._x(0)} {_y(series[0])} {" ".join(steps)}"/>'

    def change(self, change: Mapping[str, Any]) -> Iterator[str]:
        """The moment at which a limit was asked for, and how soon it was felt."""
        x = self._x(change["at_s"])
        yield f'<path class="change" d="M{x} {_TOP - 20} V{_BOTTOM}"/>'
        asked = "annotation removed" if change["after"] is None else f"set to {change['after']}M"
        felt = "not felt" if change["felt_ms"] is None else f"felt after {change['felt_ms']:.0f} ms"
        yield f'<text class="moment" x="{x + 6:.1f}" y="{_TOP - 12}">{asked}, {felt}</text>'

    def _x(self, seconds: float) -> float:
        return round(_LEFT + (_RIGHT - _LEFT) * seconds / self._seconds, 1)


def _y(mbits: float) -> float:
    share = log10(min(max(mbits, _LEAST), _MOST) / _LEAST) / log10(_MOST / _LEAST)
    return round(_BOTTOM - (_BOTTOM - _TOP) * share, 1)
