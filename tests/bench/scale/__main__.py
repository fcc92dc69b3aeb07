"""How much does k8s-ovs take in a large cluster?

    python -m tests.bench.scale [--sizes 50x20,5000x10000] [--only changes,idle] [--output FILE]

One real node lives among simulated ones.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from tests.bench.command_line import chosen, ended, progress
from tests.bench.machine import machine_facts
from tests.bench.scale import (
    allocations,
    busy,
    changes,
    curves,
    daemons,
    idle,
    indexed,
    report,
    restarts,
)
from tests.bench.scale.cluster import Size
from tests.bench.scale.stage import Stage, staged

from k8s_ovs.errors import K8sOvsError

_NAME = "scl"
_PARTS = ("idle", "busy", "changes", "restarts", "namespaces", "daemons", "index")
#: Parts that have no real node.
_WITHOUT_NODE = {"daemons", "index"}
_SIZES = "50x100,500x1000,5000x10000"
_FIGURES = Path(__file__).parents[3] / "docs/benchmarks"


def main() -> int:
    """Measure, print, write the figures as JSON."""
    wanted = _parse()
    # An installed program has its bytecode beside it.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    found: dict[str, Any] = {"seed": wanted.seed, "sizes": {}}
    for size in wanted.sizes if set(wanted.only) - _WITHOUT_NODE else ():
        with staged(wanted.name, size, wanted.seed, progress) as stage:
            found.setdefault("machine", machine_facts(stage.lab))
            found["sizes"][size.name] = _of_size(stage, wanted)
        _write(found, wanted.output)
    if "daemons" in wanted.only:
        found["daemons"] = daemons.measure(wanted.daemons, wanted.seconds, wanted.seed, progress)
        _write(found, wanted.output)
    if "index" in wanted.only:
        found["index"] = indexed.measure(progress)
        _write(found, wanted.output)
    print(report.tables(found))
    return 0


def _of_size(stage: Stage, wanted: argparse.Namespace) -> dict[str, Any]:
    found: dict[str, Any] = {"follows": _of_role(stage, wanted)}
    if "restarts" in wanted.only:
        found["restarts"] = restarts.measure(stage, wanted.rounds, progress)
        stage.calm()
    stage.lead()
    stage.calm()
    found["leads"] = _of_role(stage, wanted)
    if "namespaces" in wanted.only:
        found["namespaces"] = allocations.measure(stage, progress)
    return found


def _of_role(stage: Stage, wanted: argparse.Namespace) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if "idle" in wanted.only:
        found["idle"] = idle.measure(stage, wanted.seconds, progress)
    if "busy" in wanted.only:
        found["busy"] = busy.measure(stage, wanted.seconds / 2, progress)
    if "changes" in wanted.only:
        found["changes"] = changes.measure(stage, wanted.rounds, progress)
    return found


def _write(found: dict[str, Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=2) + "\n")
    if found["sizes"]:
        path.with_suffix(".svg").write_text(curves.drawn(found["sizes"]))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.scale", description=__doc__)
    parser.add_argument("--sizes", default=_SIZES, help=f"nodes x namespaces ({_SIZES})")
    parser.add_argument(
        "--only", type=chosen(_PARTS), default=_PARTS, help=f"of {', '.join(_PARTS)} (all)"
    )
    parser.add_argument("--rounds", type=int, default=2, help="8 s of each change; restarts (2)")
    parser.add_argument("--seconds", type=float, default=64, help="of idleness (64)")
    counts = ",".join(map(str, daemons.COUNTS))
    parser.add_argument("--daemons", type=_counts, default=daemons.COUNTS, help=f"({counts})")
    parser.add_argument("--pods", type=int, default=2, help="per simulated node (2)")
    parser.add_argument("--seed", type=int, default=1, help="of the simulated cluster (1)")
    parser.add_argument("--name", default=_NAME, help=f"the lab's name ({_NAME})")
    path = _FIGURES / "scale.json"
    parser.add_argument("--output", type=Path, default=path, help="where the figures go")
    wanted = parser.parse_args()
    wanted.sizes = [_size(text, wanted.pods) for text in wanted.sizes.split(",")]
    return wanted


def _size(text: str, pods: int) -> Size:
    """One tenth of the namespaces is joined to others."""
    nodes, _, namespaces = text.partition("x")
    try:
        return Size(int(nodes), int(namespaces), int(namespaces) * 9 // 10, int(nodes) * pods)
    except ValueError as error:
        raise K8sOvsError(f"--sizes {text}: expected such as 500x200: {error}") from error


def _counts(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(",")))


if __name__ == "__main__":
    sys.exit(ended(main))
