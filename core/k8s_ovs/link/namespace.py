"""Work in another network namespace, from a thread of this process.

Entering affects only the calling thread (setns(2)); a socket stays where it was opened.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

from k8s_ovs.link.netlink import LinkError

__all__ = ["entered", "is_own", "opened"]

_CLONE_NEWNET = 0x40000000
# Python has os.setns from 3.12 on. PyDLL: the call is too short to give the interpreter lock away.
_libc = ctypes.PyDLL(None, use_errno=True)


@contextmanager
def opened(path: str) -> Iterator[int]:
    """A descriptor of the network namespace at `path`. Raises LinkError if it does not exist."""
    try:
        netns = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        message = f"network namespace {path}: {error.strerror}"
        raise LinkError(message, error.errno or 0) from error
    try:
        yield netns
    finally:
        os.close(netns)


def is_own(path: str) -> bool:
    """Whether the network namespace at `path` is the one that the calling thread is in."""
    try:
        return os.path.samefile(path, "/proc/thread-self/ns/net")
    except OSError:
        return False


@contextmanager
def entered(netns: int) -> Iterator[None]:
    """The calling thread is in the namespace with this descriptor until the block ends.

    Raises LinkError if it is no namespace.
    """
    with opened("/proc/thread-self/ns/net") as home:
        if _libc.setns(netns, _CLONE_NEWNET):
            errno = ctypes.get_errno()
            path = os.readlink(f"/proc/self/fd/{netns}")
            raise LinkError(f"{path} is not a network namespace: {os.strerror(errno)}", errno)
        try:
            yield
        finally:
            # A thread that stayed in a pod's namespace would work on the wrong devices ever after.
            if _libc.setns(home, _CLONE_NEWNET):
                os.abort()
