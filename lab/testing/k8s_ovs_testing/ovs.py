"""A real Open vSwitch of one's own: ovsdb-server and ovs-vswitchd in a directory.

Database, sockets, pid files and logs are all in that directory, so several can run side by side,
and one that was left running is found again by its directory alone.
With `dummy=True` ports are simulated: no root, no kernel, and `ofproto/trace` still tells where
a packet goes.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
from pathlib import Path

from attrs import field, frozen

from k8s_ovs.errors import SwitchError, TimedOut, Unavailable

__all__ = ["OvsProcess"]

_SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")
_SERVER = "ovsdb-server"
_SWITCHD = "ovs-vswitchd"
_QUIET = ("-vconsole:off", "-vsyslog:off", "-vfile:info")


def _absolute(path: Path | str) -> Path:
    return Path(path).resolve()


@frozen
class OvsProcess:
    """One Open vSwitch, running or not, known by its directory.

    directory: where everything of it is; sockets are Unix sockets, so keep its path short.
    netns: name of the network namespace (of /run/netns) that ovs-vswitchd works in, None for
    the caller's own. dummy: simulated datapath and ports instead of real ones.
    timeout: seconds that any one command may take.

    Methods raise SwitchError with the words of the program that refused, TimedOut, and
    Unavailable where a program is not installed or its daemon is not running.
    """

    directory: Path = field(converter=_absolute)
    netns: str | None = None
    dummy: bool = False
    timeout: float = 10.0

    @classmethod
    def start(
        cls, directory: Path | str, netns: str | None = None, dummy: bool = False
    ) -> OvsProcess:
        """Start both daemons on the directory's database, which is made if there is none.

        They outlive the caller; whatever had started is ended if a later step fails.
        """
        ovs = cls(directory, netns, dummy)
        ovs.directory.mkdir(parents=True, exist_ok=True)
        try:
            ovs.start_server()
            ovs.start_vswitchd()
        except BaseException:
            ovs.stop()
            raise
        return ovs

    @property
    def remote(self) -> str:
        """The database's address, as `unix:PATH`."""
        return f"unix:{self.directory / 'db.sock'}"

    def mgmt(self, bridge: str) -> str:
        """Path of the OpenFlow socket of a bridge."""
        return str(self.directory / f"{bridge}.mgmt")

    def log(self) -> str:
        """What ovs-vswitchd has written to its log so far."""
        path = self.directory / f"{_SWITCHD}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def running(self, daemon: str = _SWITCHD) -> bool:
        """Whether `ovs-vswitchd` or `ovsdb-server` of this directory is alive."""
        handle = self._pidfd(daemon)
        if handle is None:
            return False
        os.close(handle)
        return True

    def start_server(self) -> None:
        """Start ovsdb-server."""
        database = self.directory / "conf.db"
        fresh = not database.exists()
        if fresh:
            self._run("ovsdb-tool", "create", str(database), str(_SCHEMA))
        self._run(*self._daemon(_SERVER), f"--remote=p{self.remote}", str(database))
        if fresh:
            self.vsctl("--no-wait", "init")

    def start_vswitchd(self) -> None:
        """Start ovs-vswitchd, in its namespace."""
        enter = ("nsenter", f"--net=/run/netns/{self.netns}") if self.netns else ()
        dummy = ("--enable-dummy=override", "--disable-system") if self.dummy else ()
        self._run(*enter, *self._daemon(_SWITCHD), *dummy, self.remote)

    def stop_server(self) -> None:
        """End ovsdb-server; nothing happens if it is not running."""
        self._end(_SERVER, "exit")

    def stop_vswitchd(self) -> None:
        """End ovs-vswitchd as an upgrade of it does: what the kernel holds stays."""
        self._end(_SWITCHD, "exit")

    def restart_vswitchd(self) -> None:
        """Stop and start ovs-vswitchd: flows are gone, ports and settings are not."""
        self.stop_vswitchd()
        self.start_vswitchd()

    def restart_server(self) -> None:
        """Stop and start ovsdb-server on the same database."""
        self.stop_server()
        self.start_server()

    def stop(self) -> None:
        """End both daemons, and what they made in the kernel. Twice does no harm."""
        self._end(_SWITCHD, "exit", "--cleanup")
        self._end(_SERVER, "exit")

    def pause(self, daemon: str = _SWITCHD) -> None:
        """Let a daemon hang: it exists and does not answer, until `resume`."""
        self._signal(daemon, signal.SIGSTOP)

    def resume(self, daemon: str = _SWITCHD) -> None:
        """Let a paused daemon go on."""
        self._signal(daemon, signal.SIGCONT)

    def kill(self, daemon: str = _SWITCHD) -> None:
        """Let a daemon die as in a crash."""
        handle = self._pidfd(daemon)
        if handle is not None:
            with os.fdopen(handle):
                _kill(handle, daemon, self.timeout)

    def appctl(self, *args: str, daemon: str = _SWITCHD) -> str:
        """What ovs-appctl prints, asked of one of the two daemons."""
        return self._run("ovs-appctl", "-t", str(self.directory / f"{daemon}.ctl"), *args)

    def ofctl(self, *args: str) -> str:
        """What ovs-ofctl prints, speaking OpenFlow 1.4; bridges are given by name."""
        return self._run("ovs-ofctl", "-O", "OpenFlow14", *args)

    def vsctl(self, *args: str) -> str:
        """What ovs-vsctl prints. It waits until ovs-vswitchd has done it, unless `--no-wait`."""
        return self._run("ovs-vsctl", f"--db={self.remote}", *args)

    def trace(self, bridge: str, flow: str) -> str:
        """Where a packet goes, in the words of `ofproto/trace`; flow in ovs-ofctl's syntax."""
        return self.appctl("ofproto/trace", bridge, flow)

    def _daemon(self, name: str) -> tuple[str, ...]:
        base = self.directory / name
        files = (f"--unixctl={base}.ctl", f"--pidfile={base}.pid", f"--log-file={base}.log")
        return (name, *files, "--detach", "--no-chdir", *_QUIET)

    def _run(self, *command: str) -> str:
        places = ("OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR")
        environment = os.environ | dict.fromkeys(places, str(self.directory))
        return _run(command, environment, self.timeout)

    def _pidfd(self, daemon: str) -> int | None:
        """A handle of the daemon's process, None if it does not run."""
        pid_file = self.directory / f"{daemon}.pid"
        try:
            pid = int(pid_file.read_text())
            handle = os.pidfd_open(pid)
        except (FileNotFoundError, ProcessLookupError, ValueError):
            return None
        if f"--pidfile={pid_file}".encode() in _arguments(pid):
            return handle
        # A crashed daemon leaves its pid file, and its number may be another process's now.
        os.close(handle)
        return None

    def _signal(self, daemon: str, number: signal.Signals) -> None:
        handle = self._pidfd(daemon)
        if handle is None:
            raise Unavailable(f"{daemon} of {self.directory} is not running")
        with os.fdopen(handle):
            signal.pidfd_send_signal(handle, number)

    def _end(self, daemon: str, *words: str) -> None:
        handle = self._pidfd(daemon)
        if handle is None:
            return
        with os.fdopen(handle):
            signal.pidfd_send_signal(handle, signal.SIGCONT)
            try:
                self.appctl(*words, daemon=daemon)
                _await_end(handle, daemon, self.timeout)
            except (SwitchError, Unavailable):
                _kill(handle, daemon, self.timeout)


def _arguments(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


def _await_end(handle: int, daemon: str, timeout: float) -> None:
    watch = select.poll()
    watch.register(handle, select.POLLIN)
    if not watch.poll(timeout * 1000):
        raise TimedOut(f"{daemon} did not end within {timeout:g} s")


def _kill(handle: int, daemon: str, timeout: float) -> None:
    signal.pidfd_send_signal(handle, signal.SIGKILL)
    _await_end(handle, daemon, timeout)


def _run(command: tuple[str, ...], environment: dict[str, str], timeout: float) -> str:
    said = " ".join(command)
    try:
        done = subprocess.run(
            command, env=environment, timeout=timeout, capture_output=True, text=True, check=False
        )
    except FileNotFoundError as error:
        raise Unavailable(f"{command[0]} is not installed; openvswitch-switch has it") from error
    except subprocess.TimeoutExpired as error:
        raise TimedOut(f"no answer within {timeout:g} s from: {said}") from error
    if done.returncode != 0:
        words = done.stderr.strip() or done.stdout.strip() or f"exit status {done.returncode}"
        raise SwitchError(f"{words} (from: {said})")
    return done.stdout
