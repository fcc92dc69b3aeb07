"""The embedded API server answers as the real one does, as far as our clients can tell."""

from __future__ import annotations

import ipaddress
import json
import threading
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from typing import Any

import pytest

from k8s_ovs_testing.apiserver.resource import RESOURCES
from k8s_ovs_testing.apiserver.server import ApiHttpServer
from k8s_ovs_testing.apiserver.store import Store
from k8s_ovs_testing.apiserver.write import Writer, merge

HISTORY = 10
PODS = "/api/v1/namespaces/default/pods"
NODES = "/api/v1/nodes"
PODS_RESOURCE = next(each for each in RESOURCES if each.plural == "pods")


class Client:
    """Speaks plain HTTP, so that the server is judged without our own client."""

    def __init__(self, port: int) -> None:
        self._port = port

    def __call__(
        self,
        method: str,
        path: str,
        body: Any = None,
        content_type: str = "application/json",
    ) -> tuple[int, Any]:
        response = self._open(method, path, body, content_type)
        data = response.read()
        return response.status, json.loads(data)

    def text(self, path: str) -> str:
        return self._open("GET", path, None, "application/json").read().decode()

    def watch(self, path: str, events: int, **query: str | int) -> list[tuple[str, Any]]:
        """The first so many events, as (type, object)."""
        words = "&".join(f"{name}={value}" for name, value in query.items())
        response = self._open("GET", f"{path}?watch=true&{words}", None, "application/json")
        assert response.status == 200
        seen = [json.loads(response.readline()) for _ in range(events)]
        return [(event["type"], event["object"]) for event in seen]

    def _open(self, method: str, path: str, body: Any, content_type: str) -> HTTPResponse:
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection = HTTPConnection("127.0.0.1", self._port, timeout=10)
        connection.request(method, path, data, {"Content-Type": content_type})
        return connection.getresponse()


@pytest.fixture
def api() -> Iterator[Client]:
    writer = Writer(Store(HISTORY), ipaddress.IPv4Network("10.96.0.0/29"))
    writer.begin()
    server = ApiHttpServer(("127.0.0.1", 0), writer, bookmark_interval=0.05)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield Client(server.server_port)
    server.shutdown()
    server.server_close()


