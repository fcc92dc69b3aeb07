"""How fast is k8s-ovs, beside Debian's CNI programs bridge and host-local in the same run?

    python tests/bench/run.py [--output FILE] [--only PART]

Ends with status 1 only where something did not work; a missed target is told, not punished.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import cni
import flows
import idle
import plot
import report
import restarts
import shaping
import start
import steps
import subjects
import tenants
import traffic
from command_line import chosen, ended, progress
from machine import machine_facts
from subjects import Subject

from k8s_ovs_cni.standalone import build
from k8s_ovs_lab import Lab, LabSettings

_NAME = "bench"
_WARM_UP = 3
_SINGLES_OF_STEPS = 20
#: 510 pods per node, 128 nodes.
_CONFIG = {"HostSubnetLength": 9}
_PARTS = ("start", "cni", "flows", "tenants", "shaping", "restarts", "traffic", "idle")
#: What has a file of its own.
_OF_THEIR_OWN = ("shaping", "restarts", "traffic")
_FIGURES = Path(__file__).parents[2] / "docs/benchmarks"


def main() -> int:
    """Measure, print a table, write the figures as JSON."""
    wanted = _parse()
    # An installed program has its bytecode beside it.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    lab = Lab.up(LabSettings(name=wanted.name, nodes=1, config=_CONFIG), report=progress)
    try:
        found = {"machine": machine_facts(lab), **_in_lab(lab, wanted)}
    finally:
        lab.down(progress)
    if wanted.only in (None, "tenants"):
        found["tenants"] = tenants.measure(progress)
    report.show(found)
    _write(found, wanted.output)
    return 0


def _in_lab(lab: Lab, wanted: argparse.Namespace) -> dict[str, Any]:
    """What is measured in the lab."""
    found: dict[str, Any] = {}
    if wanted.only in (None, "start"):
        progress(f"{wanted.starts} starts of the CNI program, of either kind")
        found["start"] = start.measure(lab, _program(lab), wanted.starts)
    if wanted.only in (None, "cni", "flows"):
        found |= _measure(lab, _program(lab), wanted)
    peer = f"{wanted.name}peer"
    if wanted.only in (None, "shaping"):
        asked = shaping.Wanted(wanted.rates, wanted.seconds, wanted.congestion, wanted.rounds)
        found["shaping"] = shaping.measure(lab, peer, asked, progress)
    if wanted.only in (None, "restarts"):
        found["restarts"] = restarts.measure(lab, wanted.rounds, progress)
    if wanted.only in (None, "traffic"):
        found["traffic"] = traffic.measure(lab, peer, wanted.traffic_rounds, progress)
    if wanted.only in (None, "idle"):
        found["idle"] = idle.measure(lab, progress)
    return found


def _write(found: dict[str, Any], output: Path | None) -> None:
    """All figures into `output`; None: into the documents' files, of which some have their own.
    The image of a changing limit is beside them."""
    directory = _FIGURES if output is None else output.parent
    directory.mkdir(parents=True, exist_ok=True)
    for path, parts in _files(found, output).items():
        figures = {part: found[part] for part in ("machine", *parts)}
        path.write_text(json.dumps(figures, indent=2) + "\n")
    if "shaping" in found:
        drawn = plot.live_change(found["shaping"]["live"])
        (directory / "live-change.svg").write_text(drawn)


def _files(found: dict[str, Any], output: Path | None) -> dict[Path, list[str]]:
    """Which file gets which parts of the figures."""
    parts = [part for part in found if part != "machine"]
    if output is not None:
        return {output: parts}
    files = {
        _FIGURES / "cni.json": [part for part in parts if part not in _OF_THEIR_OWN],
        **{_FIGURES / f"{part}.json": [part] for part in parts if part in _OF_THEIR_OWN},
    }
    return {path: each for path, each in files.items() if each}


def _program(lab: Lab) -> Path:
    """The CNI program that the image brings."""
    standalone = lab.nodes[0].directory / "standalone"
    build(standalone)
    return standalone


def _measure(lab: Lab, program: Path, wanted: argparse.Namespace) -> dict[str, Any]:
    count = max(wanted.singles, wanted.burst)
    pods = {
        role: [f"{wanted.name}-{role}-pod{n}" for n in range(count)] for role in ("ours", "peer")
    }
    peer_node = f"{wanted.name}peer"
    every = [*pods["ours"], *pods["peer"], peer_node]
    with tempfile.TemporaryDirectory(prefix="k8s-ovs-bench-") as directory:
        try:
            progress("namespaces of the pods")
            subjects.add_namespaces(every)
            ours = subjects.k8s_ovs(lab, program, pods["ours"])
            found: dict[str, Any] = {}
            if wanted.only != "flows":
                peer = subjects.bridge(peer_node, Path(directory), pods["peer"])
                found = _measure_cni(lab, (ours, peer), wanted)
            if wanted.only != "cni":
                found["flows"] = flows.measure(lab, ours, progress)
            return found
        finally:
            subjects.remove_namespaces(every)


def _measure_cni(
    lab: Lab, both: tuple[Subject, Subject], wanted: argparse.Namespace
) -> dict[str, Any]:
    cni.one_by_one(both, _WARM_UP)
    progress(f"{wanted.singles} ADDs and DELs, one by one")
    found = {"one_by_one": cni.one_by_one(both, wanted.singles)}
    progress(f"{wanted.rounds} times {wanted.burst} ADDs and DELs, {wanted.at_once} at once")
    found["burst"] = cni.bursts(both, wanted.burst, wanted.at_once, wanted.rounds)
    found["steps"] = _steps(lab, both, min(_SINGLES_OF_STEPS, wanted.singles))
    return found


def _steps(lab: Lab, both: tuple[Subject, Subject], count: int) -> dict[str, Any]:
    """Where the time goes. A log that tells the steps of a DEL too takes time of its own."""
    node = lab.nodes[0].name
    lab.stop_daemon(node)
    lab.start_daemon(node, "--log-level=debug")
    cni.one_by_one(both, _WARM_UP)
    log = steps.Log(lab)
    return log.steps(cni.one_by_one(both, count))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, help="where the figures go (docs/benchmarks/)")
    parser.add_argument("--only", choices=_PARTS, help="a part of it")
    parser.add_argument("--name", default=_NAME, help=f"the lab's name ({_NAME})")
    parser.add_argument("--starts", type=int, default=200, help="of the program, each kind (200)")
    parser.add_argument("--singles", type=int, default=60, help="pods, one by one (60)")
    parser.add_argument("--burst", type=int, default=60, help="pods of a burst (60)")
    parser.add_argument("--at-once", type=int, default=10, help="how many at a time (10)")
    parser.add_argument("--rounds", type=int, default=5, help="of bursts, neighbours, restarts (5)")
    rounds = traffic.ROUNDS
    parser.add_argument("--traffic-rounds", type=int, default=rounds, help=f"of traffic ({rounds})")
    rates, rates_of = ",".join(shaping.RATES), chosen(shaping.RATES)
    parser.add_argument("--rates", type=rates_of, default=rates_of(rates), help=f"limits ({rates})")
    parser.add_argument("--seconds", type=int, default=10, help="of TCP at 10M (10), others: 0.4")
    parser.add_argument("--congestion", help="TCP's congestion control (the system's)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(ended(main))
