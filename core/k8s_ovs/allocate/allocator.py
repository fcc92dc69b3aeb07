"""The leader writes what the plugins' allocations ask for, by compare-and-swap.

Each allocation is one transaction that succeeds only while we are the leader and every record is as
it was when this was decided. What we wrote counts at once, before the watch brings it back.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping

import structlog

from k8s_ovs.allocate.brake import held_back
from k8s_ovs.allocate.deletions import Deletions
from k8s_ovs.allocate.election import LeaderElection, LeaderToken
from k8s_ovs.allocate.write import put_back, transaction_of
from k8s_ovs.errors import K8sOvsError, Unavailable, shown
from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.hooks.result import Failure
from k8s_ovs.model.allowance import ALLOWED, DELETIONS
from k8s_ovs.model.world import CONFIG, Slot, World
from k8s_ovs.observe.etcd.client import Delete, Etcd, EtcdFull, Unchanged
from k8s_ovs.observe.failure_log import FailureLog
from k8s_ovs.plugin.records import RecordKind
from k8s_ovs.plugin.values import Allocation, Event, Problem, Write
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

_RETRY = 1.0
_IDLE = 30.0

_Key = tuple[str, str]


class Allocator:
    """A thread that writes allocations while this daemon is the leader.

    base: the network's prefix in etcd, `<prefix>/<Name>`. hold_down, grace: seconds.
    publish: called with each event, once its allocation is written; must not raise.
    """

    def __init__(
        self,
        etcd: Etcd,
        base: str,
        election: LeaderElection,
        *,
        hold_down: float = HOLD_DOWN,
        grace: float = GRACE,
        publish: Callable[[Event], None] = lambda _: None,
    ) -> None:
        self._etcd = etcd
        self._base = base
        self._election = election
        self._grace = grace
        self._publish = publish
        self._term: LeaderToken | None = None
        # With the first snapshot that shows it.
        self._term_began = math.inf
        self._offered: tuple[World, PluginManager] | None = None
        self._lost: Mapping[str, bytes] = {}
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._seen = World()
        self._ours: dict[_Key, tuple[Slot | None, int]] = {}
        self._hold_down = hold_down
        self._deletions = Deletions(hold_down)
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

    def offer(self, world: World, manager: PluginManager) -> None:
        """The newest snapshot, as long as all sources are connected. From any thread."""
        self._offered = (world, manager)
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
        token, offered = self._election.token, self._offered
        if token is None:
            self._problems = ()
            self._seen, self._ours = World(), {}
        if token is not None and self._lost:
            put_back(self._etcd, token.compare(), self._lost)
            return False
        if token is None or offered is None:
            return True
        world, manager = offered
        if self._term != token:  # what happened in between others have seen, or nobody
            self._term, self._term_began = token, math.inf
            self._seen, self._ours, self._deletions = World(), {}, Deletions(self._hold_down)
        self._note_deletions(world)
        # Until this snapshot shows our own election key, it may lack what the previous leader
        # wrote.
        if world.revision < token.create_revision or not world.of(CONFIG):
            return False
        self._term_began = min(self._term_began, time.monotonic())
        return self._allocate(token, world, manager)

    def _allocate(self, token: LeaderToken, world: World, manager: PluginManager) -> bool:
        problems: list[str] = []
        settled, taking = True, False
        shown = world

        def with_ours() -> World:
            nonlocal shown
            shown = self._with_ours(world)
            return shown

        for plugin, result in manager.allocations(with_ours):
            if isinstance(result, Failure):
                problems.append(str(result))
                taking = True  # who knows what it would have
                continue
            wanted = tuple(result)
            asked = [each for each in wanted if isinstance(each, Allocation)]
            held, told = held_back(shown, asked)
            taking |= any(each.missing for each in asked)
            stopped = set(map(id, held))
            rest = [*(each for each in wanted if id(each) not in stopped), *told]
            settled &= self._carry_out(token, manager, plugin, rest, problems)
        if not taking:
            self._end_allowance(token, world)
        self._tell_problems(tuple(problems))
        return settled and not problems

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
        manager: PluginManager,
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
                late = self._is_held(each) or self._is_early(each)
                settled &= not late and self._write(token, manager, plugin, each)
            except (Unavailable, EtcdFull):
                raise
            except K8sOvsError as error:
                problems.append(f"plugin {plugin}: {each.reason}: {error}")
            except BaseException as error:  # this allocation fails alone
                self._faults.tell("allocation failed", error, plugin=plugin, reason=each.reason)
                problems.append(f"plugin {plugin}: {each.reason}: {shown(error)}")
        return settled

    def _write(
        self, token: LeaderToken, manager: PluginManager, plugin: str, wanted: Allocation
    ) -> bool:
        begin = time.monotonic()
        compares, operations = transaction_of(self._base, wanted.writes, manager.kinds)
        result = self._etcd.txn([token.compare(), *compares], operations)
        if result.succeeded:
            for write in wanted.writes:
                self._remember(manager.kinds[write.kind], write, result.revision)
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

    def _remember(self, kind: RecordKind, write: Write, revision: int) -> None:
        which = write.kind, write.key
        if write.value is None:
            self._ours[which] = (None, revision)
            self._deletions.note({which: self._seen.slot(*which).settled}, by_leader=True)
        else:
            self._ours[which] = (kind.slot(write.value, revision), revision)

    def _with_ours(self, world: World) -> World:
        """`world` with what we wrote and it may not show yet, all parts of it or some, and with
        what was deleted a moment ago."""
        self._ours = {
            key: (slot, revision)
            for key, (slot, revision) in self._ours.items()
            if revision >= world.revision
        }
        ours = {key: slot for key, (slot, _) in self._ours.items()}
        return world.changed({**ours, **self._deletions.as_slots()})

    def _note_deletions(self, world: World) -> None:
        """Hold down what somebody else has deleted since the last snapshot."""
        if world.revision < self._seen.revision:  # etcd was restored: nobody has deleted anything
            self._seen, self._ours = World(), {}
        before = {
            (kind, key): slot.settled
            for kind, records in self._seen.kinds.items()
            for key, slot in records.items()
        }
        for which, (slot, revision) in self._ours.items():
            if slot is None:
                before.pop(which, None)
            elif revision < world.revision:
                before[which] = slot.settled
        gone = {(kind, key): v for (kind, key), v in before.items() if key not in world.of(kind)}
        self._deletions.note(gone, by_leader=False)
        # What we have deleted may be shown for a moment yet.
        removed = {which for which, (slot, _) in self._ours.items() if slot is None}
        self._deletions.forget(lambda it: it not in removed and it[1] in world.of(it[0]))
        self._seen = world

    def _is_held(self, wanted: Allocation) -> bool:
        """Whether it would write what somebody has just deleted."""
        # A request is explicit, whatever was deleted before.
        if any(self._seen.slot(each.kind, each.key).asked for each in wanted.writes):
            return False
        written = (each for each in wanted.writes if each.value is not None)
        return any(self._deletions.stays_away((each.kind, each.key)) for each in written)

    def _is_early(self, wanted: Allocation) -> bool:
        deletes = any(each.value is None for each in wanted.writes)
        return deletes and time.monotonic() < self._term_began + self._grace

    def _tell_problems(self, problems: tuple[str, ...]) -> None:
        for text in problems:
            if text not in self._problems:
                _log.error("cannot allocate", reason=text)
        self._problems = problems
