"""The figures as tables for people."""

from __future__ import annotations

from typing import Any

import shaping_report
import traffic_report
from restarts import LOSSLESS
from rich.console import Console
from rich.table import Table
from start import STANDALONE

__all__ = ["TARGETS", "show"]

#: (what, ratio ours to theirs, whether it is to be at most or at least so).
TARGETS = {
    "ADD, p50": (1.0, "at most"),
    "DEL, p50": (0.3, "at most"),
    "ADDs a second": (1.0, "at least"),
}

#: Milliseconds from the start of etcdctl until a change of tenant is seen by all packets, at most.
_TENANT_MS = {"p50": 50, "p99": 100}


def show(found: dict[str, Any]) -> None:
    """Print them."""
    console = Console(width=100, soft_wrap=True)
    console.print(", ".join(f"{name} {value}" for name, value in found["machine"].items()))
    if "start" in found:
        console.print(_starts(found["start"]))
    if "one_by_one" in found:
        console.print(_times(found["one_by_one"]), _rates(found["burst"]), _steps(found["steps"]))
        _targets(console, found)
    if "flows" in found:
        _flows(console, found["flows"])
    if "tenants" in found:
        _tenants(console, found["tenants"])
    if "restarts" in found:
        _restarts(console, found["restarts"])
    if "traffic" in found:
        traffic_report.show(console, found["traffic"], found["machine"]["datapath"])
    if "idle" in found:
        console.print(_idle(found["idle"]))
    if "shaping" in found:
        shaping_report.show(console, found["shaping"])


def _restarts(console: Console, restarts: dict[str, Any]) -> None:
    title = (
        f"Restarts, {restarts['per_second']} packets per second asked for, in {restarts['rounds']} "
        "rounds: median / worst"
    )
    heads = ("restart", "path", "rate", "sent", "lost", "gap ms", "ended s", "ready s")
    table = Table(*heads, title=title, min_width=60)
    for name, each in restarts["restarts"].items():
        seconds = (_pair(each["end_s"]), _pair(each["ready_s"]))
        for path, of in each["paths"].items():
            counts = (
                str(of["per_second"]),
                str(of["sent"]),
                _pair(of["lost"]),
                _pair(of["gap_ms"]),
            )
            table.add_row(name, path, *counts, *seconds)
            name, seconds = "", ("", "")  # noqa: PLW2901 - said once
    console.print(table)
    for name in LOSSLESS:
        paths = restarts["restarts"][name]["paths"]
        lost = max(of["lost"]["worst"] for of in paths.values())
        said = "[green]met[/green]" if lost == 0 else "[red]missed[/red]"
        console.print(f"target {said}: {name}: {lost:g} packets lost, 0")


def _pair(cut: dict[str, float]) -> str:
    return f"{cut['median']:g} / {cut['worst']:g}"


def _idle(idle: dict[str, Any]) -> Table:
    title = f"A daemon with nothing to do, for {idle['seconds']} s"
    table = Table("pods", "% of a core", "MiB", title=title, min_width=60)
    for count, each in idle["by_pods"].items():
        table.add_row(count, f"{each['percent']:.2f}", f"{each['rss_mib']:.0f}")
    return table


def _starts(start: dict[str, Any]) -> Table:
    title = f"The CNI program, {start['count']} times"
    cuts = ("least", "p50", "p90", "p99")
    table = Table("ms", *cuts, "ratio of p50", title=title, min_width=60)
    for command, figures in start["commands"].items():
        for program, each in figures["ms"].items():
            ratio = str(figures["ratio"]) if program == STANDALONE else ""
            row = (f"{each[cut]:.2f}" for cut in cuts)
            table.add_row(f"{command}, {program}", *row, ratio)
    return table


def _times(one_by_one: dict[str, Any]) -> Table:
    table = Table("ms", "p50", "p90", "p99", "ratio of p50", title="One by one", min_width=60)
    for command, figures in one_by_one.items():
        for title, each in figures["ms"].items():
            ratio = str(figures["ratio"]) if title == "k8s-ovs" else ""
            row = (f"{each[cut]:.1f}" for cut in ("p50", "p90", "p99"))
            table.add_row(f"{command} {title}", *row, ratio)
    return table


def _rates(burst: dict[str, Any]) -> Table:
    head = ("", "a second", "p50 ms", "p99 ms", "processor a pod, ms", "ratio of rates")
    table = Table(*head, title="Many at once", min_width=60)
    for command, figures in burst.items():
        for title, rate in figures["per_second"].items():
            ratios = f"{figures['ratio']} of {figures['ratios']}" if title == "k8s-ovs" else ""
            times = (f"{figures['ms'][title][cut]:.1f}" for cut in ("p50", "p99"))
            spent = f"{figures['processor_ms'][title]:.1f}"
            table.add_row(f"{command} {title}", f"{rate:.1f}", *times, spent, ratios)
    return table


def _steps(steps: dict[str, Any]) -> Table:
    names = list(steps["ADD"])
    table = Table("ms, median", *names, title="Where the time goes", min_width=60)
    for command, figures in steps.items():
        row = (f"{figures[name]:.2f}" if name in figures else "" for name in names)
        table.add_row(command, *row)
    return table


def _targets(console: Console, found: dict[str, Any]) -> None:
    ratios = {
        "ADD, p50": found["one_by_one"]["ADD"]["ratio"],
        "DEL, p50": found["one_by_one"]["DEL"]["ratio"],
        "ADDs a second": found["burst"]["ADD"]["ratio"],
    }
    for name, (limit, sense) in TARGETS.items():
        met = ratios[name] <= limit if sense == "at most" else ratios[name] >= limit
        said = "[green]met[/green]" if met else "[red]missed[/red]"
        console.print(f"target {said}: {name}: {ratios[name]} of theirs, {sense} {limit}")


def _flows(console: Console, flows: dict[str, Any]) -> None:
    nodes, restart, again = flows["nodes"], flows["restart"], flows["all_flows"]
    console.print(
        f"{nodes['count']} nodes: {nodes['flows']} flows installed {nodes['ms']:.0f} ms after "
        f"their records are written, {nodes['commit_ms']:.0f} ms of it to compute and commit them"
    )
    console.print(
        f"restart with {restart['pods']} pods: ready after {restart['ready_s']} s, "
        f"{restart['flows_changed']} of {restart['flows']} flows changed"
    )
    console.print(f"all {again['flows']} flows from nothing: {again['ms']:.0f} ms")
    console.print(f"memory of the daemon: {flows['rss_mib']} MiB")


def _tenants(console: Console, tenants: dict[str, Any]) -> None:
    change, many = tenants["change"], tenants["namespaces"]
    for action, each in change["ms"].items():
        console.print(
            f"{action} of a tenant with {change['pods']} pods, from etcdctl's start to the last "
            f"effect on packets: p50 {each['p50']:.0f} ms, p99 {each['p99']:.0f} ms"
        )
    for cut, limit in _TENANT_MS.items():
        worst = max(each[cut] for each in change["ms"].values())
        said = "[green]met[/green]" if worst <= limit else "[red]missed[/red]"
        console.print(f"target {said}: {cut} of {worst:.0f} ms, at most {limit}")
    console.print(
        f"{many['count']} namespaces: the daemon is ready {many['start_s']} s after its start and "
        f"has {many['rss_mib']} MiB; {many['flows']} flows for {many['pods']} pods of "
        f"{many['tenants']} tenants"
    )
