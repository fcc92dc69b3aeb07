"""How fast is k8s-ovs, beside Debian's bridge and host-local plugins in the same run?

    python tests/bench/run.py [--output FILE] [--only cni|flows|tenants]

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
import report
import steps
import subjects
import tenants
from machine import facts
from subjects import Subject

from k8s_ovs.errors import K8sOvsError
from k8s_ovs.lab import Lab, LabSettings

_NAME = "bench"
_PEER = "benchpeer"
_WARM_UP = 3
#: 510 pods a node, 128 nodes.
_CONFIG = {"HostSubnetLength": 9}
_OUTPUT = Path(__file__).parents[2] / "docs/benchmarks/cni.json"


def main() -> int:
    """Measure, print a table, write the figures as JSON."""
    wanted = _parse()
    # An installed program has its bytecode beside it.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    lab = Lab.up(LabSettings(name=_NAME, nodes=1, config=_CONFIG), report=_progress)
    try:
        found = {"machine": facts(lab)}
        if wanted.only != "tenants":
            found |= _measure(lab, wanted)
    finally:
        lab.down(_progress)
    if wanted.only in (None, "tenants"):
        found["tenants"] = tenants.measure(_progress)
    report.show(found)
    wanted.output.parent.mkdir(parents=True, exist_ok=True)
    wanted.output.write_text(json.dumps(found, indent=2) + "\n")
    return 0


def _measure(lab: Lab, wanted: argparse.Namespace) -> dict[str, Any]:
    count = max(wanted.singles, wanted.burst)
    pods = {role: [f"{_NAME}-{role}-pod{n}" for n in range(count)] for role in ("ours", "peer")}
    every = [*pods["ours"], *pods["peer"], _PEER]
    with tempfile.TemporaryDirectory(prefix="k8s-ovs-bench-") as directory:
        try:
            _progress("namespaces of the pods")
            subjects.add_namespaces(every)
            ours = subjects.k8s_ovs(lab, pods["ours"])
            found: dict[str, Any] = {}
            if wanted.only != "flows":
                peer = subjects.bridge(_PEER, Path(directory), pods["peer"])
                found = _measure_cni(lab, (ours, peer), wanted)
            if wanted.only != "cni":
                found["flows"] = flows.measure(lab, ours, _progress)
            return found
        finally:
            subjects.remove_namespaces(every)


def _measure_cni(
    lab: Lab, both: tuple[Subject, Subject], wanted: argparse.Namespace
) -> dict[str, Any]:
    cni.one_by_one(both, _WARM_UP)
    log = steps.Log(lab)
    _progress(f"{wanted.singles} ADDs and DELs, one by one")
    singles = cni.one_by_one(both, wanted.singles)
    found = {"one_by_one": singles, "steps": log.steps(singles)}
    _progress(f"{wanted.rounds} times {wanted.burst} ADDs and DELs, {wanted.at_once} at once")
    found["burst"] = cni.bursts(both, wanted.burst, wanted.at_once, wanted.rounds)
    return found


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, default=_OUTPUT, help="where the figures go (JSON)")
    parser.add_argument("--only", choices=("cni", "flows", "tenants"), help="a part of it")
    parser.add_argument("--singles", type=int, default=60, help="pods, one by one (60)")
    parser.add_argument("--burst", type=int, default=60, help="pods of a burst (60)")
    parser.add_argument("--at-once", type=int, default=10, help="how many at a time (10)")
    parser.add_argument("--rounds", type=int, default=5, help="bursts of each kind (5)")
    return parser.parse_args()


def _progress(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except K8sOvsError as error:
        print(f"bench: {error}", file=sys.stderr)
        sys.exit(1)
