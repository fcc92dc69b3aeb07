"""The objects of a resource, now and from now on."""

from __future__ import annotations

import json
import random
import threading
import time
from typing import Any

import structlog
from attrs import frozen

from k8s_ovs.backoff import Backoff
from k8s_ovs.errors import InvalidRecord, K8sOvsError, Unavailable
from k8s_ovs.model.kube_object import kube_field
from k8s_ovs.observe.failure_log import FailureLog
from k8s_ovs.observe.kube.client import Json, Kube, Lines
from k8s_ovs.observe.kube.errors import Expired, refusal
from k8s_ovs.observe.watch_event import Entry, RecordChange, Sink, Snapshot, SourceState, WatchEvent
from k8s_ovs.supervise import SupervisedThread

__all__ = ["ResourceWatch", "WatchedResource", "list_resource", "object_key"]

_log = structlog.get_logger(__name__)

_SERVER_SECONDS = (240, 300)
_GRACE = 15.0
_SHORT = 1.0
_JOIN = 2.0


@frozen
class WatchedResource:
    """What to watch. path: of the collection, as `/api/v1/pods`. source: its name in watch events.

    field_selector: as `spec.nodeName=node1`; empty for all objects.
    """

    path: str
    source: str
    field_selector: str = ""

    @property
    def params(self) -> dict[str, str]:
        """Query parameters that select the objects."""
        return {"fieldSelector": self.field_selector} if self.field_selector else {}


def object_key(document: Json) -> str:
    """`namespace/name`, or `name` of what belongs to the cluster. Raises InvalidRecord."""
    subject = "object of the API server"
    name = kube_field(subject, document, "metadata.name", str)
    if not name:
        raise InvalidRecord(f"{subject}: metadata.name: found nothing, expected a string")
    namespace = kube_field(subject, document, "metadata.namespace", str)
    return f"{namespace}/{name}" if namespace else name


def list_resource(kube: Kube, resource: WatchedResource) -> tuple[Snapshot, str]:
    """All objects as they are now, and the resourceVersion of that state."""
    whole = kube.list(resource.path, resource.params)
    shared = _item_type(whole)
    subject = f"list of {resource.path}"
    items = kube_field(subject, whole, "items", list) or ()
    entries = {object_key(item): Entry(_slim({**shared, **item})) for item in items}
    version = kube_field(subject, whole, "metadata.resourceVersion", str) or ""
    return Snapshot(resource.source, entries), version


class ResourceWatch:
    """Sends watch events of one resource to `sink` from a thread of its own, until `stop`.

    Entries are JSON objects without metadata.managedFields, under `object_key`. After a gap
    (410, or a start) comes a Snapshot; after a lost connection alone the watch resumes where it
    broke.
    """

    def __init__(self, kube: Kube, resource: WatchedResource, sink: Sink) -> None:
        self._kube = kube
        self._resource = resource
        self._sink = sink
        source, server = resource.source, kube.settings.server
        self._log = _log.bind(source=source, server=server)
        self._version = ""
        self._connected: bool | None = None
        self._backoff = Backoff()
        self._outage = FailureLog(
            f"{source} is disconnected, serving the last snapshot",
            f"{source} is connected",
            source=source,
            server=server,
        )
        self._expiry = FailureLog(
            "resourceVersion expired, relisting", "watching on", source=source, server=server
        )
        self._stopped = threading.Event()
        self._lines: Lines | None = None
        self._thread = SupervisedThread(
            name=f"watch-{resource.source}", target=self._run, stopped=self._stopped
        )

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """End within 2 s; a request that hangs is left to its time limit, and sends nothing."""
        self._stopped.set()
        if self._lines is not None:
            self._lines.cut(Unavailable("stopped"))
        if self._thread.is_alive():
            self._thread.join(_JOIN)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._list_and_follow()
            except Expired as error:
                self._expiry.failed(error)
                self._version = ""
                self._pause()
            except K8sOvsError as error:
                self._lost(error)
            except Exception as error:
                self._version = ""
                self._lost(error, exc_info=True)

    def _list_and_follow(self) -> None:
        if not self._version:
            self._snapshot()
        began = time.monotonic()
        try:
            self._follow()
        finally:
            lasted = time.monotonic() - began
            if lasted > _SHORT:
                self._backoff.reset()
        if lasted <= _SHORT:
            self._pause()

    def _lost(self, error: Exception, **fields: Any) -> None:
        if not self._stopped.is_set():
            self._outage.failed(error, **fields)
        self._set_connected(False, str(error))
        self._pause()

    def _pause(self) -> None:
        self._stopped.wait(self._backoff.wait())

    def _snapshot(self) -> None:
        began = time.monotonic()
        snapshot, self._version = list_resource(self._kube, self._resource)
        self._found()
        self._send(snapshot)
        self._log.info(
            "resource listed",
            objects=len(snapshot.entries),
            ms=round((time.monotonic() - began) * 1000, 1),
        )

    def _follow(self) -> None:
        seconds = random.randint(*_SERVER_SECONDS)  # noqa: S311 - spreads reconnects, no secret
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
                return
            self._found()
            for line in lines:
                self._take(line)
                self._expiry.worked()

    def _take(self, line: bytes) -> None:
        kind, document = self._event(line)
        if kind == "ERROR":
            raise refusal(
                self._kube.settings.server,
                f"watch {self._resource.path}",
                kube_field(self._resource.source, document, "code", int) or 500,
                json.dumps(document).encode(),
            )
        if kind != "BOOKMARK":
            key = object_key(document)
            entry = None if kind == "DELETED" else Entry(_slim(document))
            self._send(RecordChange(self._resource.source, key, entry))
        subject = f"watch of {self._resource.path}"
        self._version = kube_field(subject, document, "metadata.resourceVersion", str) or ""

    def _event(self, line: bytes) -> tuple[str, Json]:
        try:
            event = json.loads(line)
            return event["type"], event["object"]
        except (ValueError, KeyError, TypeError) as error:
            raise Unavailable(
                f"API server {self._kube.settings.server}: watch {self._resource.path}: "
                f"expected an event, found {line[:80]!r}"
            ) from error

    def _found(self) -> None:
        self._outage.worked()
        self._set_connected(True)

    def _set_connected(self, connected: bool, detail: str = "") -> None:
        if connected is not self._connected:
            self._connected = connected
            self._send(SourceState(self._resource.source, connected, detail))

    def _send(self, event: WatchEvent) -> None:
        if not self._stopped.is_set():
            self._sink(event)


def _item_type(whole: Json) -> Json:
    """Kind and version of a list's items, which leave them out while a watch's objects do not."""
    kind = str(whole.get("kind", "")).removesuffix("List")
    version = whole.get("apiVersion", "")
    return {"kind": kind, "apiVersion": version} if kind and version else {}


def _slim(document: Json) -> Json:
    document["metadata"].pop("managedFields", None)
    return document
