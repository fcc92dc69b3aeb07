"""What the README promises, step by step: with Deployments and Services, by kubectl and etcdctl.

That nodes become ready is told in test_install.py and test_ways.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Network
from typing import Any

import pytest
from tests.cluster.cluster import PING, Cluster
from tests.cluster.outside import Outside, outside

from k8s_ovs_lab.command import run
from k8s_ovs_lab.layout import ETCD_PREFIX
from k8s_ovs_lab.process import await_that

TENANTS = ("helloworld1", "helloworld2", "helloworld3")
NETNAMESPACES = f"{ETCD_PREFIX}/k8ssdn/netnamespaces"
SUBNETS = f"{ETCD_PREFIX}/k8ssdn/subnets"
LIMIT = {
    "kubernetes.io/ingress-bandwidth": "10M",
    "kubernetes.io/egress-bandwidth": "10M",
}
# ASKED: the record of a server with this address that is no node.
ADDRESS = "192.168.0.199"
ASKED = {"Host": "lb1", "HostIP": ADDRESS, "Subnet": "", "Assign": True}
APPLIED_WITHIN_S = 30.0

SERVE = "iperf3 -s -D; hostname > /tmp/index.html; exec busybox httpd -f -p 8080 -h /tmp"
# EVERYTHING: all ways that `answers` tries.
EVERYTHING = {"ping of a pod", "curl of a pod", "curl of the service"}


@pytest.fixture(scope="module", autouse=True)
def fake(cluster: Cluster) -> Iterator[None]:
    """In each namespace `hello`: a Deployment of two pods on two nodes, and a Service."""
    for name in TENANTS:
        cluster.kubectl("create", "namespace", name)
        cluster.deployment("hello", name, ("sh", "-c", SERVE), replicas=2)
        cluster.service("hello", "hello", name)
    for name in TENANTS:
        cluster.await_rollout("deployment/hello", name)
    yield
    cluster.kubectl("delete", "namespace", *TENANTS, "--wait=false")


@pytest.fixture(autouse=True)
def apart(cluster: Cluster, fake: None) -> None:
    """Each test begins with three tenants."""
    for name in TENANTS:
        others = {record(cluster, each)["NetID"] for each in TENANTS if each != name}
        if record(cluster, name)["NetID"] in {0, *others}:
            act(cluster, name, "isolate")


def record(cluster: Cluster, namespace: str) -> dict[str, Any]:
    """A namespace's record in etcd."""
    key = f"{NETNAMESPACES}/{namespace}"
    return dict(json.loads(cluster.etcdctl("get", "--print-value-only", key)))


def act(cluster: Cluster, namespace: str, action: str, other: str = "") -> int:
    """Ask for an action in the record, as a person does; the tenant id that results."""
    asked = record(cluster, namespace) | {"Action": action, "Namespace": other}
    cluster.etcdctl("put", f"{NETNAMESPACES}/{namespace}", json.dumps(asked))
    answered = f"an answer to {action} of {namespace}"
    await_that(answered, lambda: record(cluster, namespace)["Action"] == "", APPLIED_WITHIN_S)
    assert record(cluster, namespace)["Namespace"] == ""
    return int(record(cluster, namespace)["NetID"])


def answers(cluster: Cluster, local_node: str, there: str) -> set[str]:
    """By which ways a pod of `here` on node1 reaches `there`: its pod on node2, its service."""
    near = cluster.pods_of("hello", local_node)["node1"].name
    far = cluster.pods_of("hello", there)["node2"].address
    curl = ("curl", "-sS", "-m", "2")
    tried = {
        "ping of a pod": (*PING, far),
        "curl of a pod": (*curl, f"http://{far}:8080/"),
        "curl of the service": (*curl, f"http://hello.{there}/"),
    }

    def succeeds(way: str) -> bool:
        return cluster.succeeds(near, *tried[way], namespace=local_node)

    with ThreadPoolExecutor() as pool:
        return {way for way, worked in zip(tried, pool.map(succeeds, tried), strict=True) if worked}


def await_answers(cluster: Cluster, local_node: str, there: str, wanted: set[str]) -> None:
    """Wait until `here` reaches `there` in these ways and no others."""
    what = f"{local_node} to reach {there} by {', '.join(sorted(wanted)) or 'nothing'}"
    await_that(what, lambda: answers(cluster, local_node, there) == wanted, APPLIED_WITHIN_S)


def test_4_a_namespace_reaches_itself_and_no_other(cluster: Cluster) -> None:
    one, two, _ = TENANTS
    said = cluster.etcdctl("get", "--prefix", "--print-value-only", f"{NETNAMESPACES}/helloworld")
    records = [json.loads(line) for line in said.split()]
    assert [each["NetName"] for each in records] == list(TENANTS)
    assert len({each["NetID"] for each in records} - {0}) == len(TENANTS)
    for each in records:
        assert (each["Action"], each["Namespace"]) == ("", "")
    for name in (one, two):
        await_answers(cluster, name, name, EVERYTHING)
    assert answers(cluster, one, two) == set()
    assert answers(cluster, two, one) == set()


