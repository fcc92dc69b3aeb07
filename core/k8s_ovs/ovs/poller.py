"""What does the daemon wait for? File descriptors, OVSDB, or a moment; whichever comes first."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import ovs.poller

from k8s_ovs.ovs.ovsdb.client import Ovsdb

__all__ = ["wait"]

_Poller: Any = ovs.poller.Poller
_READABLE = 0x001  # POLLIN


def wait(readable: Iterable[int], ovsdb: Ovsdb, until: float) -> None:
    """Return when one of the file descriptors can be read, `ovsdb` has something to do, or at
    `until` (time.monotonic())."""
    poller = _Poller()
    for descriptor in readable:
        poller.fd_wait(descriptor, _READABLE)
    ovsdb.wait(poller)
    poller.timer_wait(max(0, int((until - time.monotonic()) * 1000) + 1))
    poller.block()
