"""Run one command of this project on Debian's kernel, in a virtual machine.

    python -m tests.kernel.run [--limit S] [--memory MIB] [--results DIR] [--counted] -- COMMAND...

The command starts in the tree's root, as root, with the virtual environment on PATH; it sees
the tree as it is here, files that are not committed too, and changes a copy of it. Its output
appears as it comes, its status is this program's. What it writes under $RESULTS is copied to
the directory named by --results. Status 124: over its limit; 125: the machine failed.

With --counted the machine has one processor, whose instructions are its clock, 4 ns each:
figures of speed are then the same however busy this machine is.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from attrs import frozen
from tests.kernel.drives import environment_drive, run_drive
from tests.kernel.host import progress
from tests.kernel.image import debian_image
from tests.kernel.machine import Drives, Outcome, boot

from k8s_ovs.errors import K8sOvsError

__all__ = ["Wanted", "main"]

MACHINE_FAILED = 125


@frozen
class Wanted:
    """One run: the command's words, its limit in seconds, memory in MiB, where results go, whether
    its clock counts instructions."""

    command: tuple[str, ...]
    limit_s: int
    memory_mib: int
    results: Path | None
    counted: bool


def main(words: list[str] | None = None) -> int:
    """The program's status; see the module's text."""
    wanted = _parse(words)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    began = time.monotonic()
    try:
        outcome = _run(wanted)
    except K8sOvsError as error:
        progress(str(error))
        return MACHINE_FAILED
    overhead_s = time.monotonic() - began - outcome.command_s
    progress(
        f"status {outcome.status}; the command ran {outcome.command_s:.1f} s, all else took"
        f" {overhead_s:.1f} s (boot {outcome.boot_s:.1f} s)"
    )
    return outcome.status


def _run(wanted: Wanted) -> Outcome:
    image, environment = debian_image(), environment_drive()
    with tempfile.TemporaryDirectory(prefix="k8s-ovs-machine-") as name:
        directory = Path(name)
        drives = Drives(image, run_drive(directory, wanted.command, wanted.limit_s), environment)
        progress(f"starting; limit {wanted.limit_s} s: {' '.join(wanted.command)}")
        outcome = boot(drives, directory, wanted.limit_s, wanted.memory_mib, counted=wanted.counted)
        if wanted.results is not None:
            shutil.copytree(directory / "files", wanted.results, dirs_exist_ok=True)
    return outcome


def _parse(words: list[str] | None) -> Wanted:
    parser = argparse.ArgumentParser(
        prog="python -m tests.kernel.run",
        description="Run one command of this project on Debian's kernel, in a virtual machine.",
    )
    parser.add_argument("--limit", type=int, default=900, metavar="S", help="seconds (900)")
    parser.add_argument("--memory", type=int, default=3072, metavar="MIB", help="MiB (3072)")
    parser.add_argument("--results", type=Path, metavar="DIR", help="where $RESULTS is copied to")
    parser.add_argument("--counted", action="store_true", help="its clock counts instructions")
    parser.add_argument("command", nargs="+", metavar="COMMAND", help="after --")
    found = parser.parse_args(words)
    return Wanted(tuple(found.command), found.limit, found.memory, found.results, found.counted)


if __name__ == "__main__":
    sys.exit(main())
