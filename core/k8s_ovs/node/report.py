"""This node's status in etcd, under a lease: it goes when the node does."""

from __future__ import annotations

import threading
import time

import structlog

from k8s_ovs.errors import K8sOvsError
from k8s_ovs.model.codec import encode
from k8s_ovs.model.status import NodeStatus
from k8s_ovs.observe.backoff import Backoff
from k8s_ovs.observe.etcd import Etcd, Put

__all__ = ["Reporter"]

_log = structlog.get_logger(__name__)

#: Seconds after which the record of a node that is not heard of is gone.
_TTL = 15
_AT_MOST_EVERY = 1.0


class Reporter:
    """A thread that keeps `key` at the newest status, written at most once a second."""

    def __init__(self, etcd: Etcd, key: str) -> None:
        self._etcd = etcd
        self._key = key
        self._wanted: NodeStatus | None = None
        self._written: NodeStatus | None = None
        self._lease = 0
        self._renew_at = 0.0
        self._wake = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="status", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def offer(self, status: NodeStatus) -> None:
        """The newest status; from any thread."""
        if status != self._wanted:
            self._wanted = status
            self._wake.set()

    def stop(self) -> None:
        """Take the record away and end."""
        self._stopped = True
        self._wake.set()
        self._thread.join(2 * self._etcd.settings.timeout)

    def _run(self) -> None:
        backoff = Backoff()
        while not self._stopped:
            try:
                self._step()
                backoff.reset()
                pause = _AT_MOST_EVERY
            except K8sOvsError as error:
                _log.warning("status not written", key=self._key, reason=str(error))
                self._lease, pause = 0, backoff.wait()
            self._pause(pause)
        self._end()

    def _pause(self, least: float) -> None:
        """At least `least` seconds, then until there is something to do."""
        time.sleep(0 if self._stopped else least)
        self._wake.wait(max(self._renew_at - time.monotonic(), 0))
        self._wake.clear()

    def _step(self) -> None:
        now = time.monotonic()
        if self._lease and now >= self._renew_at and not self._etcd.keep_alive(self._lease):
            self._lease = 0
        if not self._lease:
            self._lease = self._etcd.lease(_TTL)
            self._written = None
        if now >= self._renew_at or self._written is None:
            self._renew_at = now + _TTL / 3
        wanted = self._wanted
        if wanted is not None and wanted != self._written:
            self._etcd.txn((), [Put(self._key, encode(wanted), self._lease)])
            self._written = wanted

    def _end(self) -> None:
        if not self._lease:
            return
        try:
            self._etcd.revoke(self._lease)
        except K8sOvsError as error:
            _log.warning("status left behind", key=self._key, gone_in=_TTL, reason=str(error))
