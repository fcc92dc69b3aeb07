"""Figures of limits as tables for people, and which targets they meet."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from attrs import frozen
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from shaping import RATES

__all__ = ["show"]

_Run = dict[str, Any]

_OURS = "k8s-ovs"
#: What a pod without a limit keeps, of its goodput alone, beside one with; less what the programs
#: of that one take of the processors.
_KEPT = 0.95
#: The same where it asks for less than the machine can do; nothing is taken off.
_KEPT_AT_A_PACE = 0.99
_ECHO_RATE = "10M"


@frozen
class _Target:
    """what: in words. concerns: whether a run is judged by it. figure: of a run, None: there is
    none. holds: whether a figure is well."""

    what: str
    concerns: Callable[[_Run], bool]
    figure: Callable[[_Run], float | None]
    holds: Callable[[float], bool]


def _is_tcp(run: _Run) -> bool:
    return bool(run["protocol"] == "tcp")


def _share(run: _Run, name: str) -> float:
    """A figure in bits per second as a part of the limit."""
    return float(run[name] / RATES[run["rate"]])


def _of_ceiling(run: _Run) -> float:
    return _share(run, "bits_per_second") / float(run["ceiling"])


_TARGETS = (
    _Target(
        "goodput of TCP within 2 % of what full frames allow",
        _is_tcp,
        lambda run: round(_of_ceiling(run), 3),
        lambda found: abs(found - 1) <= 0.02,
    ),
    _Target(
        "the first second of TCP at most 1.1 of the rate",
        _is_tcp,
        lambda run: round(_share(run, "first_second"), 3),
        lambda found: found <= 1.1,
    ),
    _Target(
        f"retransmits below 50 at {_ECHO_RATE}",
        lambda run: _is_tcp(run) and run["rate"] == _ECHO_RATE,
        lambda run: run["retransmits"],
        lambda found: found < 50,
    ),
    _Target(
        f"p50 of ping at most 15 ms at {_ECHO_RATE}",
        lambda run: bool(run["rate"] == _ECHO_RATE),
        lambda run: run["ping_ms"]["p50"],
        lambda found: found <= 15,
    ),
)


def show(console: Console, found: dict[str, Any]) -> None:
    """Print them."""
    runs = found["runs"]
    control = next(run["congestion_control"] for run in runs if _is_tcp(run))
    fair = found["fair_queue"]
    queue = f"a queue for each connection ({fair})" if fair else "one queue for all"
    console.print(f"TCP's congestion control: {control}; below the limit: {queue}")
    for title, rates in found["unlimited"].items():
        said = ", ".join(f"{rate / 1e6:.0f} Mbit/s with {n}" for n, rate in rates.items())
        console.print(f"{title} without a limit, by streams: {said}")
    console.print(_table(runs))
    console.print(_beside(found["beside"]))
    for line in (*_judged(found), *_said_of_neighbours(found["beside"])):
        console.print(line)
    for change in found["live"]["changes"]:
        after = "none" if change["after"] is None else f"{change['after']}M"
        console.print(
            f"limit {change['before']}M to {after}: felt {change['felt_ms']} ms after the request "
            f"to the API server, which answered after {change['answered_ms']} ms"
        )


def _table(runs: Sequence[_Run]) -> Table:
    names = ("goodput", "1st s", "resent/refused", "lost", "ping p50", "p99")
    title = "Limits of pods: % of the rate, ms"
    table = Table("", "", *names, title=title, box=SIMPLE, padding=(0, 1, 0, 0))
    for run in sorted(runs, key=_place):
        what = f"{run['rate']} {run['direction']}, {run['protocol']} {run['streams']}"
        table.add_row(what, run["subject"], *_cells(run))
    return table


def _place(run: _Run) -> tuple[Any, ...]:
    return (RATES[run["rate"]], run["direction"], run["protocol"], run["streams"])


def _cells(run: _Run) -> Iterator[str]:
    yield f"{100 * _share(run, 'bits_per_second'):.1f}"
    yield f"{100 * _share(run, 'first_second'):.0f}"
    yield f"{run['retransmits']}/{run['refused']}" if _is_tcp(run) else ""
    yield f"{run['lost_percent']} %" if "lost_percent" in run else ""
    for cut in ("p50", "p99"):
        each = run["ping_ms"][cut]
        yield "lost" if each is None else f"{each:.1f}"


def _beside(runs: Sequence[_Run]) -> Table:
    names = ("asks for", "alone", "beside", "ratio", "limited", "its programs")
    title = "A pod without a limit beside one with: Mbit/s, % of the processors"
    table = Table("limited pod", *names, title=title, box=SIMPLE, padding=(0, 1, 0, 0))
    for run in runs:
        rates = [f"{run[name] / 1e6:.1f}" for name in ("alone", "beside", "limited")]
        ratio, processors = f"{run['ratio']:.3f}", f"{100 * run['processors']:.1f}"
        asks = "all" if run["pace"] is None else f"{run['pace'] / 1e6:.0f}"
        table.add_row(_said_beside(run), asks, *rates[:2], ratio, rates[2], processors)
    return table


def _said_beside(run: _Run) -> str:
    return f"{run['protocol']} {run['direction']}"


def _said_of_neighbours(runs: Sequence[_Run]) -> Iterator[str]:
    """A line per kind of stream of the pods without a limit."""
    takes_all = [run for run in runs if run["pace"] is None]
    yield _said_of_kept(
        f"beside a limited pod one without a limit has {_KEPT} of its goodput alone, "
        "less what that one's programs take of the processors",
        takes_all,
        [run for run in takes_all if run["ratio"] + run["processors"] < _KEPT],
    )
    paced = [run for run in runs if run["pace"] is not None]
    slow = [run for run in paced if run["alone"] < _KEPT_AT_A_PACE * run["pace"]]
    if judged := [run for run in paced if run not in slow]:
        yield _said_of_kept(
            f"where it asks for less than the machine can do, {_KEPT_AT_A_PACE} of it",
            judged,
            [run for run in judged if run["ratio"] < _KEPT_AT_A_PACE],
        )
    for run in slow:
        alone, asked = run["alone"] / 1e6, run["pace"] / 1e6
        yield f"not judged: {_said_beside(run)}, {alone:.0f} of {asked:.0f} Mbit/s alone"


def _said_of_kept(what: str, runs: Sequence[_Run], missed: Sequence[_Run]) -> str:
    return _verdict(what, len(runs), [f"{_said_beside(run)}: {run['ratio']}" for run in missed])


def _judged(found: dict[str, Any]) -> Iterator[str]:
    """A line a target, with the runs that miss it."""
    ours = [run for run in found["runs"] if run["subject"] == _OURS]
    most = found["unlimited"][_OURS]
    reachable = [run for run in ours if RATES[run["rate"]] <= most[str(run["streams"])]]
    beyond = {(run["rate"], run["streams"]) for run in ours if run not in reachable}
    for target in _TARGETS:
        if runs := [run for run in reachable if target.concerns(run)]:
            yield _said(target, runs)
    for rate, streams in sorted(beyond):
        without = f"{most[str(streams)] / 1e6:.0f} Mbit/s without a limit"
        yield f"not judged: {rate} with {streams} at once, which have {without}"


def _said(target: _Target, runs: Sequence[_Run]) -> str:
    figures = [(run, target.figure(run)) for run in runs]
    missed = [
        f"{run['rate']} {run['direction']}, {run['protocol']} {run['streams']}: {each}"
        for run, each in figures
        if each is None or not target.holds(each)
    ]
    return _verdict(target.what, len(runs), missed)


def _verdict(what: str, count: int, missed: Sequence[str]) -> str:
    """what: the target, in words. count: of the runs it judges. missed: those that miss it."""
    if not missed:
        return f"target [green]met[/green]: {what}, {count} of {count} runs"
    return f"target [red]missed[/red]: {what}, in {len(missed)} of {count}: {'; '.join(missed)}"
