"""What a request to the API server returns, and which error says what."""

from __future__ import annotations

import errno
import ipaddress
import os
import threading
from collections.abc import Iterator

import pytest
from urllib3.exceptions import ConnectTimeoutError, ProtocolError, ReadTimeoutError

from k8s_ovs.errors import K8sOvsError, TimedOut, Unavailable
from k8s_ovs.observe.kube import (
    Conflict,
    Expired,
    Forbidden,
    Kube,
    KubeSettings,
    NotFound,
    Refused,
)
from k8s_ovs.observe.kube.errors import Busy, refusal, transport_failure
from k8s_ovs_testing.apiserver.resource import RESOURCES
from k8s_ovs_testing.apiserver.server import ApiHttpServer
from k8s_ovs_testing.apiserver.store import Store
from k8s_ovs_testing.apiserver.write import Writer

NODES = next(resource for resource in RESOURCES if resource.kind == "Node")


@pytest.fixture
def writer() -> Writer:
    return Writer(Store(), ipaddress.IPv4Network("10.96.0.0/12"))


@pytest.fixture
def kube(writer: Writer) -> Iterator[Kube]:
    server = ApiHttpServer(("127.0.0.1", 0), writer)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    master = f"127.0.0.1:{server.server_port}"
    kube = Kube(KubeSettings.from_environment({"KUBERNETES_MASTER": master}))
    yield kube
    kube.close()
    server.shutdown()
    server.server_close()


def test_a_list_longer_than_a_page_is_whole(kube: Kube, writer: Writer) -> None:
    for number in range(1101):
        writer.create(NODES, "", {"metadata": {"name": f"node{number}"}})

    names = [item["metadata"]["name"] for item in kube.list("/api/v1/nodes")["items"]]

    assert len(names) == len(set(names)) == 1101


def test_objects_are_made_changed_and_deleted(kube: Kube) -> None:
    made = kube.create("/api/v1/nodes", {"metadata": {"name": "n"}})
    patched = kube.patch("/api/v1/nodes/n", {"spec": {"unschedulable": True}})
    got = kube.get("/api/v1/nodes/n")
    kube.delete("/api/v1/nodes/n")

    assert made["metadata"]["uid"] == patched["metadata"]["uid"]
    assert got == patched
    with pytest.raises(NotFound):
        kube.get("/api/v1/nodes/n")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Refused),
        (401, Forbidden),
        (403, Forbidden),
        (404, NotFound),
        (409, Conflict),
        (410, Expired),
        (422, Refused),
        (429, Busy),
        (500, Busy),
        (503, Busy),
    ],
)
def test_a_status_is_an_error_that_names_the_request(status: int, kind: type[K8sOvsError]) -> None:
    error = refusal("http://api", "GET /api/v1/pods", status, b'{"message": "in its words"}')

    assert type(error) is kind
    assert str(error) == f"API server http://api: GET /api/v1/pods: {status} in its words"


def test_a_version_that_a_restored_server_never_had_is_an_expired_one() -> None:
    words = b'{"message": "Too large resource version: 9, current: 5"}'

    assert isinstance(refusal("http://api", "GET /api/v1/pods", 504, words), Expired)


def test_a_refusal_that_is_no_status_object_shows_its_beginning() -> None:
    error = refusal("http://api", "GET /version", 502, b"<html>Bad Gateway</html>")

    assert str(error).endswith("502 <html>Bad Gateway</html>")


def raised(outer: Exception, inner: OSError) -> Exception:
    """`outer` as who raises it because of `inner`."""
    try:
        raise outer from inner
    except Exception as error:
        return error


@pytest.mark.parametrize("limit", [0.5, 4.0, 306.0])
def test_our_own_time_limit_is_named(limit: float) -> None:
    silent = raised(ReadTimeoutError(None, "", "Read timed out."), TimeoutError("timed out"))
    for error in (silent, ConnectTimeoutError("timed out"), TimeoutError("timed out")):
        failure = transport_failure("http://api", "here", error, limit)
        assert type(failure) is TimedOut
        assert str(failure).endswith(f"http://api (from here) does not answer within {limit:g} s")


@pytest.mark.parametrize(
    ("number", "outer"),
    [
        (errno.ETIMEDOUT, ReadTimeoutError(None, "", "x")),
        (errno.ETIMEDOUT, ProtocolError("x")),
        (errno.ETIMEDOUT, None),
        (errno.ENETUNREACH, ProtocolError("x")),
        (errno.ECONNRESET, None),
    ],
)
def test_what_the_kernel_gave_up_is_not_said_to_be_our_time_limit(
    number: int, outer: Exception | None
) -> None:
    inner = OSError(number, os.strerror(number))
    failure = transport_failure("http://api", "here", raised(outer, inner) if outer else inner, 306)
    assert type(failure) is Unavailable
    assert "306" not in str(failure)
    assert os.strerror(number) in str(failure)
