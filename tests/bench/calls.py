"""How long does one call of a CNI program take, as its runtime sees it?

The same small runner for every program: posix_spawn, so that the size of this process costs
nothing, standard input from a file, and no threads. Time runs from before the spawn until the
process has ended and all that it printed is read.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from attrs import frozen

from k8s_ovs.errors import K8sOvsError, TimedOut
from k8s_ovs_lab.command import inside

__all__ = ["Burst", "Call", "run_burst", "run_one"]

_TIMEOUT_S = 60.0


@frozen
class Call:
    """A program to start in a network namespace, with what a runtime gives it."""

    program: Path
    netns: str
    environment: Mapping[str, str]
    config: Path


@frozen
class Burst:
    """Many calls, some at a time: each one's time, and how many a second in all."""

    ms: tuple[float, ...]
    per_second: float


@frozen
class _Running:
    call: Call
    pid: int
    output: int
    begin: float


def run_one(call: Call) -> float:
    """Milliseconds of one call. Raises K8sOvsError with what it printed if it fails."""
    return run_burst([call], 1).ms[0]


def run_burst(calls: Sequence[Call], at_once: int) -> Burst:
    """Run all calls, which share one namespace, `at_once` at a time."""
    waiting = list(reversed(calls))
    running: dict[int, _Running] = {}
    times: list[float] = []
    poll = select.poll()
    with ExitStack() as stack:
        stack.enter_context(inside(calls[0].netns))
        begin = time.perf_counter()
        while waiting or running:
            while waiting and len(running) < at_once:
                started = _start(waiting.pop())
                running[started.output] = started
                poll.register(started.output, select.POLLIN)
            ready = poll.poll(_TIMEOUT_S * 1e3)
            if not ready:
                raise TimedOut(f"no CNI call ended within {_TIMEOUT_S:g} s")
            for output, _ in ready:
                poll.unregister(output)
                times.append(_finish(running.pop(output)))
        return Burst(tuple(times), len(calls) / (time.perf_counter() - begin))


def _start(call: Call) -> _Running:
    begin = time.perf_counter()
    read, write = os.pipe2(os.O_CLOEXEC)
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, str(call.config), os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, write, 1),
    ]
    program = str(call.program)
    pid = os.posix_spawn(program, [program], call.environment, file_actions=actions)
    os.close(write)
    return _Running(call, pid, read, begin)


def _finish(running: _Running) -> float:
    """Read what it printed to the end, and wait for its end, which is then near."""
    said = b""
    while part := os.read(running.output, 65536):
        said += part
    os.close(running.output)
    _, status = os.waitpid(running.pid, 0)
    ms = (time.perf_counter() - running.begin) * 1e3
    if status:
        command = running.call.environment["CNI_COMMAND"]
        raise K8sOvsError(f"{running.call.program.name} {command} failed: {said.decode()[-2000:]}")
    return ms
