"""An API server that answers anything: it is told with server and path, what is good in it counts,
and whoever does not speak a watch's language is not connected.
"""

from __future__ import annotations

import json
import queue
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs
from tests.unit.scripted_apiserver import ScriptedApiServer

from k8s_ovs.errors import K8sOvsError
from k8s_ovs.observe.kube import Garbled, Kube, KubeSettings, ResourceWatch, WatchedResource
from k8s_ovs.observe.kube.documents import flaw, object_key, read_event, read_items, read_object
from k8s_ovs.observe.kube.watch import list_resource
from k8s_ovs.observe.watch_event import RecordChange, Snapshot, SourceState, WatchEvent

NODES = WatchedResource("/api/v1/nodes", "kube:nodes")
GOOD = {"metadata": {"name": "node1", "resourceVersion": "7"}}
BOOKMARK = b'{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"8"}}}\n'
DEEP = b'{"a":' * 5000 + b"1" + b"}" * 5000


def listing(*items: Any, **fields: Any) -> bytes:
    return json.dumps({"metadata": {"resourceVersion": "7"}, "items": items, **fields}).encode()


@pytest.fixture
def api() -> Iterator[ScriptedApiServer]:
    with ScriptedApiServer() as server:
        server.bodies[NODES.path] = (200, listing(GOOD))
        yield server


def kube_at(server: ScriptedApiServer) -> Kube:
    return Kube(KubeSettings.from_environment({"KUBERNETES_MASTER": server.address}))


class Observed:
    """What a watch has sent."""

    def __init__(self) -> None:
        self._events: queue.SimpleQueue[WatchEvent] = queue.SimpleQueue()
        self.put = self._events.put
        self.states: list[SourceState] = []
        self.keys: set[str] = set()

    def until(self, what: str, within: float = 10.0) -> None:
        """Take in events until a key comes, or a state of this name."""
        end = time.monotonic() + within
        while True:
            event = self._events.get(timeout=max(0.0, end - time.monotonic()))
            if isinstance(event, SourceState):
                self.states.append(event)
                if what == ("connected" if event.connected else "disconnected"):
                    return
            elif isinstance(event, Snapshot):
                self.keys = set(event.entries)
                if what in self.keys:
                    return
            elif isinstance(event, RecordChange) and event.key == what:
                return

    def drain(self) -> list[WatchEvent]:
        found = []
        with suppress(queue.Empty):
            while True:
                found.append(self._events.get_nowait())
        return found


@contextmanager
def watching(server: ScriptedApiServer) -> Iterator[Observed]:
    seen = Observed()
    watch = ResourceWatch(kube_at(server), NODES, seen.put)
    watch.start()
    try:
        yield seen
    finally:
        watch.stop()


GARBAGE = [
    b"<html>no</html>",
    b"[]",
    b"null",
    b"{}",
    b"[]\n",
    b"{}\n{}\n",
    b"1 2",
    b"\xff\xfe",
    b'{"type":"ADDED"}\n',
    b'{"type":"ADDED","object":null}\n',
    b'{"type":"SOMETHING","object":{}}\n',
    b'{"type":["ADDED"],"object":{}}\n',
    b'{"type":"BOOKMARK","object":{"metadata":null}}\n',
    DEEP,
    DEEP + b"\n",
]


@pytest.mark.parametrize(
    ("body", "held"),
    [*((body, held) for body in GARBAGE for held in (0.0, 30.0)), (b"", 0.0)],
    ids=lambda each: each[:20].decode(errors="replace") if isinstance(each, bytes) else str(each),
)
def test_a_watch_that_is_none_is_not_connected_and_told(
    api: ScriptedApiServer, body: bytes, held: float
) -> None:
    api.watch_body, api.watch_open = body, held
    with capture_logs() as logs, watching(api) as seen:
        seen.until("disconnected")
        time.sleep(0.5)
        later = [each for each in seen.drain() if isinstance(each, SourceState)]
    assert later == []
    (told,) = [each for each in logs if each["log_level"] == "warning"]
    server = f"API server http://{api.address}: watch {NODES.path}: "
    assert told["reason"].startswith(server)
    assert "found " in told["reason"]
    assert "expected " in told["reason"]
    assert seen.states[-1].detail == told["reason"]
    assert not any("exc_info" in each for each in logs)


def test_retries_of_a_watch_that_is_none_back_off(api: ScriptedApiServer) -> None:
    api.watch_body = b"[]"
    with capture_logs(), watching(api) as seen:
        seen.until("disconnected")
        time.sleep(3.0)
    assert api.watches <= 7


def test_a_server_that_asks_to_be_left_alone_is(api: ScriptedApiServer) -> None:
    good = api.bodies[NODES.path]
    api.bodies[NODES.path], api.headers = (429, b"{}"), {"Retry-After": "3"}
    with watching(api) as observed:
        observed.until("disconnected")
        began, asked = time.monotonic(), api.asked
        api.bodies[NODES.path], api.headers = good, {}
        observed.until("node1")
        # Without the header it would have come back within 0.2 s.
        assert time.monotonic() - began > 2.0
        assert api.asked == asked + 1


def test_a_watch_that_becomes_one_is_connected(api: ScriptedApiServer) -> None:
    api.watch_body = b"{}"
    with capture_logs() as logs, watching(api) as seen:
        seen.until("disconnected")
        api.watch_body, api.watch_open = BOOKMARK, 0.5
        seen.until("connected")
    assert logs[-1]["event"] in ("kube:nodes is connected", "resource listed")


