"""Whatever the API server answers, commands say which answer it was, and no trace."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.unit.fake_etcd import CONFIG, FakeEtcd, no_switch
from tests.unit.scripted_apiserver import ScriptedApiServer
from typer.testing import Result

from k8s_ovs.cli.cluster import snapshot
from k8s_ovs.cli.doctor import observations
from k8s_ovs.cli.host import flows
from k8s_ovs.cli.host.status import SwitchStatus

Cli = Callable[..., Result]

VERSION = (200, b'{"gitVersion":"v1.34.2"}')
EMPTY = (200, b'{"metadata":{"resourceVersion":"1"},"items":[]}')
RESOURCES = ("/api/v1/nodes", "/api/v1/namespaces", "/api/v1/pods")
DEEP = b'{"a":' * 960 + b"1" + b"}" * 960


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedApiServer]:
    monkeypatch.setattr(snapshot, "Etcd", FakeEtcd)
    monkeypatch.setattr(observations, "connected_switch", no_switch)
    monkeypatch.setattr(flows, "connected_switch", no_switch)
    monkeypatch.setattr(observations, "switch_status", lambda _: SwitchStatus(problem="away"))
    monkeypatch.setattr(observations, "check_program", lambda _: "it")
    features = f"{CONFIG['PluginName']},k8s-ovs-shaping"
    FakeEtcd.records = {"config": json.dumps(CONFIG | {"PluginName": features}).encode()}
    with ScriptedApiServer() as server:
        yield server


def checks(k8s_ovs: Cli, api: ScriptedApiServer) -> dict[str, dict[str, Any]]:
    """What doctor finds, the last check of each name."""
    shown = k8s_ovs("doctor", "-o", "json", KUBERNETES_MASTER=api.address)
    return {each["name"]: each for each in json.loads(shown.stdout)}


def answers() -> st.SearchStrategy[tuple[int, bytes]]:
    item = st.sampled_from([None, 5, [], {}, {"metadata": None}, {"metadata": {"name": "n"}}])
    lists = st.builds(
        lambda items, metadata: json.dumps({"items": items, "metadata": metadata}).encode(),
        st.lists(item, max_size=3) | st.sampled_from([None, 5, {}]),
        st.sampled_from([{"resourceVersion": "1"}, None, {}, [], {"continue": "x"}]),
    )
    other = st.sampled_from([b"null", b"[]", b"{}", b"5", b"<", b"", DEEP, b'{"gitVersion":1}'])
    return st.tuples(st.sampled_from([200, 200, 200, 403, 404, 503]), lists | other)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None
)
@given(st.dictionaries(st.sampled_from(["/version", *RESOURCES]), answers(), max_size=4))
@example({"/version": (200, b"null")})
@example({"/version": (200, DEEP)})
@example({RESOURCES[0]: (200, b'{"items":[]}')})
@example({RESOURCES[0]: (200, b'{"items":[null],"metadata":{"resourceVersion":"1"}}')})
def test_no_answer_ends_a_command_in_a_traceback(
    api: ScriptedApiServer, k8s_ovs: Cli, bodies: dict[str, tuple[int, bytes]]
) -> None:
    api.bodies = {"/version": VERSION, **dict.fromkeys(RESOURCES, EMPTY), **bodies}
    found = checks(k8s_ovs, api)
    assert found["etcd"]["ok"]
    desired = k8s_ovs("flows", "--desired", KUBERNETES_MASTER=api.address)
    assert desired.exit_code == 1
    assert desired.stderr.splitlines()[-1].startswith("error: ")


@pytest.mark.parametrize("status", [403, 404, 503])
@pytest.mark.parametrize(
    ("path", "reader"),
    [
        ("/api/v1/namespaces", "namespaces, which plugin k8s-ovs-multitenant reads"),
        ("/api/v1/pods", "bandwidths, which plugin k8s-ovs-shaping reads"),
    ],
)
def test_a_resource_that_cannot_be_read_is_the_api_servers_problem(
    api: ScriptedApiServer, k8s_ovs: Cli, status: int, path: str, reader: str
) -> None:
    refusal = (status, b'{"message":"no"}')
    api.bodies = {"/version": VERSION, **dict.fromkeys(RESOURCES, EMPTY), path: refusal}
    found = checks(k8s_ovs, api)
    assert found["etcd"]["ok"]
    assert not found["API server"]["ok"]
    assert found["API server"]["found"] == (
        f"{reader}: API server http://{api.address}: GET {path}: {status} no"
    )
    desired = k8s_ovs("flows", "--desired", KUBERNETES_MASTER=api.address)
    assert f"error: {found['API server']['found']}\n" in desired.stderr


def test_a_bad_object_is_left_out_and_told(api: ScriptedApiServer, k8s_ovs: Cli) -> None:
    listed = (200, b'{"metadata":{"resourceVersion":"1"},"items":[null]}')
    api.bodies = {"/version": VERSION, **dict.fromkeys(RESOURCES, EMPTY), RESOURCES[0]: listed}
    found = checks(k8s_ovs, api)["API server"]
    assert found["found"] == (
        f"left out: API server http://{api.address}: GET /api/v1/nodes: items[0]: "
        "found null, expected an object"
    )


def test_a_server_that_is_no_api_server_is_named(api: ScriptedApiServer, k8s_ovs: Cli) -> None:
    api.bodies = dict.fromkeys(("/version", *RESOURCES), (404, b"not here"))
    found = checks(k8s_ovs, api)
    assert found["etcd"]["ok"]
    assert found["API server"]["found"] == (
        f"API server http://{api.address}: GET /version: 404 not here"
    )
