"""`k8s-ovs tenant` on a node of a lab, with its real daemon, which answers and applies."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from k8s_ovs_lab import Lab, LabSettings, Layout
from k8s_ovs_lab.lifecycle import tear_down
from k8s_ovs_lab.process import await_that

Tenant = Callable[..., subprocess.CompletedProcess[str]]

BASE = "/k8s.ovs.com/ovs/network/k8ssdn"
SETTINGS = LabSettings(f"ta{uuid4().hex[:6]}", nodes=1, plugin="k8s-ovs-multitenant")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A lab of one node, with a pod of each of hw1 and hw2."""
    with tempfile.TemporaryDirectory(prefix="lab-") as parent:
        layout = Layout(SETTINGS.name, Path(parent) / "s")
        try:
            lab = Lab.up(SETTINGS, layout.directory)
            lab.run_pod("node1", "web", "hw1")
            lab.run_pod("node1", "web", "hw2")
            yield lab
        finally:
            tear_down(layout, lambda _: None)


@pytest.fixture
def tenant(lab: Lab) -> Tenant:
    """Runs `k8s-ovs tenant ...` on the node; hw1 and hw2 are apart before each test."""

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = ["env", "PYTHONWARNINGS=ignore", "k8s-ovs", "tenant", *words]
        return lab.exec("node1", command, check=False, timeout=60)

    for namespace in ("hw1", "hw2"):
        alone(lab, namespace)
    return run


def record_of(lab: Lab, namespace: str) -> Any:
    """The namespace's record as etcdctl shows it."""
    key = f"{BASE}/netnamespaces/{namespace}"
    return json.loads(lab.etcdctl("get", "--print-value-only", key))


def alone(lab: Lab, namespace: str) -> None:
    """Have the namespace in a network of its own, as it is from the beginning."""
    others = {record_of(lab, name)["NetID"] for name in ("hw1", "hw2") if name != namespace}
    record = record_of(lab, namespace)
    if record["NetID"] not in {0, *others}:
        return
    asked = json.dumps(record | {"Action": "isolate"})
    lab.etcdctl("put", f"{BASE}/netnamespaces/{namespace}", asked)
    await_that("an answer", lambda: not record_of(lab, namespace)["Action"], 30)


def shown(tenant: Tenant, namespace: str) -> Any:
    """`tenant show` as JSON."""
    return json.loads(tenant("show", namespace, "-o", "json").stdout)


def test_all_namespaces_are_listed(lab: Lab, tenant: Tenant) -> None:
    listed = {each["namespace"]: each for each in json.loads(tenant("list", "-o", "json").stdout)}
    assert listed["hw1"]["net_id"] == record_of(lab, "hw1")["NetID"]
    assert listed["kube-system"]["net_id"] == 0
    head, *rows = [line.split() for line in tenant("list").stdout.splitlines()]
    assert head == ["NAMESPACE", "TENANT-ID", "JOINED-WITH", "VNI", "STATE"]
    assert [row[0] for row in rows] == sorted(listed)
    assert rows[[row[0] for row in rows].index("hw1")][-1] == "ok"


@pytest.mark.parametrize("words", [("hw1", "hw2"), ("hw1", "--to", "hw2")], ids=" ".join)
def test_a_join_is_answered_and_followed_by_every_node(
    words: tuple[str, ...], lab: Lab, tenant: Tenant
) -> None:
    done = tenant("join", *words, "--wait")
    net_id = record_of(lab, "hw2")["NetID"]
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"hw1: tenant id {net_id}",
        "node1 has applied it",
        "that is all live nodes (1)",
    ]
    record = {"NetName": "hw1", "NetID": net_id, "Action": "", "Namespace": ""}
    assert record_of(lab, "hw1") == record
    assert shown(tenant, "hw1")["joined"] == ["hw2"]
    assert shown(tenant, "hw1")["record"] == record


def test_check_says_whether_and_why(tenant: Tenant) -> None:
    apart = tenant("check", "hw1", "hw2")
    assert (apart.returncode, apart.stdout[:26]) == (1, "hw1 does NOT reach hw2: hw")
    tenant("global", "hw2")
    reached = tenant("check", "hw1", "hw2")
    assert reached.returncode == 0
    assert reached.stdout == "hw1 reaches hw2: hw2 is global: it reaches all, and all reach it\n"
    assert json.loads(tenant("check", "hw2", "hw1", "-o", "json").stdout)["reaches"] is True
    unknown = tenant("check", "hw1", "nobody")
    assert unknown.returncode == 1
    assert unknown.stderr.startswith("error: namespace nobody has no record in netnamespaces; ")


