"""The benchmarks run seldom, so that each of their modules can be imported is tested here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
BENCH = ROOT / "tests/bench"


def test_every_module_of_the_benchmarks_can_be_imported() -> None:
    names = sorted(path.stem for path in BENCH.glob("*.py"))
    assert "run" in names
    program = f"import {', '.join(names)}"
    subprocess.run([sys.executable, "-c", program], cwd=BENCH, check=True, timeout=60)


def test_every_module_of_the_benchmark_of_scale_can_be_imported() -> None:
    names = sorted(path.stem for path in (BENCH / "scale").glob("*.py"))
    assert "__main__" in names
    program = "; ".join(f"import tests.bench.scale.{name}" for name in names)
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=60)
