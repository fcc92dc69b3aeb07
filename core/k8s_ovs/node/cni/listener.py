"""The socket that the CNI program connects to: private to root, used by one daemon at a time."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import struct
from contextlib import suppress
from pathlib import Path

from attrs import frozen

from k8s_ovs.errors import K8sOvsError

__all__ = ["CniSocket", "SocketInUse", "is_held", "listening_process", "peer_uid"]

_BACKLOG = 512
_PROBE_SECONDS = 1.0
_MODE = 0o600
_UCRED = struct.Struct("=iII")


class SocketInUse(K8sOvsError):
    """Another daemon serves the socket: there is nothing for this one to do here."""


@frozen
class _Identity:
    """Which file is it, and whose?"""

    device: int
    number: int
    mode: int
    owner: tuple[int, int]


class CniSocket:
    """The socket at `path`. While it is open, no other daemon has one in its directory, whatever
    becomes of the socket's file: the directory is locked (flock(2))."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._directory = -1
        self._made: _Identity | None = None

    def open(self) -> socket.socket:
        """A listening, non-blocking socket, mode 0600; its directory is made with mode 0700.

        What is at the path is replaced atomically if it is a socket that nobody listens at, or if
        this had a socket there. Raises SocketInUse when a live daemon has the directory, another
        K8sOvsError when the path cannot be used.
        """
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock()
            if self._made is None and (pid := listening_process(self._path)) is not None:
                raise SocketInUse(_in_use(self._path, pid))
            listener = _bound(self._path)
            self._made = _identity(self._path)
        except OSError as error:
            reason = error.strerror or error
            raise K8sOvsError(f"socket {self._path} cannot be made: {reason}") from error
        finally:
            if self._made is None:
                self._unlock()
        return listener

    def damage(self) -> str:
        """What somebody did to the file; "": nothing."""
        made, path = self._made, self._path
        if made is None:
            return ""
        try:
            found = _identity(path)
        except OSError as error:
            return "missing" if isinstance(error, FileNotFoundError) else str(error.strerror)
        if (found.device, found.number) != (made.device, made.number):
            return "another file is in its place"
        if found.mode != made.mode:
            return f"mode is {found.mode:o}, expected {made.mode:o}"
        return "" if found.owner == made.owner else f"owner is {found.owner}, expected {made.owner}"

    def close(self) -> None:
        """Take the name away, as long as it is ours, and let another daemon have the directory."""
        with suppress(OSError):
            found, made = _identity(self._path), self._made
            if made and (found.device, found.number) == (made.device, made.number):
                self._path.unlink()
        self._made = None
        self._unlock()

    def _lock(self) -> None:
        """Lock the directory that is at the path now. Raises SocketInUse, OSError."""
        there = self._path.parent.stat()
        if self._directory >= 0 and os.path.samestat(os.fstat(self._directory), there):
            return
        self._unlock()
        self._directory = _opened(self._path.parent)
        try:
            fcntl.flock(self._directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._unlock()
            pid = None
            with suppress(OSError, K8sOvsError):
                pid = listening_process(self._path)
            raise SocketInUse(_in_use(self._path, pid)) from error

    def _unlock(self) -> None:
        if self._directory >= 0:
            os.close(self._directory)
            self._directory = -1


def peer_uid(channel: socket.socket) -> int:
    """Whose process connected (unix(7), SO_PEERCRED)."""
    _, uid, _ = _peer(channel)
    return uid


def is_held(path: Path) -> bool:
    """Whether a daemon has the socket at `path`, also one whose file is gone. Raises OSError."""
    try:
        descriptor = _opened(path.parent)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def listening_process(path: Path) -> int | None:
    """The process that listens at `path`; None: nobody does."""
    if path.exists() and not path.is_socket():
        raise K8sOvsError(f"{path} is in the way: found a file, expected a socket or nothing")
    with socket.socket(socket.AF_UNIX) as channel:
        channel.settimeout(_PROBE_SECONDS)
        try:
            channel.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        pid, _, _ = _peer(channel)
        return pid


def _in_use(path: Path, pid: int | None) -> str:
    return f"socket {path} is in use by a live daemon" + (f" (process {pid})" if pid else "")


def _opened(directory: Path) -> int:
    return os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _identity(path: Path) -> _Identity:
    found = path.lstat()
    owner = found.st_uid, found.st_gid
    return _Identity(found.st_dev, found.st_ino, stat.S_IMODE(found.st_mode), owner)


def _bound(path: Path) -> socket.socket:
    """Listens before it gets its name, so no client ever finds a socket that refuses."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.unlink(missing_ok=True)
        listener.bind(str(temporary))
        temporary.chmod(_MODE)
        listener.listen(_BACKLOG)
        temporary.replace(path)
    except OSError:
        listener.close()
        temporary.unlink(missing_ok=True)
        raise
    return listener


def _peer(channel: socket.socket) -> tuple[int, int, int]:
    """(pid, uid, gid) of the other side."""
    raw = channel.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    pid, uid, gid = _UCRED.unpack(raw)
    return pid, uid, gid
