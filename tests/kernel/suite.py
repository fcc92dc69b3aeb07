"""Run the tests that are marked `datapath`, in the machine.

    python -m tests.kernel.suite [FILE...]

Files that share a lab are one run of pytest, which removes the lab in the end: an emulated
processor has its work with each lab that waits for the other files.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

__all__ = ["main", "runs"]

_SHARING = (
    ("packets", "packets_isolation", "connections"),
    ("churn", "faults_switch"),
    ("tenants", "tenants_traffic"),
)
_PYTEST = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--timeout=600")


def main() -> int:
    """1 where a run failed, or was killed by a signal."""
    files = [Path(each) for each in sys.argv[1:]] or _marked(Path("tests/node"))
    statuses = [
        subprocess.run([*_PYTEST, "-m", "datapath", *map(str, run)], check=False).returncode
        for run in runs(files)
    ]
    return int(any(statuses))


def runs(files: Iterable[Path]) -> Iterator[list[Path]]:
    """The files, those that share a lab together."""
    left = sorted(files)
    while left:
        name = left[0].stem.removeprefix("test_")
        names = next((each for each in _SHARING if name in each), (name,))
        together = [each for each in left if each.stem.removeprefix("test_") in names]
        left = [each for each in left if each not in together]
        yield together


def _marked(directory: Path) -> list[Path]:
    return [each for each in directory.glob("test_*.py") if "mark.datapath" in each.read_text()]


if __name__ == "__main__":
    sys.exit(main())
