"""The objects of a resource, now and from now on."""

from __future__ import annotations

import json
import random
import threading
import time
from functools import partial
from http import HTTPStatus
from typing import Any

import structlog
from attrs import frozen

from k8s_ovs.backoff import Backoff
from k8s_ovs.errors import K8sOvsError, Unavailable, shown
from k8s_ovs.model.json_text import parse_json
from k8s_ovs.observe.failure_log import FailureLog
from k8s_ovs.observe.kube.client import Kube
from k8s_ovs.observe.kube.documents import (
    Json,
    flaw,
    object_key,
    read_event,
    version_of,
)
from k8s_ovs.observe.kube.errors import Busy, Expired, Garbled, NotFound, Refused, refusal
from k8s_ovs.observe.kube.lines import Lines
from k8s_ovs.observe.watch_event import (
    Entry,
    PackedEntry,
    RecordChange,
    Sink,
    Snapshot,
    SourceState,
    WatchEvent,
)
from k8s_ovs.supervise import SupervisedThread

__all__ = ["Listed", "ResourceWatch", "WatchedResource", "list_resource"]

_log = structlog.get_logger(__name__)

_SERVER_SECONDS = (240, 300)
_GRACE = 15.0
_SHORT = 1.0
#: Problems of objects in a line of the log, and that are remembered so as not to be told again.
_MOST_TOLD, _MOST_REMEMBERED = 3, 1000
#: Seconds of the first watch after one that was none.
_TRIAL = 2
#: Seconds for which a server that has too much to do is left alone at most, whatever it asks for.
_LONGEST_WAIT = 60.0
_JOIN = 2.0
#: Seconds for which the API server does not know a resource that it has listed before, until that
#: is taken for true.
_BELIEVED_AFTER = 60.0
#: Seconds after which is looked again for what nobody has installed: at first, and at most.
_LOOK_FIRST, _LOOK_SELDOM = 1.0, 30.0


@frozen
class WatchedResource:
    """What to watch. path: of the collection, as `/api/v1/pods`. source: its name in watch events.

    field_selector: as `spec.nodeName=node1`; label_selector: as `app=web`; empty for all objects.
    optional: where the API server does not know the resource, there is no object of it.
    reader: who reads it, for the log.
    """

    path: str
    source: str
    field_selector: str = ""
    label_selector: str = ""
    optional: bool = False
    reader: str = ""

    @property
    def params(self) -> dict[str, str]:
        """Query parameters that select the objects."""
        words = {"fieldSelector": self.field_selector, "labelSelector": self.label_selector}
        return {name: word for name, word in words.items() if word}


@frozen
class Listed:
    """All objects as they are now. version: the resourceVersion of that state. left_out: which
    items cannot be used, and why."""

    snapshot: Snapshot
    version: str
    left_out: tuple[str, ...]


def list_resource(kube: Kube, resource: WatchedResource) -> Listed:
    """List a resource. Raises what Kube raises."""
    whole = kube.list(resource.path, resource.params, _kept)
    where = f"API server {kube.settings.server}: GET {resource.path}"
    version = version_of(whole)
    if not version:
        raise Garbled(f"{where}: metadata: found no resourceVersion, expected a string")
    entries, left_out = dict[str, PackedEntry](), list[str]()
    read = partial(_object, _item_type(whole))
    for place, (problem, key, text) in enumerate(whole["items"]):
        if problem:
            left_out.append(f"{where}: items[{place}]: {problem}")
        else:
            entries[key] = PackedEntry(text, read)
    return Listed(Snapshot(resource.source, entries), version, tuple(left_out))


