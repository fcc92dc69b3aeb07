"""How does a command run in the machine? One qemu process, watched until it ends.

The processor is emulated: that works on every host, inside containers and other machines too.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import BinaryIO

from attrs import frozen
from tests.kernel.host import mortal, need, progress, run
from tests.kernel.image import Image

from k8s_ovs.errors import K8sOvsError, TimedOut

__all__ = ["Drives", "Outcome", "boot", "qemu_command"]

# BOOT_AND_OFF_S: what start and end may take on a busy host, on top of the command's limit.
BOOT_AND_OFF_S = 120
SILENCE_S = 30
# INSTRUCTION: how long one takes where they are the clock: 2 to this power, in nanoseconds.
INSTRUCTION = 2
CONSOLE_LINES = 40


@frozen
class Drives:
    """What the machine sees, in the order of its devices: vda, vdb, vdc. None is written to."""

    image: Image
    run: Path
    environment: Path


@frozen
class Outcome:
    """How the command ended: its status (124: over its limit), seconds of boot and of running."""

    status: int
    boot_s: float
    command_s: float


def qemu_command(
    drives: Drives, directory: Path, memory_mib: int, *, counted: bool = False
) -> list[str]:
    """qemu with three drives, a console and two ports that end in files of the directory.

    counted: one processor, whose instructions are the machine's clock.
    """
    processors = 1 if counted else min(4, len(os.sched_getaffinity(0)))
    # Emulated processors cannot count in several threads.
    threads, clock = ("single", ["-icount", f"shift={INSTRUCTION}"]) if counted else ("multi", [])
    # mitigations=off: emulation has no speculation to guard, and the guards cost a tenth.
    kernel = "console=ttyS0 quiet panic=-1 mitigations=off"
    command = ["qemu-system-x86_64", "-machine", "q35", "-cpu", "max", "-smp", str(processors)]
    command += ["-accel", f"tcg,thread={threads},tb-size=512", "-m", f"{memory_mib}M", *clock]
    command += ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
    command += ["-kernel", str(drives.image.kernel), "-initrd", str(drives.image.initrd)]
    command += ["-append", kernel, "-serial", f"file:{directory / 'console'}"]
    for drive in (drives.image.drive, drives.run, drives.environment):
        command += ["-drive", f"file={drive},if=virtio,format=raw,snapshot=on,cache=unsafe"]
    command += ["-device", "virtio-serial-pci"]
    for number, port in enumerate(("said", "results"), start=1):
        command += ["-chardev", f"file,id={port},path={directory / port}"]
        command += ["-device", f"virtserialport,nr={number},chardev={port},name={port}"]
    return command


def boot(
    drives: Drives, directory: Path, limit_s: int, memory_mib: int, *, counted: bool = False
) -> Outcome:
    """Run the machine to its end. What the command says appears on standard output as it comes;
    what it left in `$RESULTS` is then in `directory/files`.

    Raises TimedOut when the machine outlives the command's limit by 120 s, K8sOvsError when it
    ends without a result; both carry the end of its console.
    """
    need("qemu-system-x86_64", "qemu-system-x86")
    (directory / "said").touch()
    with subprocess.Popen(
        mortal(qemu_command(drives, directory, memory_mib, counted=counted)),
        stdin=subprocess.DEVNULL,
    ) as machine:
        try:
            _follow(machine, directory, limit_s + BOOT_AND_OFF_S)
        finally:
            machine.kill()
    return _outcome(directory)


def _follow(machine: subprocess.Popen[bytes], directory: Path, limit_s: int) -> None:
    began = heard = time.monotonic()
    with (directory / "said").open("rb") as said:
        ended = False
        while not ended:
            ended = _ended(machine)
            now = time.monotonic()
            if _copy(said):
                heard = now
            elif now - heard > SILENCE_S:
                progress(f"{now - began:.0f} s of at most {limit_s} s")
                heard = now
            if not ended and now - began > limit_s:
                raise TimedOut(f"the machine did not end within {limit_s} s{_console(directory)}")


def _ended(machine: subprocess.Popen[bytes]) -> bool:
    try:
        machine.wait(timeout=0.1)
    except subprocess.TimeoutExpired:
        return False
    return True


def _copy(said: BinaryIO) -> bool:
    text = said.read()
    sys.stdout.buffer.write(text)
    sys.stdout.buffer.flush()
    return bool(text)


def _outcome(directory: Path) -> Outcome:
    files = directory / "files"
    try:
        files.mkdir()
        run(["tar", "-C", str(files), "--no-same-owner", "-xf", str(directory / "results")], 60)
        status, began, ended = (files / "outcome").read_text().split()
    except (OSError, K8sOvsError, ValueError) as error:
        raise K8sOvsError(f"the machine ended without a result{_console(directory)}") from error
    return Outcome(int(status), float(began), float(ended) - float(began))


def _console(directory: Path) -> str:
    try:
        lines = (directory / "console").read_text(errors="replace").splitlines()
    except FileNotFoundError:
        lines = []
    return "; its console's end:\n" + "\n".join(lines[-CONSOLE_LINES:])
