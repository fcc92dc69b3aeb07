"""How does the embedded API server speak HTTP?"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from k8s_ovs_testing.apiserver.counts import RequestCounts
from k8s_ovs_testing.apiserver.resource import discovery
from k8s_ovs_testing.apiserver.route import Target, target
from k8s_ovs_testing.apiserver.selection import Selection, select
from k8s_ovs_testing.apiserver.status import Json, StatusError, bad_request, invalid
from k8s_ovs_testing.apiserver.write import Writer

__all__ = ["ApiHttpServer"]

_VERSION = {"major": "1", "minor": "34", "gitVersion": "v1.34.0+k8s-ovs-lab"}
_HEALTHY = ("/readyz", "/livez", "/healthz")
_JSON = ("application/json",)
_PATCHES = ("application/merge-patch+json", "application/strategic-merge-patch+json")
_WATCH_SECONDS = 1800.0
_LARGEST_BODY = 8 << 20


class ApiHttpServer(ThreadingHTTPServer):
    """Serves one Writer's store. bookmark_interval: seconds of silence before a bookmark."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(
        self, address: tuple[str, int], writer: Writer, bookmark_interval: float = 60.0
    ) -> None:
        super().__init__(address, _Handler)
        self.writer = writer
        self.bookmark_interval = bookmark_interval
        self.counts = RequestCounts()

    def server_bind(self) -> None:
        """Bind without asking DNS for the host's name, which a namespace may not have."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients go away as they like: that is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ApiHttpServer
    timeout = 300
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not news either."""

    def do_GET(self) -> None:
        """Discovery, health, one object, a list or a watch."""
        self._answer(self._get)

    def do_POST(self) -> None:
        """Create."""
        self._answer(self._post)

    def do_PUT(self) -> None:
        """Replace."""
        self._answer(self._put)

    def do_PATCH(self) -> None:
        """Merge."""
        self._answer(self._patch)

    def do_DELETE(self) -> None:
        """Delete."""
        self._answer(self._delete)

    def _answer(self, handle: Callable[[str, dict[str, str], bytes], None]) -> None:
        parts = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        if length > _LARGEST_BODY:
            self.close_connection = True
            self._send(413, bad_request("request body is too large").status)
            return
        body, query = self.rfile.read(length), dict(parse_qsl(parts.query))
        self.server.counts.note(self.command, parts.path, query)
        try:
            handle(parts.path, query, body)
        except StatusError as error:
            self._send(error.code, error.status)

    def _get(self, path: str, query: dict[str, str], _body: bytes) -> None:
        if path in _HEALTHY:
            self._write(200, "text/plain", b"ok")
        elif path == "/metrics":
            self._write(200, "text/plain", self.server.counts.text().encode())
        elif path == "/version":
            self._send(200, _VERSION)
        elif (document := discovery(path)) is not None:
            self._send(200, document)
        else:
            self._read(target(path), query)

    def _read(self, wanted: Target, query: dict[str, str]) -> None:
        if wanted.name:
            self._send(200, self.server.writer.store.get(wanted.resource, wanted.key))
            return
        selection = select(
            wanted.resource,
            wanted.namespace,
            query.get("labelSelector", ""),
            query.get("fieldSelector", ""),
        )
        if query.get("watch") in ("true", "1"):
            self._watch(selection, query)
        else:
            self._list(selection, query)

    def _post(self, path: str, _query: dict[str, str], body: bytes) -> None:
        wanted = target(path)
        if wanted.name or (wanted.resource.namespaced and wanted.namespace is None):
            raise StatusError(405, "MethodNotAllowed", "objects are created in their collection")
        document = self._document(body, _JSON)
        made = self.server.writer.create(wanted.resource, wanted.namespace or "", document)
        self._send(201, made)

    def _put(self, path: str, _query: dict[str, str], body: bytes) -> None:
        wanted = _named(path)
        document = self._document(body, _JSON)
        made = self.server.writer.replace(wanted.resource, wanted.key, document, wanted.subresource)
        self._send(200, made)

    def _patch(self, path: str, _query: dict[str, str], body: bytes) -> None:
        wanted = _named(path)
        document = self._document(body, _PATCHES)
        made = self.server.writer.patch(wanted.resource, wanted.key, document, wanted.subresource)
        self._send(200, made)

    def _delete(self, path: str, _query: dict[str, str], _body: bytes) -> None:
        wanted = _named(path)
        self._send(200, self.server.writer.delete(wanted.resource, wanted.key))

    def _document(self, body: bytes, types: Sequence[str]) -> Json:
        # Clients that leave it out mean JSON; some send Kubernetes' protobuf first.
        if "Content-Type" in self.headers and self.headers.get_content_type() not in types:
            message = f"the body must be one of: {', '.join(types)}"
            raise StatusError(415, "UnsupportedMediaType", message)
        try:
            document = json.loads(body)
        except ValueError as error:
            raise bad_request(f"the body is not JSON: {error}") from error
        if not isinstance(document, dict):
            raise bad_request("the body is not a JSON object")
        return document

    def _list(self, selection: Selection, query: dict[str, str]) -> None:
        limit = _number(query, "limit")
        page = self.server.writer.store.page(selection, limit, query.get("continue", ""))
        metadata: Json = {"resourceVersion": str(page.revision)}
        if page.token:
            metadata |= {"continue": page.token, "remainingItemCount": page.remaining}
        document = {
            "kind": f"{selection.resource.kind}List",
            "apiVersion": selection.resource.api_version,
            "metadata": metadata,
            # As the real server: the items of a list do not repeat what they are.
            "items": [_untyped(item) for item in page.items],
        }
        self._send(200, document)

    def _watch(self, selection: Selection, query: dict[str, str]) -> None:
        if "sendInitialEvents" in query:
            raise invalid("ListOptions", "", "sendInitialEvents: not served, list first")
        revision = _number(query, "resourceVersion")
        seconds = _number(query, "timeoutSeconds") or _WATCH_SECONDS
        bookmarks = query.get("allowWatchBookmarks") in ("true", "1")
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for batch in self._events(selection, revision, seconds, bookmarks):
            data = b"".join(json.dumps(event).encode() + b"\n" for event in batch)
            self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
        self.wfile.write(b"0\r\n\r\n")

    def _events(
        self, selection: Selection, revision: int, seconds: float, bookmarks: bool
    ) -> Iterator[Sequence[Json]]:
        """Batches of events for some seconds; an ERROR is the last."""
        store = self.server.writer.store
        # Without bookmarks nothing but an event ends the wait.
        interval = self.server.bookmark_interval if bookmarks else seconds
        if not revision:
            page = store.page(selection)
            revision = page.revision
            if page.items:
                yield [{"type": "ADDED", "object": item} for item in page.items]
        said = time.monotonic()
        deadline = said + seconds
        while (now := time.monotonic()) < deadline:
            if now - said >= interval:
                said = now
                yield [_bookmark(selection, revision)]
            try:
                steps = store.steps_after(revision, min(deadline - now, said + interval - now))
            except StatusError as error:
                yield [{"type": "ERROR", "object": error.status}]
                return
            revision = steps[-1].revision if steps else revision
            mine = [step for step in steps if step.plural == selection.resource.plural]
            if events := [event for step in mine if (event := step.event(selection)) is not None]:
                said = time.monotonic()
                yield events

    def _send(self, code: int, document: Json) -> None:
        self._write(code, "application/json", json.dumps(document).encode())

    def _write(self, code: int, content_type: str, body: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _named(path: str) -> Target:
    wanted = target(path)
    if not wanted.name:
        raise StatusError(405, "MethodNotAllowed", "the collection as a whole cannot be changed")
    return wanted


def _number(query: dict[str, str], name: str) -> int:
    text = query.get(name) or "0"
    if not text.isdigit():
        raise bad_request(f'{name}: Invalid value: "{text}"')
    return int(text)


def _untyped(document: Json) -> Json:
    return {key: value for key, value in document.items() if key not in ("kind", "apiVersion")}


def _bookmark(selection: Selection, revision: int) -> Json:
    resource = selection.resource
    return {
        "type": "BOOKMARK",
        "object": {
            "kind": resource.kind,
            "apiVersion": resource.api_version,
            "metadata": {"resourceVersion": str(revision)},
        },
    }