def pod(name: str, host: str = "", **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": labels}, "spec": {"nodeName": host}}


def names(document: dict[str, Any]) -> list[str]:
    return [item["metadata"]["name"] for item in document["items"]]


def patch(api: Client, path: str, body: Any) -> tuple[int, Any]:
    return api("PATCH", path, body, "application/merge-patch+json")


def test_what_is_created_is_got_with_what_the_server_adds(api: Client) -> None:
    status, made = api("POST", PODS, pod("a"))
    got = api("GET", f"{PODS}/a")

    assert status == 201
    assert got == (200, made)
    assert (made["kind"], made["apiVersion"]) == ("Pod", "v1")
    assert made["metadata"]["namespace"] == "default"
    assert made["metadata"]["uid"]
    assert made["metadata"]["creationTimestamp"]
    assert made["status"] == {"phase": "Pending"}


def test_creating_twice_is_a_conflict(api: Client) -> None:
    api("POST", PODS, pod("a"))
    status, refused = api("POST", PODS, pod("a"))

    assert status == 409
    assert (refused["kind"], refused["reason"]) == ("Status", "AlreadyExists")
    assert refused["message"] == 'pods "a" already exists'


def test_a_pod_needs_its_namespace(api: Client) -> None:
    status, refused = api("POST", "/api/v1/namespaces/none/pods", pod("a"))

    assert (status, refused["reason"]) == (404, "NotFound")
    assert refused["message"] == 'namespaces "none" not found'


def test_a_generated_name_is_unique(api: Client) -> None:
    made = [api("POST", PODS, {"metadata": {"generateName": "web-"}})[1] for _ in range(2)]
    first, second = (document["metadata"]["name"] for document in made)

    assert first.startswith("web-")
    assert first != second


def test_a_list_comes_in_pages_that_together_are_whole(api: Client) -> None:
    for name in "abcde":
        api("POST", PODS, pod(name))

    _, first = api("GET", f"{PODS}?limit=2")
    _, second = api("GET", f"{PODS}?limit=2&continue={first['metadata']['continue']}")
    _, third = api("GET", f"{PODS}?limit=2&continue={second['metadata']['continue']}")

    assert [names(page) for page in (first, second, third)] == [["a", "b"], ["c", "d"], ["e"]]
    assert first["metadata"]["remainingItemCount"] == 3
    assert "continue" not in third["metadata"]
    assert first["kind"] == "PodList"
    assert "kind" not in first["items"][0]


def test_a_page_whose_beginning_is_too_long_ago_is_gone(api: Client) -> None:
    for name in "ab":
        api("POST", PODS, pod(name))
    _, first = api("GET", f"{PODS}?limit=1")
    for number in range(HISTORY + 1):
        patch(api, f"{PODS}/a", {"metadata": {"labels": {"n": str(number)}}})

    status, refused = api("GET", f"{PODS}?limit=1&continue={first['metadata']['continue']}")

    assert (status, refused["reason"]) == (410, "Expired")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("fieldSelector=spec.nodeName=n1", ["a"]),
        ("fieldSelector=spec.nodeName!=n1", ["b", "c"]),
        ("fieldSelector=spec.nodeName=", ["c"]),
        ("fieldSelector=metadata.name=b,spec.nodeName=n2", ["b"]),
        ("labelSelector=app=web", ["a", "b"]),
        ("labelSelector=app!=web", ["c"]),
        ("labelSelector=app,tier%3D%3Dfront", ["b"]),
        ("labelSelector=!app", ["c"]),
        ("labelSelector=app=web&fieldSelector=spec.nodeName=n2", ["b"]),
    ],
)
def test_selectors_choose(api: Client, query: str, found: list[str]) -> None:
    api("POST", PODS, pod("a", "n1", app="web"))
    api("POST", PODS, pod("b", "n2", app="web", tier="front"))
    api("POST", PODS, pod("c"))

    assert names(api("GET", f"/api/v1/pods?{query}")[1]) == found


@pytest.mark.parametrize(
    "query", ["fieldSelector=spec.hostname=x", "fieldSelector=x", "labelSelector=a+in+(b)"]
)
def test_a_selector_that_is_not_served_is_refused(api: Client, query: str) -> None:
    status, refused = api("GET", f"{PODS}?{query}")

    assert (status, refused["reason"]) == (400, "BadRequest")


def test_a_merge_patch_adds_replaces_and_removes(api: Client) -> None:
    api("POST", PODS, pod("a", app="web", tier="front"))

    status, made = patch(api, f"{PODS}/a", {"metadata": {"labels": {"tier": None, "x": "y"}}})

    assert status == 200
    assert made["metadata"]["labels"] == {"app": "web", "x": "y"}


def test_a_merge_follows_the_rfc() -> None:
    target = {"a": {"b": 1, "c": 2}, "list": [1, 2], "word": "x"}
    merged = merge(target, {"a": {"b": None, "d": {"e": None}}, "list": [3], "word": {"n": 1}})

    assert merged == {"a": {"c": 2, "d": {}}, "list": [3], "word": {"n": 1}}
    assert target == {"a": {"b": 1, "c": 2}, "list": [1, 2], "word": "x"}


def test_a_replacement_of_another_version_is_a_conflict(api: Client) -> None:
    _, old = api("POST", PODS, pod("a"))
    _, new = patch(api, f"{PODS}/a", {"metadata": {"labels": {"x": "y"}}})

    assert api("PUT", f"{PODS}/a", old)[1]["reason"] == "Conflict"
    assert api("PUT", f"{PODS}/a", new)[0] == 200