class ResourceWatch:
    """Sends watch events of one resource to `sink` from a thread of its own, until `stop`.

    Entries are JSON objects without metadata.managedFields, under `object_key`; what is no such
    object is left out and told. After a gap (410, or a start) comes a Snapshot; after a lost
    connection alone the watch resumes where it broke. An optional resource that nobody has
    installed is an empty Snapshot, and is looked for again.

    A server whose watch was none is not connected until a short one has been one: only what comes,
    or that nothing does, tells a watch from any other answer.
    """

    def __init__(self, kube: Kube, resource: WatchedResource, sink: Sink) -> None:
        self._kube = kube
        self._resource = resource
        self._sink = sink
        source = resource.source
        about: dict[str, Any] = {"source": source, "server": kube.settings.server}
        about |= {"plugin": resource.reader} if resource.reader else {}
        self._log = _log.bind(**about)
        self._missed_since: float | None = None
        self._version = ""
        # Whether it was not installed the last time that it was told; None: it was not told.
        self._absent: bool | None = None
        self._looks = Backoff(_LOOK_FIRST, _LOOK_SELDOM)
        self._state: SourceState | None = None
        self._understood = True
        self._empty = 0
        self._told_left_out: frozenset[str] = frozenset()
        self._backoff = Backoff()
        self._outage = FailureLog(
            f"{source} is disconnected, serving the last snapshot",
            f"{source} is connected",
            **about,
        )
        self._expiry = FailureLog("resourceVersion expired, relisting", "watching on", **about)
        self._stopped = threading.Event()
        self._lines: Lines | None = None
        self._thread = SupervisedThread(
            name=f"watch-{resource.source}", target=self._run, stopped=self._stopped
        )

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self, *, wait: bool = True) -> None:
        """End within 2 s; a request that hangs is left to its time limit, and sends nothing."""
        self._stopped.set()
        if self._lines is not None:
            self._lines.cut(Unavailable("stopped"))
        if wait and self._thread.is_alive():
            self._thread.join(_JOIN)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._list_and_follow()
            except Expired as error:
                self._expiry.failed(error)
                self._version = ""
                self._pause()
            except Garbled as error:
                self._version, self._understood = "", False
                self._lost(error)
            except K8sOvsError as error:
                if isinstance(error, NotFound) and self._resource.optional:
                    self._not_installed(error)
                else:
                    self._lost(error)
            except Exception as error:
                self._version = ""
                ours = f"{self._where}: k8s-ovs failed on its answer: {shown(error)}"
                self._lost(K8sOvsError(ours), exc_info=True)

    def _list_and_follow(self) -> None:
        if not self._version:
            self._snapshot()
        if not self._understood:
            self._try_out()
        if self._lasts(random.randint(*_SERVER_SECONDS)):  # noqa: S311 - spreads reconnects, no secret
            self._empty = 0
            return
        self._empty += 1
        if self._empty > 1:  # once, a server that is being shut down may do that
            raise self._ended_at_once()
        self._pause()

    def _try_out(self) -> None:
        if not self._lasts(_TRIAL):
            raise self._ended_at_once()
        self._understood, self._empty = True, 0
        self._found()

    def _lasts(self, seconds: int) -> bool:
        """Follow a watch to its end; whether it was more than an empty answer."""
        began, events = time.monotonic(), 0
        try:
            events = self._follow(seconds)
        except Garbled:
            raise  # however long it took
        except Exception:
            if time.monotonic() > began + _SHORT:
                self._backoff.reset()
            raise
        if time.monotonic() > began + _SHORT:
            self._backoff.reset()
            return True
        return events > 0

    def _ended_at_once(self) -> Garbled:
        return Garbled(
            f"{self._where}: found an answer that ended at once without an event, expected a watch"
        )

    def _lost(self, error: Exception, **fields: Any) -> None:
        if not self._stopped.is_set():
            self._outage.failed(error, **fields)
        self._set_connected(False, str(error), refused=isinstance(error, Refused))
        asked = error.retry_after if isinstance(error, Busy) else 0.0
        self._pause(min(asked, _LONGEST_WAIT))

    def _not_installed(self, error: NotFound) -> None:
        """What has been listed stays for a while: its definition may be on its way to be replaced,
        or the API server about to start."""
        self._version = ""
        now = time.monotonic()
        self._missed_since = now if self._missed_since is None else self._missed_since
        if self._absent is False and now < self._missed_since + _BELIEVED_AFTER:
            self._lost(error)
            return
        self._found()
        if not self._absent:
            self._absent = True
            self._log.info("resource not installed", reason=str(error))
            self._send(Snapshot(self._resource.source))
        self._stopped.wait(self._looks.wait())

    def _pause(self, least: float = 0.0) -> None:
        self._stopped.wait(max(self._backoff.wait(), least))

    def _snapshot(self) -> None:
        began = time.monotonic()
        listed = list_resource(self._kube, self._resource)
        self._version, self._absent = listed.version, False
        self._missed_since = None
        self._looks.reset()
        self._leave_out(listed.left_out)
        if self._understood:
            self._found()
        self._send(listed.snapshot)
        self._log.info(
            "resource listed",
            objects=len(listed.snapshot.entries),
            ms=round((time.monotonic() - began) * 1000, 1),
        )

    def _follow(self, seconds: int) -> int:
        """Take in what a watch of so many seconds says; how many events that were."""
        events = 0
        params = {
            **self._resource.params,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(seconds),
        }
        with self._kube.lines(self._resource.path, params, seconds + _GRACE) as lines:
            self._lines = lines
            if self._stopped.is_set():
                return events
            if self._understood:
                self._found()
            for line in lines:
                self._take(line)
                self._expiry.worked()
                events += 1
        return events

    def _take(self, line: bytes) -> None:
        kind, document = read_event(line, self._where)
        if kind == "ERROR":
            code = document.get("code")
            raise refusal(
                self._kube.settings.server,
                f"watch {self._resource.path}",
                code if type(code) is int else HTTPStatus.INTERNAL_SERVER_ERROR,
                json.dumps(document).encode(),
            )
        if kind != "BOOKMARK":
            self._change(kind, document)
        self._version = version_of(document) or self._version

    def _change(self, kind: str, document: Json) -> None:
        if problem := flaw(document):
            self._leave_out((f"{self._where}: {kind}: {problem}", *self._told_left_out))
            return
        entry = None if kind == "DELETED" else Entry(_slim(document))
        self._send(RecordChange(self._resource.source, object_key(document), entry))

    def _leave_out(self, problems: tuple[str, ...]) -> None:
        """Tell what of the resource cannot be used now, as far as the log does not say so."""
        new = [each for each in problems if each not in self._told_left_out]
        if new:
            more = f"; and {len(new) - _MOST_TOLD} more" if len(new) > _MOST_TOLD else ""
            self._log.warning("objects left out", reason="; ".join(new[:_MOST_TOLD]) + more)
        self._told_left_out = frozenset(problems[:_MOST_REMEMBERED])

    @property
    def _where(self) -> str:
        return f"API server {self._kube.settings.server}: watch {self._resource.path}"

    def _found(self) -> None:
        self._outage.worked()
        self._set_connected(True)

    def _set_connected(self, connected: bool, detail: str = "", *, refused: bool = False) -> None:
        before = self._state
        now = SourceState(self._resource.source, connected, detail, refused)
        if before is None or (before.connected, before.refused) != (connected, refused):
            self._state = now
            self._send(now)

    def _send(self, event: WatchEvent) -> None:
        if not self._stopped.is_set():
            self._sink(event)


def _item_type(whole: Json) -> Json:
    """Kind and version of a list's items, which leave them out while a watch's objects do not."""
    kind = str(whole.get("kind", "")).removesuffix("List")
    version = whole.get("apiVersion", "")
    return {"kind": kind, "apiVersion": version} if kind and version else {}


def _kept(item: Any, text: str) -> tuple[str, str, bytes]:
    """Of an item of a list: why it cannot be used, or its key and its text."""
    problem = flaw(item)
    return (problem, "", b"") if problem else ("", object_key(item), text.encode())


def _object(shared: Json, text: bytes) -> Json:
    """The object of this text, as a watch would say it."""
    return _slim({**shared, **parse_json(text)})


def _slim(document: Json) -> Json:
    document["metadata"].pop("managedFields", None)
    return document
