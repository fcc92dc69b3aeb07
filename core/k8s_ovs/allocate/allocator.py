"""The leader writes what the plugins' allocations ask for, by compare-and-swap.

Each allocation is one transaction that succeeds only while we are the leader and every record is as
it was when this was decided. What we wrote counts at once, before the watch brings it back.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import structlog
from attrs import frozen

from k8s_ovs.allocate.brake import held_back
from k8s_ovs.allocate.election import LeaderToken
from k8s_ovs.allocate.leaders_world import LeadersWorld, Which
from k8s_ovs.allocate.write import put_back, transaction_of
from k8s_ovs.errors import K8sOvsError, Unavailable, shown
from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.hooks.result import Failure, Held
from k8s_ovs.model.allowance import ALLOWED, DELETIONS
from k8s_ovs.model.world import CONFIG, World
from k8s_ovs.observe.etcd.client import Delete, Etcd, EtcdFull, Unchanged
from k8s_ovs.observe.failure_log import FailureLog
from k8s_ovs.plugin.values import Allocation, Event, Problem
from k8s_ovs.supervise import FaultLog, SupervisedThread

__all__ = ["Allocator"]

_log = structlog.get_logger(__name__)

#: Seconds for which a manually deleted record stays deleted, although it is still wanted: time to
#: delete the node too; afterwards the node gets a subnet again. For as long nobody else is given
#: what the leader itself has taken back.
HOLD_DOWN = 60.0

#: Seconds as leader, with a snapshot of one's own, before anything is deleted. The previous leader
#: may have given a subnet to a node that this snapshot does not show yet.
GRACE = 10.0

#: How often plugins are asked until nothing they want follows from what was written for them; then
#: the newest snapshot is due.
_MOST_ROUNDS = 10

_RETRY = 1.0
_IDLE = 30.0


class Leadership(Protocol):
    """Says whether this daemon is the leader."""

    @property
    def token(self) -> LeaderToken | None:
        """Proof of it; None: it is not."""


@frozen
class _Wanted:
    """What a plugin wanted last. problems: what could not be done. taking: whether it takes
    something from somebody, or may."""

    problems: tuple[str, ...]
    taking: bool


class Allocator:
    """A thread that writes allocations while this daemon is the leader.

    base: the network's prefix in etcd, `<prefix>/<Name>`. hold_down, grace: seconds.
    publish: called with each event, once its allocation is written; must not raise.
    """

    def __init__(
        self,
        etcd: Etcd,
        base: str,
        election: Leadership,
        *,
        hold_down: float = HOLD_DOWN,
        grace: float = GRACE,
        publish: Callable[[Event], None] = lambda _: None,
    ) -> None:
        self._etcd = etcd
        self._base = base
        self._election = election
        self._grace = grace
        self._hold_down = hold_down
        self._publish = publish
        self._term: LeaderToken | None = None
        # With the first snapshot that shows it.
        self._term_began = math.inf
        self._lock = threading.Lock()
        self._offered: tuple[World, PluginManager] | None = None
        # What may have changed since the last snapshot that was taken; None: all.
        self._touched: set[Which] | None = None
        self._lost: Mapping[str, bytes] = {}
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._known: LeadersWorld | None = None
        # What each plugin wants, and which of them must be looked at again.
        self._wanted: dict[str, _Wanted] = {}
        self._unsettled: set[str] = set()
        self._problems: tuple[str, ...] = ()
        self._faults = FaultLog()
        self._failures = FailureLog(
            "allocation failed, trying again", "allocation works again", prefix=base
        )
        self._thread = SupervisedThread(name="allocator", target=self._run, stopped=self._stopped)

    @property
    def problems(self) -> tuple[str, ...]:
        """What could not be allocated, and why; empty if another daemon is the leader."""
        return self._problems

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End; a transaction under way is waited for, up to its time limit."""
        self._stopped.set()
        self._wake.set()
        self._thread.join(self._etcd.settings.timeout + 1)

    def offer(
        self, world: World, manager: PluginManager, touched: Iterable[Which] | None = None
    ) -> None:
        """The newest snapshot, as long as all sources are connected. From any thread.

        touched: what may differ from the snapshot that was offered before; None: all.
        """
        with self._lock:
            if self._offered is not None and self._offered[0] is world and touched == set():
                return
            self._offered = (world, manager)
            if touched is None:
                self._touched = None
            elif self._touched is not None:
                self._touched.update(touched)
        self._wake.set()

    def offer_lost(self, records: Mapping[str, bytes]) -> None:
        """What etcd has lost, values by full key: put back before anything is allocated."""
        if records and records != self._lost:
            self._wake.set()
        self._lost = records

    def withdraw(self) -> None:
        """What was offered is not the newest any more: write nothing until the next one comes."""
        self._offered = None

    def reconcile(self) -> bool:
        """Write what is wanted now; False: call again soon. Called by the thread itself.

        Raises Unavailable if etcd does not answer, EtcdFull if it refuses all writes.
        """
        token = self._election.token
        if token is None:
            self._problems, self._known, self._touched = (), None, None
            return True
        if self._lost:
            put_back(self._etcd, token.compare(), self._lost)
            return False
        with self._lock:
            offered, touched = self._offered, self._touched
            if offered is None:
                return True
            self._touched = set()
        world, manager = offered
        known = self._known_in(token, manager)
        known.see(world, touched)
        # Until this snapshot shows our own election key, it may lack what the previous leader
        # wrote.
        if world.revision < token.create_revision or not world.of(CONFIG):
            return False
        self._term_began = min(self._term_began, time.monotonic())
        return self._allocate(token, known)

    def _known_in(self, token: LeaderToken, manager: PluginManager) -> LeadersWorld:
        """What was seen in this term: what happened before, others have seen, or nobody."""
        if self._term != token:
            self._term, self._term_began, self._known = token, math.inf, None
        if self._known is None or self._known.manager is not manager:
            self._known = LeadersWorld(manager, self._hold_down)
            self._wanted, self._unsettled = {}, set(manager.allocators)
        return self._known

    def _allocate(self, token: LeaderToken, known: LeadersWorld) -> bool:
        known.look_at_clock()
        for _ in range(_MOST_ROUNDS):
            self._ask_all(token, known)
            # What was just written may change what is wanted.
            stale = known.answers.take_stale()
            self._unsettled |= stale
            if not stale or self._offered is None:
                break
        else:
            self._wake.set()
        if not any(each.taking for each in self._wanted.values()):
            self._end_allowance(token, known.world)
        problems = [text for each in self._wanted.values() for text in each.problems]
        self._tell_problems(tuple(problems))
        return not self._unsettled and not problems

    def _ask_all(self, token: LeaderToken, known: LeadersWorld) -> None:
        for plugin in known.manager.allocators:
            # What was written for the one before is not given away again.
            self._unsettled |= known.answers.take_stale()
            if plugin in self._unsettled and self._ask(token, known, plugin):
                self._unsettled.discard(plugin)

    def _ask(self, token: LeaderToken, known: LeadersWorld, plugin: str) -> bool:
        """Whether all is written that the plugin wants."""
        view = known.answers.view()
        result = known.manager.allocations(plugin, view)
        known.answers.remember(plugin, view)
        if isinstance(result, Held):
            text = f"plugin {plugin}: it allocates nothing without {result.named} of Kubernetes"
            self._wanted[plugin] = _Wanted((text,), taking=True)
            return False
        if isinstance(result, Failure):
            if result.again:
                known.answers.doubt()
            # Who knows what it would have.
            self._wanted[plugin] = _Wanted((str(result),), taking=True)
            return False
        asked = [each for each in result if isinstance(each, Allocation)]
        held, told = held_back(known.world, asked)
        stopped = set(map(id, held))
        rest = [*(each for each in result if id(each) not in stopped), *told]
        problems: list[str] = []
        settled = self._carry_out(token, known, plugin, rest, problems) and not held
        self._wanted[plugin] = _Wanted(tuple(problems), any(each.missing for each in asked))
        return settled

    def _run(self) -> None:
        wait = _IDLE
        while not self._stopped.is_set():
            self._wake.wait(wait)
            self._wake.clear()
            try:
                wait = _IDLE if self.reconcile() else _RETRY
                self._failures.worked()
            except K8sOvsError as error:
                self._failures.failed(error)
                if not isinstance(error, Unavailable):
                    self._problems = (str(error),)
                wait = _RETRY

    def _carry_out(
        self,
        token: LeaderToken,
        known: LeadersWorld,
        plugin: str,
        wanted: Iterable[Allocation | Problem],
        problems: list[str],
    ) -> bool:
        settled = True
        for each in wanted:
            if self._offered is None:
                return False
            if isinstance(each, Problem):
                problems.append(f"{each.subject} {each.text}")
                continue
            try:
                late = known.is_held(each) or self._is_early(each)
                settled &= not late and self._write(token, known, plugin, each)
            except (Unavailable, EtcdFull):
                raise
            except K8sOvsError as error:
                settled = False
                problems.append(f"plugin {plugin}: {each.reason}: {error}")
            except BaseException as error:  # this allocation fails alone
                settled = False
                self._faults.tell("allocation failed", error, plugin=plugin, reason=each.reason)
                problems.append(f"plugin {plugin}: {each.reason}: {shown(error)}")
        return settled

    def _write(
        self, token: LeaderToken, known: LeadersWorld, plugin: str, wanted: Allocation
    ) -> bool:
        begin, kinds = time.monotonic(), known.manager.kinds
        compares, operations = transaction_of(self._base, wanted.writes, kinds)
        result = self._etcd.txn([token.compare(), *compares], operations)
        if result.succeeded:
            for write in wanted.writes:
                known.wrote(kinds[write.kind], write, result.revision)
            if wanted.event is not None:
                self._publish(wanted.event)
        _log.info(
            "allocated" if result.succeeded else "allocation conflict, retrying",
            plugin=plugin,
            reason=wanted.reason,
            keys=[f"{write.kind}/{write.key}" for write in wanted.writes],
            revision=result.revision,
            ms=round((time.monotonic() - begin) * 1e3, 1),
        )
        return result.succeeded

    def _end_allowance(self, token: LeaderToken, world: World) -> None:
        """Nothing is left to delete: what a person has allowed is not for the next time."""
        if revision := world.slot(DELETIONS, ALLOWED).revision:
            key = f"{self._base}/{DELETIONS}/{ALLOWED}"
            self._etcd.txn([token.compare(), Unchanged(key, revision)], [Delete(key)])

    def _is_early(self, wanted: Allocation) -> bool:
        deletes = any(each.value is None for each in wanted.writes)
        return deletes and time.monotonic() < self._term_began + self._grace

    def _tell_problems(self, problems: tuple[str, ...]) -> None:
        for text in problems:
            if text not in self._problems:
                _log.error("cannot allocate", reason=text)
        self._problems = problems