def test_what_check_says_is_what_packets_do(lab: Lab, tenant: Tenant) -> None:
    ping = ["ping", "-c1", "-W1", str(lab.pod("hw2/web").ip)]
    for words in (("join", "hw1", "hw2"), ("isolate", "hw1")):
        assert tenant(*words, "--wait").returncode == 0
        pinged = lab.exec("hw1/web", ping, check=False).returncode
        assert tenant("check", "hw1", "hw2").returncode == pinged


def test_packets_of_a_tenant_are_counted_as_judged_and_dropped(lab: Lab, tenant: Tenant) -> None:
    # New flows, which count from nothing; a node that has applied the second has the first.
    tenant("isolate", "hw1")
    tenant("isolate", "hw2", "--wait")
    ping = ["ping", "-c3", "-i0.01", "-W1", str(lab.pod("hw2/web").ip)]
    lab.exec("hw1/web", ping, check=False)
    counted: dict[str, dict[str, dict[str, int]]] = {
        name: shown(tenant, name)["counters"] for name in ("hw1", "hw2")
    }
    assert counted["hw1"]["sent"]["packets"] == 3
    assert counted["hw1"]["dropped"]["packets"] == 0
    packets = {name: each["packets"] for name, each in counted["hw2"].items()}
    assert packets == {"sent": 0, "let through": 0, "dropped": 3, "judged": 3}
    assert "dropped       3  " in tenant("show", "hw2").stdout


def test_a_refusal_is_told_with_its_reason_and_stays_to_be_read(lab: Lab, tenant: Tenant) -> None:
    before = record_of(lab, "hw1")
    done = tenant("join", "hw1", "nobody", "--wait")
    reason = 'join: Namespace: found "nobody", expected one that exists'
    assert done.returncode == 1
    assert done.stderr == f"error: join of hw1 is refused: {reason}\n"
    assert record_of(lab, "hw1") == before | {"Reason": reason}
    assert shown(tenant, "hw1")["problem"] == reason
    tenant("isolate", "hw1")
    assert shown(tenant, "hw1")["problem"] == ""


def test_fields_that_nobody_knows_outlive_an_action(lab: Lab, tenant: Tenant) -> None:
    record = record_of(lab, "hw1") | {"Colour": "red"}
    lab.etcdctl("put", f"{BASE}/netnamespaces/hw1", json.dumps(record))
    assert tenant("isolate", "hw1").returncode == 0
    assert record_of(lab, "hw1")["Colour"] == "red"


def test_a_node_that_lags_is_named(lab: Lab, tenant: Tenant) -> None:
    status = json.loads(lab.etcdctl("get", "--print-value-only", f"{BASE}/status/node1"))
    ghost = status | {"Node": "node9", "Revision": 1, "Errors": ["OVS is away"]}
    lab.etcdctl("put", f"{BASE}/status/node9", json.dumps(ghost))
    done = tenant("isolate", "hw1", "--wait", "--timeout", "3")
    lab.etcdctl("del", f"{BASE}/status/node9")
    assert done.returncode == 1
    assert "node1 has applied it\n" in done.stdout
    assert "not applied within 3 s by node9 (at revision 1 of " in done.stderr
    assert ": OVS is away)" in done.stderr


def test_a_join_needs_the_namespace_to_join_just_once(tenant: Tenant) -> None:
    for words in (("hw1",), ("hw1", "hw2", "--to", "hw2")):
        done = tenant("join", *words)
        assert done.returncode == 1
        assert done.stderr.startswith("error: tenant join: expected the namespace to join")


def test_status_and_the_metrics_page_know_the_tenants(lab: Lab, tenant: Tenant) -> None:
    status = json.loads(
        lab.exec(
            "node1", ["env", "PYTHONWARNINGS=ignore", "k8s-ovs", "status", "-o", "json"]
        ).stdout
    )
    said = status["of_plugins"]["k8s-ovs-multitenant"]
    assert said["tenants"] == 2
    assert said["namespaces"] == len(tenant("list").stdout.splitlines()) - 1
    page = lab.exec("node1", ["curl", "-s", "http://127.0.0.1:9477/metrics"]).stdout
    assert 'k8s_ovs_plugin_tenancy_tenants{plugin="k8s-ovs-multitenant"} 2.0' in page
