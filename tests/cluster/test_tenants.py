"""Namespaces as tenants, by kubectl and etcdctl alone, as the README tells it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.cluster.cluster import Cluster

from k8s_ovs.errors import K8sOvsError
from k8s_ovs.lab.layout import ETCD_PREFIX
from k8s_ovs.lab.process import await_that

TENANTS = ("helloworld1", "helloworld2", "helloworld3")
APPLIED_WITHIN_S = 30.0
HELLO = ("socat", "TCP-LISTEN:8080,reuseaddr,fork", "SYSTEM:cat /etc/hostname")


@pytest.fixture(scope="module")
def far(cluster: Cluster) -> Iterator[dict[str, str]]:
    """In each namespace `near` on node1, `far` on node2 and a service; the far ones' addresses."""
    found = {}
    for name in TENANTS:
        cluster.kubectl("create", "namespace", name)
        cluster.run_pod("node1", "near", name)
        found[name] = cluster.run_pod("node2", "far", name, command=HELLO)
        cluster.service("web", "far", name)
    yield found
    cluster.kubectl("delete", "namespace", *TENANTS, timeout=120)


@pytest.fixture(autouse=True)
def apart(cluster: Cluster, far: dict[str, str]) -> None:
    """Each test begins with three tenants."""
    for name in TENANTS:
        others = {record(cluster, each)["NetID"] for each in TENANTS if each != name}
        if record(cluster, name)["NetID"] in {0, *others}:
            act(cluster, name, "isolate")


def record(cluster: Cluster, namespace: str) -> dict[str, Any]:
    """A namespace's record in etcd."""
    key = f"{ETCD_PREFIX}/k8ssdn/netnamespaces/{namespace}"
    return dict(json.loads(cluster.etcdctl("get", "--print-value-only", key)))


def act(cluster: Cluster, namespace: str, action: str, other: str = "") -> int:
    """Ask for an action in the record, as a person does; the NetID that comes of it."""
    asked = record(cluster, namespace) | {"Action": action, "Namespace": other}
    key = f"{ETCD_PREFIX}/k8ssdn/netnamespaces/{namespace}"
    cluster.etcdctl("put", key, json.dumps(asked))
    answered = f"an answer to {action} of {namespace}"
    await_that(answered, lambda: record(cluster, namespace)["Action"] == "", APPLIED_WITHIN_S)
    return int(record(cluster, namespace)["NetID"])


def serves(cluster: Cluster, here: str, there: str) -> bool:
    """Whether the service of `there` answers a pod of `here`, by its name."""
    try:
        said = cluster.exec(
            "near", *("socat", "-T3", "-", f"TCP:web.{there}:80,connect-timeout=2"), namespace=here
        )
    except K8sOvsError:
        return False
    return said == "far\n"


def reach(cluster: Cluster, far: dict[str, str], here: str, there: str) -> tuple[bool, bool]:
    """Whether a pod of `here` reaches a pod on another node, and a service, of `there`."""
    return cluster.reaches("near", far[there], here), serves(cluster, here, there)


def await_reach(cluster: Cluster, far: dict[str, str], here: str, there: str, wanted: bool) -> None:
    """Wait until `here` reaches pod and service of `there`, or until it reaches neither."""
    await_that(
        f"{here} {'reaches' if wanted else 'does not reach'} {there}",
        lambda: reach(cluster, far, here, there) == (wanted, wanted),
        APPLIED_WITHIN_S,
    )


def test_a_namespace_reaches_itself_and_no_other(cluster: Cluster, far: dict[str, str]) -> None:
    one, two, _ = TENANTS
    assert record(cluster, one)["NetID"] != record(cluster, two)["NetID"]
    assert reach(cluster, far, one, one) == (True, True)
    assert reach(cluster, far, one, two) == (False, False)
    assert reach(cluster, far, two, one) == (False, False)


def test_joined_namespaces_reach_each_other_until_isolated(
    cluster: Cluster, far: dict[str, str]
) -> None:
    one, two, three = TENANTS
    assert act(cluster, one, "join", two) == record(cluster, two)["NetID"]
    await_reach(cluster, far, one, two, True)
    await_reach(cluster, far, two, one, True)
    assert reach(cluster, far, one, three) == (False, False)

    assert act(cluster, one, "isolate") != record(cluster, two)["NetID"]
    await_reach(cluster, far, one, two, False)
    await_reach(cluster, far, two, one, False)
    assert reach(cluster, far, one, one) == (True, True)


def test_a_global_namespace_reaches_all_and_they_stay_apart(
    cluster: Cluster, far: dict[str, str]
) -> None:
    one, two, three = TENANTS
    assert act(cluster, three, "global") == 0
    for other in (one, two):
        await_reach(cluster, far, three, other, True)
        await_reach(cluster, far, other, three, True)
    assert reach(cluster, far, one, two) == (False, False)