def test_status_is_written_by_its_subresource_alone(api: Client) -> None:
    api("POST", NODES, {"metadata": {"name": "n"}, "status": {"phase": "given at creation"}})
    patch(api, f"{NODES}/n", {"spec": {"unschedulable": True}, "status": {"phase": "ignored"}})
    patch(api, f"{NODES}/n/status", {"spec": None, "status": {"nodeInfo": {"x": "y"}}})

    _, node = api("GET", f"{NODES}/n")

    assert node["status"] == {"phase": "given at creation", "nodeInfo": {"x": "y"}}
    assert node["spec"] == {"unschedulable": True}


def test_a_change_that_changes_nothing_is_none(api: Client) -> None:
    _, old = api("POST", PODS, pod("a", app="web"))

    assert patch(api, f"{PODS}/a", {"metadata": {"labels": {"app": "web"}}}) == (200, old)


def test_a_deleted_object_is_gone_and_a_namespace_takes_all_with_it(api: Client) -> None:
    api("POST", "/api/v1/namespaces", {"metadata": {"name": "hw"}})
    api("POST", "/api/v1/namespaces/hw/pods", pod("a"))
    api("POST", PODS, pod("b"))

    status, answer = api("DELETE", "/api/v1/namespaces/hw")

    assert (status, answer["status"]) == (200, "Success")
    assert names(api("GET", "/api/v1/pods")[1]) == ["b"]
    assert api("DELETE", f"{PODS}/b")[0] == 200
    assert api("DELETE", f"{PODS}/b")[0] == 404


def test_a_watch_without_version_begins_with_what_is_there(api: Client) -> None:
    api("POST", PODS, pod("a"))
    (event,) = api.watch(PODS, 1)

    assert (event[0], event[1]["metadata"]["name"]) == ("ADDED", "a")


def test_a_watch_goes_on_after_its_version(api: Client) -> None:
    _, listed = api("GET", PODS)
    version = listed["metadata"]["resourceVersion"]
    api("POST", PODS, pod("a"))
    patch(api, f"{PODS}/a", {"metadata": {"labels": {"x": "y"}}})
    api("DELETE", f"{PODS}/a")

    seen = api.watch(PODS, 3, resourceVersion=version)

    assert [kind for kind, _ in seen] == ["ADDED", "MODIFIED", "DELETED"]
    versions = [int(document["metadata"]["resourceVersion"]) for _, document in seen]
    assert versions == sorted(set(versions))


def test_a_selecting_watch_sees_objects_come_into_view_and_leave(api: Client) -> None:
    _, listed = api("GET", PODS)
    api("POST", PODS, pod("a", "n1"))
    for host in ("n2", "n1", "n3"):
        patch(api, f"{PODS}/a", {"spec": {"nodeName": host}})

    seen = api.watch(
        "/api/v1/pods",
        2,
        resourceVersion=listed["metadata"]["resourceVersion"],
        fieldSelector="spec.nodeName=n2",
    )

    assert [kind for kind, _ in seen] == ["ADDED", "DELETED"]


def test_a_watch_from_too_long_ago_ends_with_gone(api: Client) -> None:
    _, listed = api("GET", PODS)
    api("POST", PODS, pod("a"))
    for number in range(HISTORY + 1):
        patch(api, f"{PODS}/a", {"metadata": {"labels": {"n": str(number)}}})

    (event,) = api.watch(PODS, 1, resourceVersion=listed["metadata"]["resourceVersion"])

    assert event[0] == "ERROR"
    assert (event[1]["code"], event[1]["reason"]) == (410, "Expired")


