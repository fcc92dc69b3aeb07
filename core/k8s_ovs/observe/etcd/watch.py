"""What happens under a prefix of etcd? A whole snapshot, then each change, continuously."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import grpc
import structlog
from attrs import frozen

from k8s_ovs.backoff import Backoff
from k8s_ovs.errors import K8sOvsError, Unavailable
from k8s_ovs.observe.etcd.client import Etcd
from k8s_ovs.observe.etcd.connection import EtcdConnection
from k8s_ovs.observe.etcd.errors import reason
from k8s_ovs.observe.etcd.messages import PROGRESS_REQUEST, key_bytes, key_text, watch_request
from k8s_ovs.observe.watch_event import Entry, RecordChange, Sink, Snapshot, SourceState, WatchEvent
from k8s_ovs.supervise import SupervisedThread

__all__ = ["PrefixWatch"]

_log = structlog.get_logger(__name__)

# A peer is lost when two probes are unanswered as the third falls due: 3 to 4.5 s after its last
# word. Counted, not timed: a node that was suspended itself must not take its peer for dead.
_PROBE_EVERY = 1.5
_PROBES_UNANSWERED = 2


class _WatchEnded(K8sOvsError):
    """etcd answers but ended the watch (compaction, no permission): list again."""


@frozen
class _Event:
    key: str
    entry: Entry | None
    revision: int


class _EventStream:
    """One watch of one prefix at one endpoint, until something ends it."""

    def __init__(self, connection: EtcdConnection, prefix: str, revision: int) -> None:
        self._connection = connection
        self._prefix = prefix
        self._revision = revision
        self._over = threading.Event()
        self._unanswered = 0
        self._silent = False
        self.endpoint, self._call = connection.open_watch(self._requests())

    def cancel(self) -> None:
        """End it from any thread."""
        self._over.set()
        self._call.cancel()

    def events(self) -> Iterator[list[_Event]]:
        """What one response brought, in order. Raises Unavailable or _WatchEnded, or just ends."""
        try:
            for response in self._call:
                self._unanswered = 0
                if response.canceled:
                    self._raise_cancelled(response)
                yield [_event(message) for message in response.events]
        except grpc.RpcError as error:
            if self._over.is_set():
                return
            raise Unavailable(f"etcd at {self.endpoint}: {self._reason(error)}") from error
        finally:
            self.cancel()

    def _requests(self) -> Iterator[bytes]:
        # gRPC runs this in a thread of its own, which serves as the watchdog.
        yield watch_request(key_bytes(self._prefix), self._revision)
        while not self._over.wait(_PROBE_EVERY):
            if self._unanswered >= _PROBES_UNANSWERED:
                self._silent = True
                self._call.cancel()
                return
            self._unanswered += 1
            yield PROGRESS_REQUEST

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

    Snapshot, then RecordChanges; a Snapshot again after every gap (compaction, lost connection), so
    that what was deleted in the gap is known to be gone. SourceState(True) follows the first
    Snapshot and each one after a SourceState(False), which is sent as soon as etcd is disconnected:
    4.5 s after it falls silent, and at once when the connection breaks. The sink is called by that
    thread alone and must return soon.
    """

    def __init__(self, etcd: Etcd, prefix: str, source: str, sink: Sink) -> None:
        self._etcd = etcd
        self._prefix = prefix
        self._source = source
        self._sink = sink
        self._connected: bool | None = None
        self._backoff = Backoff()
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
                _log.info("etcd watch ended", source=self._source, reason=str(error))
            except K8sOvsError as error:
                self._lost(str(error))
            except Exception as error:
                # A fault in the sink must not leave the node disconnected without a log line.
                _log.exception("etcd watch failed", source=self._source)
                self._lost(f"watch of {self._prefix} failed: {error!r}")
            self._stopped.wait(self._backoff.wait())

    def _follow(self) -> None:
        stream = self._open(self._snapshot() + 1)
        if stream is None:
            return
        try:
            for events in stream.events():
                self._backoff.reset()
                for event in events:
                    key = event.key[len(self._prefix) :]
                    self._send(RecordChange(self._source, key, event.entry, event.revision))
        except Unavailable:
            self._etcd.connection.avoid(stream.endpoint)
            raise

    def _snapshot(self) -> int:
        started = time.monotonic()
        found, revision = self._etcd.list(self._prefix)
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
        if not self._connected:
            self._connected = True
            self._send(SourceState(self._source, True))
        return revision

    def _open(self, revision: int) -> _EventStream | None:
        with self._lock:
            if self._stopped.is_set():
                return None
            self._stream = _EventStream(self._etcd.connection, self._prefix, revision)
            return self._stream

    def _lost(self, detail: str) -> None:
        if self._connected is not False and not self._stopped.is_set():
            self._connected = False
            _log.warning("etcd disconnected", source=self._source, reason=detail)
            self._send(SourceState(self._source, False, detail))

    def _send(self, event: WatchEvent) -> None:
        if not self._stopped.is_set():
            self._sink(event)


def _event(message: Any) -> _Event:
    pair = message.kv
    deleted = message.type == message.DELETE
    entry = None if deleted else Entry(pair.value, pair.mod_revision)
    return _Event(key_text(pair.key), entry, pair.mod_revision)