def test_5_and_6_joined_namespaces_reach_each_other_until_one_is_isolated(cluster: Cluster) -> None:
    one, two, three = TENANTS
    pods = [cluster.pods_of("hello", name) for name in TENANTS]
    assert act(cluster, one, "join", two) == record(cluster, two)["NetID"]
    await_answers(cluster, one, two, EVERYTHING)
    await_answers(cluster, two, one, EVERYTHING)
    assert answers(cluster, one, three) == set()

    assert act(cluster, one, "isolate") not in {0, record(cluster, two)["NetID"]}
    await_answers(cluster, one, two, set())
    await_answers(cluster, two, one, set())
    assert answers(cluster, one, one) == EVERYTHING
    assert [cluster.pods_of("hello", name) for name in TENANTS] == pods


def test_7_a_global_namespace_reaches_all_and_they_stay_apart(cluster: Cluster) -> None:
    one, two, three = TENANTS
    assert act(cluster, three, "global") == 0
    for other in (one, two):
        await_answers(cluster, three, other, EVERYTHING)
        await_answers(cluster, other, three, EVERYTHING)
    assert answers(cluster, one, two) == set()


def iperf3(cluster: Cluster, pod: str, server: str, seconds: int, *flags: str) -> Any:
    """What iperf3 says of a stream from a pod of the first namespace; with -R to it."""
    words = ("iperf3", "-J", "-t", str(seconds), "-c", server, *flags)
    return json.loads(cluster.exec(pod, *words, namespace=TENANTS[0]))


def received(ran: Any) -> float:
    """Mbit/s that arrived."""
    return float(ran["end"]["sum_received"]["bits_per_second"]) / 1e6


def test_8_pods_of_an_annotated_template_get_their_bandwidth(
    cluster: Cluster, report: Callable[[str], None]
) -> None:
    name = TENANTS[0]
    cluster.deployment("limited", name, ("sleep", "infinity"), annotations=LIMIT)
    cluster.await_rollout("deployment/limited", name)
    ((node, limited),) = cluster.pods_of("limited", name).items()
    unlimited = cluster.pods_of("hello", name)
    beside = unlimited.pop(node)
    (server,) = unlimited.values()
    for what, seconds, flags in (("sent", 10, ()), ("received", 4, ("-R",))):
        ran = iperf3(cluster, limited.name, server.address, seconds, *flags)
        first = ran["intervals"][0]["sum"]["bits_per_second"] / 1e6
        again = ran["end"]["sum_sent"]["retransmits"]
        report(
            f"iperf3, 10M, {what} for {seconds} s: {received(ran):.2f} Mbit/s arrived, {first:.2f} "
            f"in the first second as the pod counts it, {again} retransmits"
        )
        assert 5 < received(ran) < 12
        assert received(iperf3(cluster, beside.name, server.address, 2, *flags)) > 20


@pytest.fixture(scope="module")
def lb1(cluster: Cluster, fake: None) -> Iterator[Outside]:
    """A server beside the nodes that Kubernetes does not know; its record is there, its daemon
    runs."""
    with outside(cluster.place, "lb1") as found:
        assert str(found.host.address) == ADDRESS
        cluster.etcdctl("put", f"{SUBNETS}/{ADDRESS}", json.dumps(ASKED))
        answered = f"an answer to {ASKED}"
        await_that(answered, lambda: not subnet_record(cluster)["Assign"], APPLIED_WITHIN_S)
        found.start_daemon()
        yield found


def subnet_record(cluster: Cluster) -> dict[str, Any]:
    """What etcd has for lb1."""
    said = cluster.etcdctl("get", "--print-value-only", f"{SUBNETS}/{ADDRESS}")
    return dict(json.loads(said))


def pings(cluster: Cluster, lb1: Outside) -> list[bool]:
    """For a pod of each namespace, whether lb1 reaches it."""
    pods = [cluster.pods_of("hello", name)["node2"] for name in TENANTS]
    return [lb1.succeeds(*PING, pod.address) for pod in pods]


def test_9_an_external_host_gets_a_subnet_and_reaches_pods_of_all_namespaces(
    cluster: Cluster, lb1: Outside
) -> None:
    given = subnet_record(cluster)
    assert given == ASKED | {"Subnet": given["Subnet"], "Assign": False}
    assert IPv4Network(given["Subnet"]).prefixlen == 22
    await_that("lb1 to reach them", lambda: all(pings(cluster, lb1)), APPLIED_WITHIN_S)


def test_9_a_load_balancer_there_serves_from_pods_of_two_tenants(
    cluster: Cluster, lb1: Outside
) -> None:
    pods = [cluster.pods_of("hello", name)["node1"] for name in TENANTS[:2]]
    lb1.start_haproxy(*(f"{pod.address}:8080" for pod in pods))
    curl = ["curl", "-sS", "-m", "5", f"http://{ADDRESS}/"]

    def served() -> set[str]:
        """Which pods answer a client far away, four times asked."""
        return {run(curl, netns=cluster.place.layout.outside).stdout.strip() for _ in range(4)}

    both = {pod.name for pod in pods}
    await_that("answers of both pods", lambda: served() == both, APPLIED_WITHIN_S)


def test_9_without_its_record_it_reaches_no_pod(cluster: Cluster, lb1: Outside) -> None:
    assert all(pings(cluster, lb1))
    cluster.etcdctl("del", f"{SUBNETS}/{ADDRESS}")
    await_that("lb1 to reach none", lambda: not any(pings(cluster, lb1)), APPLIED_WITHIN_S)
