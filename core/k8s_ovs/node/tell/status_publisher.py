"""What this node says of itself in etcd: its status, and which subnet its pods are in.

The status is under a lease: it goes when the node does.

Of a host that Kubernetes does not know nobody else says when it was last seen, so it says that too,
under a lease that outlives it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

import structlog
from attrs import evolve

from k8s_ovs.backoff import Backoff
from k8s_ovs.errors import K8sOvsError, Unavailable
from k8s_ovs.model.codec import encode
from k8s_ovs.model.node_status import SEEN, STATUS, NodeStatus
from k8s_ovs.node.tell.node_state import NodeState
from k8s_ovs.node.tell.subnet_use_writer import SubnetUseWriter
from k8s_ovs.observe.etcd.client import Etcd, Put
from k8s_ovs.observe.failure_log import FailureLog
from k8s_ovs.supervise import SupervisedThread

__all__ = ["StatusPublisher", "node_status"]

_log = structlog.get_logger(__name__)

#: Seconds after which the record of a node that is not heard of is gone.
_TTL = 15
_AT_MOST_EVERY = 1.0
#: Seconds between two questions whether etcd takes writes: a node that has none would not notice.
_SPACE_EVERY = 30.0
#: Seconds between two notes of when a host was seen, and for which the last one is kept.
_NOTE_EVERY = 30.0
_NOTE_TTL = 30 * 24 * 3600


class StatusPublisher:
    """A thread that keeps the status of `host` at the newest, written at most once a second.

    base: the network's prefix in etcd, `<prefix>/<Name>`. external: Kubernetes does not know the
    host, so it is noted when it was seen. on_problem: called by the thread when `problem` changes.
    """

    def __init__(
        self,
        etcd: Etcd,
        base: str,
        host: str,
        *,
        external: bool,
        on_problem: Callable[[], None] = lambda: None,
    ) -> None:
        self._etcd = etcd
        self._base = base
        self._key = f"{base}/{STATUS}/{host}"
        self._external = external
        self._use = SubnetUseWriter(etcd, base, host)
        self._on_problem = on_problem
        self._failures = FailureLog("status not written", "status written again", key=self._key)
        self._space_at = 0.0
        self.problem = ""
        self._lasting = 0
        self._note_at = 0.0
        self._wanted: NodeStatus | None = None
        self._written: NodeStatus | None = None
        self._lease = 0
        self._renew_at = 0.0
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._thread = SupervisedThread(name="status", target=self._run, stopped=self._stopped)

    def start(self) -> None:
        self._thread.start()

    def offer(self, state: NodeState) -> None:
        """The newest state; from any thread."""
        status = node_status(state)
        if self._use.offer(state.subnet_use, state.told_use) or status != self._wanted:
            self._wanted = status
            self._wake.set()

    def stop(self) -> None:
        """Take the record away and end."""
        self._stopped.set()
        self._wake.set()
        self._thread.join(2 * self._etcd.settings.timeout)

    def _run(self) -> None:
        backoff = Backoff()
        while not self._stopped.is_set():
            try:
                self._step()
                backoff.reset()
                pause = _AT_MOST_EVERY
                self._failures.worked()
                self._have_problem("")
            except K8sOvsError as error:
                self._failures.failed(error)
                self._have_problem("" if isinstance(error, Unavailable) else str(error))
                # Whether the lease still exists, its renewal says; etcd may refuse another one.
                self._renew_at, self._note_at, pause = 0.0, 0.0, backoff.wait()
            self._pause(pause)
        self._end()

    def _have_problem(self, text: str) -> None:
        """text: why etcd refuses, which etcd itself cannot be told; empty: it does not."""
        if text != self.problem:
            self.problem = text
            self._on_problem()

    def _pause(self, least: float) -> None:
        """At least `least` seconds, then until there is something to do."""
        self._stopped.wait(least)
        self._wake.wait(max(min(self._renew_at, self._use.due_at) - time.monotonic(), 0))
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
        if wanted is not None and (wanted != self._written or self._is_to_be_noted(now)):
            said = [Put(self._key, encode(wanted), self._lease)]
            if self._external and wanted.host_ip:
                said.append(self._note(wanted, now))
            self._etcd.txn((), said)
            self._written = wanted
        if now >= self._use.due_at:
            self._use.step()
        if now >= self._space_at or self.problem:
            self._etcd.check_space()
            self._space_at = now + _SPACE_EVERY

    def _is_to_be_noted(self, now: float) -> bool:
        return self._external and now >= self._note_at

    def _note(self, status: NodeStatus, now: float) -> Put:
        """That the host has been seen, for the time when it is not any more."""
        key = f"{self._base}/{SEEN}/{status.host_ip}"
        if self._is_to_be_noted(now):
            self._note_at = now + _NOTE_EVERY
            self._lasting = self._etcd.lease_of(key, _NOTE_TTL)
        seen = evolve(status, seen=datetime.now(UTC).isoformat(timespec="seconds"))
        return Put(key, encode(seen), self._lasting)

    def _end(self) -> None:
        try:
            self._use.end()
            if self._lease:
                self._etcd.revoke(self._lease)
        except K8sOvsError as error:
            _log.warning("status left behind", key=self._key, gone_in=_TTL, reason=str(error))


def node_status(state: NodeState) -> NodeStatus:
    """The record in etcd: what all may know of this node."""
    local_node = state.local_node
    return NodeStatus(
        node=state.hostname,
        host_ip=str(local_node.host_ip) if local_node else "",
        version=state.version,
        revision=state.applied_revision,
        ready=state.ready,
        pods=state.pods,
        flows=state.flows,
        errors=state.problems,
        waiting_for=state.waiting_for or None,
    )
