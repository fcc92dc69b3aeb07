"""A process that goes on after the command that started it, and is found again by its pid file."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from attrs import frozen

from k8s_ovs.errors import K8sOvsError, TimedOut, Unavailable
from k8s_ovs_lab.command import command_in

__all__ = ["LabProcess", "await_that", "end_processes", "last_lines"]

_ENDS_WITHIN = 10.0


@frozen
class LabProcess:
    """One process, running or not, known by a directory and a name.

    NAME.pid holds its number and the time it started, so that another process that got the same
    number later is never taken for it; NAME.log holds what it wrote.
    """

    directory: Path
    name: str

    @property
    def log(self) -> Path:
        """What it wrote to its standard output and error."""
        return self.directory / f"{self.name}.log"

    def start(
        self,
        argv: Sequence[str],
        netns: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start it in a session of its own; it outlives the caller. Nothing if it runs."""
        if self.running():
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        command = command_in(netns, argv)
        pid = os.posix_spawnp(
            command[0],
            command,
            os.environ | (environment or {}),
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(self.log), append, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
        )
        self._pid_file.write_text(f"{pid} {_start_time(pid)}\n")

    def running(self) -> bool:
        """Whether it is alive."""
        return self.pid() is not None

    def stop(self, timeout: float = _ENDS_WITHIN) -> None:
        """Ask it to end, and end it when it does not within timeout seconds."""
        self._end(timeout)
        self._pid_file.unlink(missing_ok=True)

    def pause(self) -> None:
        """Let it hang: it exists and does not answer, until `resume`."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """Let it die as in a crash."""
        self._end(0)

    @property
    def _pid_file(self) -> Path:
        return self.directory / f"{self.name}.pid"

    def pid(self) -> int | None:
        """Its number, None if it does not run."""
        try:
            pid, started = self._pid_file.read_text().split()
        except (FileNotFoundError, ValueError):
            return None
        return int(pid) if started == _start_time(int(pid)) else None

    def _end(self, timeout: float) -> None:
        pid = self.pid()
        if pid is None:
            return
        end_processes([pid], timeout)
        try:
            os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            return  # another program had started it

    def _signal(self, number: signal.Signals) -> None:
        pid = self.pid()
        if pid is None:
            raise Unavailable(f"{self.name} of {self.directory} is not running")
        os.kill(pid, number)


def end_processes(pids: Sequence[int], timeout: float = _ENDS_WITHIN) -> None:
    """End processes: ask (SIGTERM), and after timeout seconds insist (SIGKILL)."""
    handles = [handle for pid in pids if (handle := _handle(pid)) is not None]
    try:
        for number in (signal.SIGCONT, signal.SIGTERM) if timeout else ():
            _send(handles, number)
        left = _await_ends(handles, timeout)
        _send(left, signal.SIGKILL)
        _await_ends(left, _ENDS_WITHIN)
    finally:
        for handle in handles:
            os.close(handle)


def await_that(
    what: str,
    holds: Callable[[], bool],
    seconds: float,
    log: Path | None = None,
    process: LabProcess | None = None,
) -> None:
    """Wait until something holds; a K8sOvsError means not yet, and is shown when it never does.

    Raises TimedOut when it does not within so many seconds, and Unavailable at once when the
    process that was to bring it about has ended; both show the last lines of its log.
    """
    deadline = time.monotonic() + seconds
    pause = 0.02
    while (reason := _reason(holds)) is not None:
        if process is not None and not process.running():
            raise Unavailable(f"{what}: its process has ended{last_lines(log)}")
        if time.monotonic() >= deadline:
            raise TimedOut(f"{what}: not within {seconds:g} s{reason}{last_lines(log)}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.5)


def last_lines(log: Path | None, count: int = 8) -> str:
    """The end of a log, ready to be put behind an error's text."""
    if log is None or not log.exists():
        return ""
    lines = log.read_text(errors="replace").splitlines()[-count:]
    shown = "".join(f"\n  | {line}" for line in lines) or "\n  | (it is empty)"
    return f"; the last lines of {log}:{shown}"


def _reason(holds: Callable[[], bool]) -> str | None:
    """Why something does not hold yet, as far as it says; None if it holds."""
    try:
        return None if holds() else ""
    except K8sOvsError as error:
        return f": {error}"


def _start_time(pid: int) -> str | None:
    """When a process started, in the kernel's ticks; None if there is none or it is a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The name in parentheses may hold anything; what follows it is proc(5)'s field 3 onwards.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else fields[19]


def _handle(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


def _send(handles: Sequence[int], number: signal.Signals) -> None:
    for handle in handles:
        try:
            signal.pidfd_send_signal(handle, number)
        except ProcessLookupError:
            continue


def _await_ends(handles: Sequence[int], timeout: float) -> list[int]:
    """Wait for processes to end; those that have not are returned."""
    deadline = time.monotonic() + timeout
    left = list(handles)
    while left:
        watch = select.poll()
        for handle in left:
            watch.register(handle, select.POLLIN)
        ended = {handle for handle, _ in watch.poll(max(0, deadline - time.monotonic()) * 1000)}
        if not ended:
            break
        left = [handle for handle in left if handle not in ended]
    return left
