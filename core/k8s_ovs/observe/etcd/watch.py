"""What happens under a prefix of etcd? A whole snapshot, then each change, continuously."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import grpc
import structlog
from attrs import frozen

from k8s_ovs.backoff import Backoff
from k8s_ovs.errors import K8sOvsError, Unavailable
from k8s_ovs.observe.etcd.client import Etcd
from k8s_ovs.observe.etcd.connection import EtcdConnection
from k8s_ovs.observe.etcd.errors import reason
from k8s_ovs.observe.etcd.messages import (
    PROGRESS_REQUEST,
    KeyRange,
    KeyValue,
    key_ranges,
    key_text,
    key_value,
    watch_request,
)
from k8s_ovs.observe.failure_log import FailureLog
from k8s_ovs.observe.watch_event import Entry, RecordChange, Sink, Snapshot, SourceState, WatchEvent
from k8s_ovs.supervise import SupervisedThread

__all__ = ["LeftOut", "PrefixWatch"]

_log = structlog.get_logger(__name__)

# A peer is lost when two probes are unanswered as the third falls due: 3 to 4.5 s after its last
# word. Counted, not timed: a node that was suspended itself must not take its peer for dead.
_PROBE_EVERY = 1.5
_PROBES_UNANSWERED = 2
# etcd brings new watches up to date every 100 ms, each by itself, and answers a progress request
# when all are. Older releases answer at once (etcd's issue 15220), so they are asked this much
# later.
_SETTLE = 0.25


class _WatchEnded(K8sOvsError):
    """etcd answers, and this watch cannot go on (compaction, no permission): list again."""


@frozen
class LeftOut:
    """Which keys are not watched. A record below the prefix names them; paths are below it too.

    key: that record. below: from its value (None: it does not exist) to the beginnings of the keys;
    None: that value does not say, it stays as it was.
    """

    key: str
    below: Callable[[bytes | None], tuple[str, ...] | None]


@frozen
class _Event:
    """number: of the range of keys. pair None: the key was deleted."""

    number: int
    key: str
    pair: KeyValue | None
    revision: int


class _EventStream:
    """One watch of some ranges of keys at one endpoint, until something ends it.

    revisions: from which each of the ranges is watched. What happened before etcd has brought all
    ranges up to date is held until then, and comes in the order in which it happened: who has seen
    a revision has seen all that was before it.
    """

    def __init__(
        self,
        connection: EtcdConnection,
        prefix: str,
        ranges: tuple[KeyRange, ...],
        revisions: Sequence[int],
    ) -> None:
        self._connection = connection
        self._prefix = prefix
        self._wanted = tuple(zip(ranges, revisions, strict=True))
        self._numbers: dict[int, int] = {}
        self._over = threading.Event()
        self._unanswered = 0
        self._silent = False
        self.endpoint, self._call = connection.open_watch(self._requests())

    def cancel(self) -> None:
        """End it from any thread."""
        self._over.set()
        self._call.cancel()

    def events(self) -> Iterator[list[_Event]]:
        """What one response brought, in order; nothing, where it is a sign of life.

        Raises Unavailable or _WatchEnded, or just ends.
        """
        held: list[_Event] = []
        is_held = len(self._wanted) > 1
        try:
            for response in self._call:
                self._unanswered = 0
                if response.canceled:
                    self._raise_cancelled(response)
                if response.created:
                    self._note_created(response)
                number = self._numbers.get(response.watch_id, 0)
                held += [_event(number, message) for message in response.events]
                if is_held and (response.created or response.events):
                    continue  # the answer to the progress request comes last
                is_held = False
                events, held = sorted(held, key=lambda event: event.revision), []
                yield events
        except grpc.RpcError as error:
            if self._over.is_set():
                return
            raise Unavailable(f"etcd at {self.endpoint}: {self._reason(error)}") from error
        finally:
            self.cancel()

    def _requests(self) -> Iterator[Any]:
        # gRPC runs this in a thread of its own, which serves as the watchdog.
        for keys, revision in self._wanted:
            yield watch_request(keys, revision)
        wait = _SETTLE if len(self._wanted) > 1 else _PROBE_EVERY
        while not self._over.wait(wait):
            wait = _PROBE_EVERY
            if self._unanswered >= _PROBES_UNANSWERED:
                self._silent = True
                self._call.cancel()
                return
            self._unanswered += 1
            yield PROGRESS_REQUEST

    def _note_created(self, response: Any) -> None:
        """etcd creates the watches in the order in which they were asked for."""
        number = len(self._numbers)
        self._numbers[response.watch_id] = number
        asked, there = self._wanted[number][1] - 1, response.header.revision
        if there < asked:
            # A watch of the future is silent until then.
            raise _WatchEnded(f"etcd at {self.endpoint} is at revision {there} and was at {asked}")

    def _reason(self, error: grpc.RpcError) -> str:
        if self._silent:
            silence = _PROBE_EVERY * _PROBES_UNANSWERED
            return f"no sign of life on the watch of {self._prefix} for {silence:g} s"
        return f"the watch of {self._prefix} broke: {reason(error)}"

    def _raise_cancelled(self, response: Any) -> None:
        if response.compact_revision:
            raise _WatchEnded(f"{self._prefix} is compacted up to {response.compact_revision}")
        # An expired token looks like a missing permission here.
        self._connection.forget_token()
        why = response.cancel_reason or "no reason given"
        raise _WatchEnded(f"etcd at {self.endpoint} ended the watch of {self._prefix}: {why}")


class PrefixWatch:
    """A thread that sends the sink all keys under a prefix; keys are relative to it.

    Snapshot, then RecordChanges, also those of the time while etcd was disconnected; a Snapshot
    again where etcd no longer has them (compaction, other data), so that what was deleted is known
    to be gone. SourceState(True) follows the first Snapshot and comes again after a
    SourceState(False), which is sent as soon as etcd is disconnected: 4.5 s after it falls silent,
    and at once when the connection breaks. The sink is called by that thread alone and must return
    soon.
    """

    def __init__(
        self,
        etcd: Etcd,
        prefix: str,
        source: str,
        sink: Sink,
        left_out: LeftOut | None = None,
    ) -> None:
        self._etcd = etcd
        self._prefix = prefix
        self._source = source
        self._sink = sink
        self._left_out = left_out
        self._holes: tuple[str, ...] = ()
        # Per range, from which revision on it is to be watched; None: list first.
        self._next: list[int] | None = None
        self._last: KeyValue | None = None
        self._connected: bool | None = None
        self._backoff = Backoff()
        self._outage = FailureLog(
            f"{source} is disconnected, serving the last snapshot",
            f"{source} is connected",
            source=source,
        )
        self._endings = FailureLog("etcd watch ended, listing", "etcd watch goes on", source=source)
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._stream: _EventStream | None = None
        self._thread = SupervisedThread(
            name=f"watch {source}", target=self._run, stopped=self._stopped
        )

    def start(self) -> None:
        """Begin; watch events come from now on."""
        self._thread.start()

    def stop(self) -> None:
        """No watch event is sent after this. Waits 2 s at most for the thread to end."""
        with self._lock:
            self._stopped.set()
            if self._stream:
                self._stream.cancel()
        if self._thread.ident is not None:
            self._thread.join(2)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._follow()
            except _WatchEnded as error:
                self._endings.failed(error)
                self._next = None
            except K8sOvsError as error:
                self._lost(error, str(error))
            except Exception as error:
                # A fault in the sink must not leave the node disconnected without a log line.
                self._next = None
                self._lost(error, f"watch of {self._prefix} failed: {error!r}", exc_info=True)
            self._stopped.wait(self._backoff.wait())

    def _follow(self) -> None:
        revisions: Sequence[int]
        if self._next is not None and self._is_continued():
            revisions = self._next
        else:
            revisions = self._snapshot()
        stream = self._open(revisions)
        if stream is None:
            return
        try:
            for events in stream.events():
                self._backoff.reset()
                self._found()
                for event in events:
                    self._take(event)
        except Unavailable:
            self._etcd.connection.avoid(stream.endpoint)
            raise

    def _take(self, event: _Event) -> None:
        key, pair = event.key[len(self._prefix) :], event.pair
        entry = None if pair is None else Entry(pair.value, pair.mod_revision)
        self._send(RecordChange(self._source, key, entry, event.revision))
        if pair is not None:
            self._last = pair
        elif self._last is not None and self._last.key == event.key:
            self._last = None
        if self._next is not None:
            self._next[event.number] = event.revision + 1
        if self._holes_by(key, pair) != self._holes:
            raise _WatchEnded(f"{event.key} names other keys to leave out")

    def _is_continued(self) -> bool:
        """Whether etcd still has the history that we have seen: an etcd that was restored or made
        anew may have reached our revision with other data."""
        last = self._last
        if last is None:
            return False
        try:
            return self._etcd.get_at(last.key, last.mod_revision) == last
        except Unavailable:
            raise
        except K8sOvsError as error:
            self._endings.failed(_WatchEnded(str(error)))
            return False

    def _snapshot(self) -> list[int]:
        """Send all records; from which revision on each range is to be watched."""
        started = time.monotonic()
        found, revision = self._listed()
        self._last = max(found.values(), key=lambda pair: pair.mod_revision, default=None)
        entries = {
            key[len(self._prefix) :]: Entry(found[key].value, found[key].mod_revision)
            for key in found
        }
        milliseconds = round((time.monotonic() - started) * 1000, 1)
        _log.info(
            "etcd listed",
            source=self._source,
            prefix=self._prefix,
            keys=len(entries),
            revision=revision,
            ms=milliseconds,
        )
        self._send(Snapshot(self._source, entries, revision))
        self._found()
        count = len(self._holes) + 1
        # Nothing happened here between the last record and `revision`. If this etcd is restored to
        # a time in between, then what happens there is not missed.
        self._next = [self._last.mod_revision + 1 if self._last else 1] * count
        return [revision + 1] * count

    def _listed(self) -> tuple[dict[str, KeyValue], int]:
        if self._left_out is None:
            return self._etcd.list(self._prefix)
        path = self._prefix + self._left_out.key
        pair = self._etcd.get(path)
        while True:
            self._holes = self._holes_by(self._left_out.key, pair)
            found, revision = self._etcd.list(self._prefix, self._whole_holes())
            pair = found.get(path)
            if self._holes_by(self._left_out.key, pair) == self._holes:
                return found, revision

    def _holes_by(self, key: str, pair: KeyValue | None) -> tuple[str, ...]:
        """What is left out now that this key has this value."""
        if self._left_out is None or key != self._left_out.key:
            return self._holes
        below = self._left_out.below(None if pair is None else pair.value)
        return self._holes if below is None else below

    def _whole_holes(self) -> list[str]:
        return [self._prefix + hole for hole in self._holes]

    def _open(self, revisions: Sequence[int]) -> _EventStream | None:
        ranges = key_ranges(self._prefix, self._whole_holes())
        with self._lock:
            if self._stopped.is_set():
                return None
            self._stream = _EventStream(self._etcd.connection, self._prefix, ranges, revisions)
            return self._stream

    def _found(self) -> None:
        self._outage.worked()
        self._endings.worked()
        if not self._connected:
            self._connected = True
            self._send(SourceState(self._source, True))

    def _lost(self, error: Exception, detail: str, **fields: Any) -> None:
        if self._stopped.is_set():
            return
        self._outage.failed(error, **fields)
        if self._connected is not False:
            self._connected = False
            self._send(SourceState(self._source, False, detail))

    def _send(self, event: WatchEvent) -> None:
        if not self._stopped.is_set():
            self._sink(event)


def _event(number: int, message: Any) -> _Event:
    deleted = message.type == message.DELETE
    pair = None if deleted else key_value(message.kv)
    return _Event(number, key_text(message.kv.key), pair, message.kv.mod_revision)
