"""Keeps this node's record below `used/` in etcd: which subnet its pods are in."""

from __future__ import annotations

import math
import time

from k8s_ovs.model.codec import encode
from k8s_ovs.model.subnet_use import SubnetUse
from k8s_ovs.model.world import USED
from k8s_ovs.observe.etcd.client import Delete, Etcd, Put

__all__ = ["SubnetUseWriter"]

#: Seconds for which the record outlives a daemon that says no more.
_TTL = 600
#: Seconds within which the watch shows what was written.
_SHOWN_WITHIN = 5.0


class SubnetUseWriter:
    """The record of one node. base: the network's prefix in etcd, `<prefix>/<Name>`."""

    def __init__(self, etcd: Etcd, base: str, host: str) -> None:
        self._etcd = etcd
        self._key = f"{base}/{USED}/{host}"
        self._wanted: SubnetUse | None = None
        self._shown: SubnetUse | None = None
        self._written_at: float | None = None
        self._lease = 0
        self.due_at = 0.0

    def offer(self, wanted: SubnetUse | None, shown: SubnetUse | None) -> bool:
        """What is to be there, and what etcd shows; whether `step` has something to do."""
        if wanted != self._wanted or wanted == shown:
            self._written_at = None  # what was written is there, or is of no use
        self._wanted, self._shown = wanted, shown
        if wanted != shown and self._written_at is None:
            self.due_at = 0.0
        return self.due_at == 0.0

    def step(self) -> None:
        """Write, delete, or renew the lease. Raises K8sOvsError where etcd does not."""
        now = time.monotonic()
        is_shown = self._wanted == self._shown
        if not is_shown and self._is_to_be_written(now):
            self._write(self._wanted)
            self._written_at = now
        if not is_shown:
            self.due_at = now + _SHOWN_WITHIN
        elif self._wanted is None:
            self.due_at = math.inf
        else:
            self._renew(now)

    def end(self) -> None:
        """Delete the record of pods that have just gone. Raises K8sOvsError."""
        if self._wanted is None and self._shown is not None:
            self._write(None)

    def _is_to_be_written(self, now: float) -> bool:
        return self._written_at is None or now >= self._written_at + _SHOWN_WITHIN

    def _write(self, use: SubnetUse | None) -> None:
        if use is None:
            self._etcd.txn((), [Delete(self._key)])
        else:
            self._lease = self._etcd.lease_of(self._key, _TTL)
            self._etcd.txn((), [Put(self._key, encode(use), self._lease)])

    def _renew(self, now: float) -> None:
        self._lease = self._lease or self._etcd.lease_of(self._key, _TTL)
        if self._etcd.keep_alive(self._lease):
            self.due_at = now + _TTL / 3
        else:  # with it went the record
            self._lease, self._written_at, self.due_at = 0, None, 0.0
