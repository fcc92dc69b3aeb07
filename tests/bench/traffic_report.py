"""Figures of traffic as a table for people, and which targets they meet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from traffic import CONNECTIONS, PATHS, STREAMS

__all__ = ["show"]

_, _ACROSS, _SERVICE = PATHS
#: At least this part of the peer's, on the kernel's datapath.
_TARGETS = {_ACROSS: 0.95, _SERVICE: 0.75}
_JUDGED = (*STREAMS.values(), CONNECTIONS)


def show(console: Console, traffic: dict[str, Any], datapath: str) -> None:
    """Print them. datapath: what Open vSwitch ran, system or netdev."""
    console.print(f"TCP's congestion control: {traffic['congestion_control']}", _table(traffic))
    if datapath != "system":
        console.print("targets are for the kernel's datapath")
        return
    for line in _verdicts(traffic["figures"]):
        console.print(line)


def _table(traffic: dict[str, Any]) -> Table:
    title = f"Traffic, medians of {traffic['rounds']} rounds"
    heads = ("path, peer", "", "k8s-ovs", "peer", "unit", "ratio", "half of them")
    table = Table(*heads, title=title, box=SIMPLE, padding=(0, 1, 0, 0))
    said = ""
    for each in traffic["figures"]:
        place = f"{each['path']}, {each['peer']}"
        values = (_short(value) for value in each["medians"].values())
        spread = " to ".join(f"{value:.2f}" for value in each["middle_half"])
        head, said = ("" if place == said else place), place
        table.add_row(head, each["what"], *values, each["unit"], f"{each['ratio']:.2f}", spread)
    return table


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _verdicts(figures: list[dict[str, Any]]) -> Iterator[str]:
    """A line per path that has a target, with the figures that miss it."""
    for path, least in _TARGETS.items():
        judged = [each for each in figures if each["path"] == path and each["what"] in _JUDGED]
        missed = [f"{each['what']} {each['ratio']}" for each in judged if each["ratio"] < least]
        said = "[red]missed[/red]" if missed else "[green]met[/green]"
        found = f": {', '.join(missed)}" if missed else ""
        what = f"{path} at least {least} of {PATHS[path]} in streams and connections"
        yield f"target {said}: {what}{found}"