def test_bookmarks_move_a_quiet_watch_on(api: Client) -> None:
    _, made = api("POST", NODES, {"metadata": {"name": "n"}})
    _, listed = api("GET", PODS)

    (event,) = api.watch(
        PODS,
        1,
        resourceVersion=listed["metadata"]["resourceVersion"],
        allowWatchBookmarks="true",
    )

    assert event[0] == "BOOKMARK"
    assert event[1]["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


def test_a_watch_ends_at_its_timeout(api: Client) -> None:
    connection = api._open("GET", f"{PODS}?watch=true&timeoutSeconds=1", None, "application/json")

    assert connection.read() == b""


def test_a_quiet_watch_without_bookmarks_sleeps(
    api: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = []
    steps_after = Store.steps_after

    def counted(store: Store, revision: int, timeout: float) -> Any:
        waits.append(timeout)
        return steps_after(store, revision, timeout)

    monkeypatch.setattr(Store, "steps_after", counted)
    api._open("GET", f"{PODS}?watch=true&timeoutSeconds=1", None, "application/json").read()

    assert len(waits) < 5


def test_services_get_addresses_until_there_are_none(api: Client) -> None:
    services = "/api/v1/namespaces/default/services"
    made = [api("POST", services, {"metadata": {"name": f"s{n}"}}) for n in range(7)]
    addresses = [document["spec"]["clusterIP"] for status, document in made if status == 201]

    assert addresses == [f"10.96.0.{n}" for n in range(2, 8)]
    assert made[-1][0] == 422
    headless = {"metadata": {"name": "h"}, "spec": {"clusterIP": "None"}}
    assert api("POST", services, headless)[1]["spec"]["clusterIP"] == "None"
    taken = {"metadata": {"name": "t"}, "spec": {"clusterIP": "10.96.0.2"}}
    assert "already allocated" in api("POST", services, taken)[1]["message"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/api/v1/unknown", None, 404),
        ("GET", "/nothing", None, 404),
        ("GET", f"{PODS}/a", None, 404),
        ("GET", "/api/v1/namespaces/default/nodes", None, 404),
        ("GET", f"{PODS}?limit=many", None, 400),
        ("GET", f"{PODS}?continue=nonsense", None, 400),
        ("POST", "/api/v1/pods", {"metadata": {"name": "a"}}, 405),
        ("DELETE", PODS, None, 405),
        ("POST", PODS, [], 400),
        ("POST", PODS, b"{", 400),
        ("POST", PODS, {"metadata": {}}, 422),
        ("POST", PODS, {"metadata": {"name": "a", "namespace": "other"}}, 400),
        ("PUT", f"{PODS}/a", {"metadata": {"name": "a"}}, 404),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_status(
    api: Client, method: str, path: str, body: Any, status: int
) -> None:
    code, refused = api(method, path, body)

    assert code == status
    assert (refused["kind"], refused["status"], refused["code"]) == ("Status", "Failure", status)


def test_a_body_in_another_format_is_refused(api: Client) -> None:
    assert api("POST", PODS, b"k8s\0", "application/vnd.kubernetes.protobuf")[0] == 415
    assert api("PATCH", f"{PODS}/a", [], "application/json-patch+json")[0] == 415


def test_clients_discover_the_resources(api: Client) -> None:
    _, core = api("GET", "/api/v1")
    _, groups = api("GET", "/apis")

    found = {resource["name"]: resource["namespaced"] for resource in core["resources"]}
    assert (found["nodes"], found["pods"], found["pods/status"]) == (False, True, True)
    for group in groups["groups"]:
        version = group["preferredVersion"]["groupVersion"]
        assert api("GET", f"/apis/{version}")[1]["groupVersion"] == version
    assert api("GET", "/version")[1]["major"] == "1"


def test_requests_are_counted_by_verb_and_resource(api: Client) -> None:
    for _ in range(2):
        api("GET", NODES)
    api("POST", PODS, pod("a"))
    api("GET", f"{PODS}/a")
    api.watch(PODS, 1)
    api("GET", "/version")

    assert api.text("/metrics").splitlines() == [
        "# TYPE apiserver_request_total counter",
        'apiserver_request_total{verb="GET",resource=""} 2',
        'apiserver_request_total{verb="GET",resource="pods"} 1',
        'apiserver_request_total{verb="LIST",resource="nodes"} 2',
        'apiserver_request_total{verb="POST",resource="pods"} 1',
        'apiserver_request_total{verb="WATCH",resource="pods"} 1',
    ]
