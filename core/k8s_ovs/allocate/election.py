"""Who allocates? The one daemon that is the leader: it owns a key in etcd, under a lease.

Who follows the leader is elected in the same way: succession.py has both.

Leadership permits nothing by itself. Each allocation's transaction contains `token.compare()`, so a
leader that was deposed without noticing cannot write.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable

import structlog
from attrs import frozen

from k8s_ovs.backoff import Backoff
from k8s_ovs.errors import K8sOvsError, Unavailable
from k8s_ovs.observe.etcd.client import Absent, CreatedAt, Etcd, Get, Put
from k8s_ovs.observe.etcd.errors import Forbidden
from k8s_ovs.observe.failure_log import FailureLog
from k8s_ovs.supervise import SupervisedThread

__all__ = ["SUCCESSOR", "LeaderElection", "LeaderToken"]

_log = structlog.get_logger(__name__)

#: Seconds between two looks at the key while another daemon is the leader: where nobody calls
#: `saw`, and where that is just in case.
_LOOK_EVERY = 2.0
_LOOK_SELDOM = 30.0
#: Seconds within which daemons run when the leader is gone. Not all in step: the first to run
#: becomes the leader, the others see that and need not try.
_SPREAD = 0.5


@frozen
class Messages:
    """What the log says of who holds the key."""

    taken: str
    lost: str
    unknown: str
    known_again: str
    not_released: str


LEADER = Messages(
    "became leader",
    "lost leadership",
    "leadership unknown",
    "leadership known again",
    "leadership not released",
)
SUCCESSOR = Messages(
    "became successor",
    "lost succession",
    "succession unknown",
    "succession known again",
    "succession not released",
)


@frozen
class LeaderToken:
    """Proof of one term as leader; the next leader's key has another create_revision."""

    key: str
    create_revision: int

    def compare(self) -> CreatedAt:
        """True in a transaction for as long as this term lasts."""
        return CreatedAt(self.key, self.create_revision)


@frozen
class _Term:
    token: LeaderToken
    lease: int
    ends: float


