"""The socket that the CNI program connects to: private to root, used by one daemon at a time."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from k8s_ovs.errors import K8sOvsError

__all__ = ["SocketInUse", "close", "listen", "listening_process", "peer_uid"]

_BACKLOG = 512
_PROBE_SECONDS = 1.0
_UCRED = struct.Struct("=iII")


class SocketInUse(K8sOvsError):
    """Another daemon serves the socket: there is nothing for this one to do here."""


def listen(path: Path) -> socket.socket:
    """A listening, non-blocking socket at `path`, mode 0600; its directory is made with mode 0700.

    A socket that nobody listens at is replaced atomically. Raises SocketInUse when a live daemon
    listens there, another K8sOvsError when the path cannot be used.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _alone_in(path.parent):
            if (pid := listening_process(path)) is not None:
                raise SocketInUse(f"socket {path} is in use by a live daemon (process {pid})")
            return _bound(path)
    except OSError as error:
        raise K8sOvsError(f"socket {path} cannot be made: {error.strerror or error}") from error


def peer_uid(channel: socket.socket) -> int:
    """Whose process connected (unix(7), SO_PEERCRED)."""
    _, uid, _ = _peer(channel)
    return uid


def close(listener: socket.socket, path: Path) -> None:
    """Stop listening, the name first: while we listen, no other daemon takes it."""
    path.unlink(missing_ok=True)
    listener.close()


@contextmanager
def _alone_in(directory: Path) -> Iterator[None]:
    """Of two daemons that start in the same moment, one is refused."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


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


def _bound(path: Path) -> socket.socket:
    """Listens before it gets its name, so no client ever finds a socket that refuses."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.unlink(missing_ok=True)
        listener.bind(str(temporary))
        temporary.chmod(0o600)
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