def test_a_silent_watch_after_one_that_was_none_is_connected(api: ScriptedApiServer) -> None:
    api.watch_body = b"null"
    with capture_logs(), watching(api) as seen:
        seen.until("disconnected")
        api.watch_body, api.watch_open = b"", 2.0
        seen.until("connected")


def test_an_event_without_a_line_end_counts_at_once(api: ScriptedApiServer) -> None:
    event = json.dumps({"type": "ADDED", "object": {"metadata": {"name": "node9"}}})
    api.watch_body, api.watch_open = event.encode(), 30.0
    with watching(api) as seen:
        seen.until("node9", within=5.0)


@pytest.mark.parametrize("item", [None, 5, [], {}, {"metadata": None}, {"metadata": {"name": 5}}])
def test_a_bad_item_is_left_out_of_a_list_and_of_a_watch(api: ScriptedApiServer, item: Any) -> None:
    api.bodies[NODES.path] = (200, listing(item, GOOD))
    bad = {"metadata": {}} if not isinstance(item, dict) else item
    events = [{"type": "ADDED", "object": bad}, {"type": "ADDED", "object": GOOD | {"kind": "x"}}]
    api.watch_body = b"".join(json.dumps(each).encode() + b"\n" for each in events)
    api.watch_open = 30.0
    with capture_logs() as logs, watching(api) as seen:
        seen.until("node1")
        seen.until("node1")
    assert [each.connected for each in seen.states] == [True]
    first, second = [each for each in logs if each["event"] == "objects left out"]
    where = f"API server http://{api.address}: "
    assert first["reason"].startswith(f"{where}GET {NODES.path}: items[0]: ")
    assert second["reason"].startswith(f"{where}watch {NODES.path}: ADDED: ")
    assert not any("exc_info" in each for each in logs)


@pytest.mark.parametrize(
    "body",
    [
        b"null",
        b"5",
        b"[]",
        b"{}",
        b"<html>",
        b"",
        b'{"items":{}}',
        b'{"items":[]}',
        b'{"items":[],"metadata":null}',
        b'{"items":[],"metadata":{"continue":5}}',
        b'{"items":[],"metadata":{"continue":"x","resourceVersion":"1"}}',
        b'{"items":[],"metadata":{"resourceVersion":5}}',
        DEEP,
    ],
    ids=lambda body: body[:45].decode(),
)
def test_a_bad_list_is_told_with_server_and_path(api: ScriptedApiServer, body: bytes) -> None:
    api.bodies[NODES.path] = (200, body)
    with capture_logs() as logs, watching(api) as seen:
        seen.until("disconnected")
        time.sleep(0.5)
    (told,) = [each for each in logs if each["log_level"] == "warning"]
    assert told["reason"].startswith(f"API server http://{api.address}: GET {NODES.path}: ")
    assert not any("exc_info" in each for each in logs)
    assert api.watches == 0


@pytest.mark.parametrize("code", [None, "500", "x", [], {}, True, 1.5, 10**30, -1])
def test_an_error_event_with_any_code_is_told(api: ScriptedApiServer, code: Any) -> None:
    status = {"kind": "Status", "code": code, "message": "in its words"}
    api.watch_body = json.dumps({"type": "ERROR", "object": status}).encode()
    with capture_logs() as logs, watching(api) as seen:
        seen.until("disconnected")
    (told,) = [each for each in logs if each["log_level"] == "warning"]
    assert "in its words" in told["reason"]
    assert not any("exc_info" in each for each in logs)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["metadata", "name", "namespace", "items", "continue", "resourceVersion"]
            )
            | st.sampled_from(["type", "object", "code", "kind"]),
            inner | st.sampled_from(["ADDED", "ERROR", "node1"]),
            max_size=4,
        )
    ),
    max_leaves=8,
)


@given(ANYTHING.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=60))
def test_any_answer_is_an_object_a_list_an_event_or_one_error(data: bytes) -> None:
    with suppress(Garbled):
        kind, document = read_event(data, "API server x: watch /y")
        assert isinstance(kind, str)
        assert isinstance(document, dict)
    with suppress(Garbled):
        items, token = read_items(read_object(data, "x"), "x")
        assert isinstance(token, str)
        for each in items:
            assert flaw(each) or object_key(each)


def test_a_list_whose_pages_go_in_a_circle_ends(api: ScriptedApiServer) -> None:
    page = {"items": [GOOD], "metadata": {"resourceVersion": "1", "continue": "x"}}
    api.bodies[NODES.path] = (200, json.dumps(page).encode())
    with pytest.raises(Garbled, match="is followed by itself"):
        list_resource(kube_at(api), NODES)


@pytest.mark.parametrize("status", [400, 403, 404, 500])
@pytest.mark.parametrize("body", [b"", b"null", b'{"message":null}', b'{"message":[1]}', DEEP])
def test_a_refusal_with_any_body_names_the_request(
    api: ScriptedApiServer, status: int, body: bytes
) -> None:
    api.bodies[NODES.path] = (status, body)
    with pytest.raises(K8sOvsError, match=f"GET /api/v1/nodes: {status}") as raised:
        list_resource(kube_at(api), NODES)
    assert len(str(raised.value)) < 1500