class LeaderElection:
    """A thread that runs for leader and, once it is the leader, stays it until stop().

    key: the election key in etcd; its value is {"holder": identity}.
    ttl: seconds until the leadership of a silent leader expires.
    on_change: called by that thread with the token on becoming the leader and None on losing that,
    and with the last one when the key is `forbidden` or not any more.
    watched: somebody watches the key and calls `saw`; else it is read every 2 s.
    may_run: whether this daemon may be the leader at all; `reconsider` tells that it has changed.
    messages: of the log.
    """

    def __init__(
        self,
        etcd: Etcd,
        key: str,
        identity: str,
        ttl: int = 10,
        on_change: Callable[[LeaderToken | None], None] | None = None,
        *,
        watched: bool = False,
        may_run: Callable[[], bool] = lambda: True,
        messages: Messages = LEADER,
    ) -> None:
        self._etcd = etcd
        self.key = key
        self._identity = identity
        self._ttl = ttl
        self._on_change = on_change
        self._look_every = _LOOK_SELDOM if watched else _LOOK_EVERY
        self._may_run = may_run
        self._messages = messages
        self._is_held = False
        self._is_to_reconsider = False
        self._wake = threading.Event()
        self._backoff, self._refusals = Backoff(cap=_LOOK_EVERY), Backoff(cap=_LOOK_SELDOM)
        self._failures = FailureLog(messages.unknown, messages.known_again, key=key, node=identity)
        self._problem = ""
        #: Whether etcd's roles do not let this daemon hold the key, as far as etcd has said.
        self.forbidden = False
        self._term: _Term | None = None
        self._told: LeaderToken | None = None
        self._stopped = threading.Event()
        self._thread = SupervisedThread(
            name=f"election {key}", target=self._run, stopped=self._stopped
        )

    @property
    def token(self) -> LeaderToken | None:
        """None when another daemon is the leader, or the lease may have expired unrenewed."""
        term = self._term
        return term.token if term and time.monotonic() < term.ends else None

    @property
    def holds(self) -> bool:
        """Whether this daemon has the key, be it that it may have lost it: `token` is sure."""
        return self._term is not None

    @property
    def problem(self) -> str:
        """Why there can be no leader, although etcd answers; empty: there can."""
        return self._problem

    def start(self) -> None:
        """Begin to run for leader."""
        self._thread.start()

    def saw(self, held: bool) -> None:
        """Whether the key exists, as a watch shows it. From any thread."""
        self._is_held = held
        if not held:
            self._wake.set()

    def reconsider(self) -> None:
        """Look again now whether to run. From any thread."""
        self._is_to_reconsider = True
        self._wake.set()

    def stop(self, *, wait: bool = True) -> None:
        """Release leadership and end, as soon as the calls in progress end."""
        self._stopped.set()
        self._wake.set()
        if wait and self._thread.ident is not None:
            self._thread.join(4 * self._etcd.settings.timeout)

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._is_to_reconsider = False
            self._wake.clear()
            try:
                wait = self._step()
                self._worked()
            except K8sOvsError as error:
                wait = self._failed(error)
            self._tell()
            self._pause(wait)
        self._give_back()
        self._tell()

    def _pause(self, seconds: float) -> None:
        """That long, or until the key is seen to be gone, and still is a moment later; or until
        `reconsider`."""
        ends = time.monotonic() + seconds
        while not self._stopped.is_set() and not self._is_to_reconsider:
            if not self._wake.wait(max(0.0, ends - time.monotonic())):
                return
            self._wake.clear()
            if self._is_to_reconsider:
                return
            if self._term is None:
                self._stopped.wait(random.uniform(0.0, _SPREAD))  # noqa: S311  spreads load only
            if not self._is_held:
                return

    def _step(self) -> float:
        """Become or stay the leader; seconds until the next step."""
        if not self._may_run():
            self._give_back()
        elif self._term is not None:
            self._term = self._renewed(self._term)
        elif self._etcd.get(self.key) is None:
            self._term = self._taken()
        if self._term is None:
            return self._look_every * random.uniform(0.5, 1.0)  # noqa: S311  spreads load only
        return self._ttl / 3

    def _taken(self) -> _Term | None:
        asked = time.monotonic()
        lease = self._etcd.lease(self._ttl)
        value = json.dumps({"holder": self._identity}).encode()
        try:
            result = self._etcd.txn(
                [Absent(self.key)], [Put(self.key, value, lease)], [Get(self.key)]
            )
        except Unavailable:
            raise  # it may have been done
        except K8sOvsError:
            self._etcd.revoke(lease)
            raise
        if result.succeeded:
            return _Term(LeaderToken(self.key, result.revision), lease, asked + self._ttl)
        # A repeated transaction finds what its first, unanswered attempt wrote.
        found = result.found[0]
        if found is not None and found.lease == lease:
            return _Term(LeaderToken(self.key, found.create_revision), lease, asked + self._ttl)
        self._etcd.revoke(lease)
        return None

    def _renewed(self, term: _Term) -> _Term | None:
        asked = time.monotonic()
        remaining = self._etcd.keep_alive(term.lease)
        found = self._etcd.get(self.key) if remaining > 0 else None
        if found is None or found.create_revision != term.token.create_revision:
            # Someone may have removed the key; the lease by itself is worth nothing.
            self._etcd.revoke(term.lease)
            return None
        return _Term(term.token, term.lease, asked + remaining)

    def _give_back(self) -> None:
        term, self._term = self._term, None
        if term is None:
            return
        try:
            self._etcd.revoke(term.lease)
        except K8sOvsError as error:
            _log.warning(
                self._messages.not_released, key=self.key, reason=str(error), free_in=self._ttl
            )

    def _tell(self) -> None:
        token = self.token
        if token == self._told:
            return
        self._told = token
        _log.info(
            self._messages.taken if token else self._messages.lost,
            key=self.key,
            node=self._identity,
            revision=token.create_revision if token else None,
        )
        self._call_listener(token)

    def _worked(self) -> None:
        self._backoff.reset()
        self._refusals.reset()
        self._failures.worked()
        self._problem = ""
        self._set_forbidden(forbidden=False)

    def _failed(self, error: K8sOvsError) -> float:
        """Seconds until the next step. Who was refused asks seldom: so do all others."""
        self._failures.failed(error)
        if isinstance(error, Unavailable):
            self._problem = ""
            return self._backoff.wait()
        self._problem = str(error)
        self._set_forbidden(forbidden=isinstance(error, Forbidden))
        return self._refusals.wait()

    def _set_forbidden(self, *, forbidden: bool) -> None:
        changed, self.forbidden = forbidden is not self.forbidden, forbidden
        if changed:
            self._call_listener(self._told)

    def _call_listener(self, token: LeaderToken | None) -> None:
        if self._on_change is None:
            return
        try:
            self._on_change(token)
        except Exception:
            # A fault in the listener must not end the election.
            _log.exception("leadership listener failed", key=self.key, node=self._identity)
