"""Services of a tenant by the kube-proxy that users run, the cluster's DNS, and the API server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.cluster.cluster import Cluster
from tests.cluster.greeting import GREETER, Greeting, greeting_by, greeting_from

from k8s_ovs_lab.layout import OUTSIDE
from k8s_ovs_lab.process import await_that

SHOP = "shop"
APPLIED_WITHIN_S = 30.0
ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


@pytest.fixture(scope="module")
def shop(cluster: Cluster) -> Iterator[dict[str, str]]:
    """A tenant with the pods `web1` on node1, `web2` on node2, which say hello, and `client` on
    node1; the addresses of these."""
    cluster.kubectl("create", "namespace", SHOP)
    addresses = {
        f"web{number}": cluster.run_pod(
            f"node{number}", f"web{number}", SHOP, command=GREETER, app="web"
        )
        for number in (1, 2)
    }
    addresses["client"] = cluster.run_pod("node1", "client", SHOP)
    yield addresses
    cluster.kubectl("delete", "namespace", SHOP, timeout=120)


def await_greeting(netns: str, address: str, port: int) -> Greeting:
    """What is said to a client in this namespace, as soon as rules let it through."""
    said: list[Greeting] = []

    def is_said() -> bool:
        said[:] = greeting_from(netns, address, port)
        return bool(said)

    await_that(f"an answer of {address}:{port} to {netns}", is_said, APPLIED_WITHIN_S)
    return said[0]


def test_a_node_port_answers_at_every_node(cluster: Cluster, shop: dict[str, str]) -> None:
    service = cluster.service("open", "web", SHOP, spec={"type": "NodePort"})
    (port,) = (each["nodePort"] for each in service["spec"]["ports"])
    node1, node2 = cluster.place.nodes
    outside = cluster.place.layout.outside
    for client in (outside, node1.netns, node2.netns):
        for node in (node1, node2):
            assert await_greeting(client, str(node.address), port).pod in shop
    # The node hides the client behind itself: else answers would not come back by it.
    assert await_greeting(outside, str(node1.address), port).client != str(OUTSIDE.ip)


def test_a_local_node_port_answers_at_nodes_with_an_endpoint_and_shows_the_client(
    cluster: Cluster, shop: dict[str, str]
) -> None:
    cluster.run_pod("node2", "alone", SHOP, command=GREETER)
    wanted = {"type": "NodePort", "externalTrafficPolicy": "Local"}
    service = cluster.service("local", "alone", SHOP, spec=wanted)
    (port,) = (each["nodePort"] for each in service["spec"]["ports"])
    node1, node2 = cluster.place.nodes
    outside = cluster.place.layout.outside
    said = await_greeting(outside, str(node2.address), port)
    assert said == Greeting("alone", str(OUTSIDE.ip))
    # To itself a node is inside the cluster: it has the service, and hides it from the outside.
    assert await_greeting(node1.netns, str(node1.address), port).pod == "alone"
    assert greeting_from(outside, str(node1.address), port) == []


def test_a_client_with_affinity_keeps_its_pod(cluster: Cluster, shop: dict[str, str]) -> None:
    cluster.service("sticky", "web", SHOP, spec={"sessionAffinity": "ClientIP"})
    cluster.service("free", "web", SHOP)
    for service in ("sticky", "free"):
        await_service(cluster, service)

    def asked(service: str) -> set[Greeting]:
        return set(greeting_by(cluster, "client", SHOP, service, times=20))

    assert asked("free") == {Greeting(pod, shop["client"]) for pod in ("web1", "web2")}
    assert len(asked("sticky")) == 1


def await_service(cluster: Cluster, service: str) -> None:
    answers = f"service {service} answers"
    await_that(
        answers, lambda: bool(greeting_by(cluster, "client", SHOP, service)), APPLIED_WITHIN_S
    )


def test_dns_gives_a_tenant_the_pods_of_a_headless_service(
    cluster: Cluster, shop: dict[str, str]
) -> None:
    cluster.service("pods", "web", SHOP, spec={"clusterIP": "None"})
    name = f"pods.{SHOP}.svc.cluster.local"

    def found(*how: str) -> list[str]:
        return sorted(cluster.exec("client", "dig", "+short", *how, name, namespace=SHOP).split())

    wanted = sorted(shop[pod] for pod in ("web1", "web2"))
    await_that(f"the addresses of {name}", lambda: found() == wanted, APPLIED_WITHIN_S)
    assert found("+tcp") == wanted


def test_a_tenants_pod_may_at_the_api_server_what_its_account_may(
    cluster: Cluster, shop: dict[str, str]
) -> None:
    cluster.kubectl("create", "serviceaccount", "reader", "-n", SHOP)
    cluster.kubectl("create", "role", "reader", "-n", SHOP, "--verb=list", "--resource=pods")
    account = f"--serviceaccount={SHOP}:reader"
    cluster.kubectl("create", "rolebinding", "reader", "-n", SHOP, "--role=reader", account)
    cluster.run_pod("node2", "reader", SHOP, spec={"serviceAccountName": "reader"})
    proof = f'--cacert {ACCOUNT}/ca.crt -H "Authorization: Bearer $(cat {ACCOUNT}/token)"'

    def listed(namespace: str) -> dict[str, Any]:
        url = f"https://kubernetes.default.svc/api/v1/namespaces/{namespace}/pods"
        said = cluster.exec("reader", "sh", "-c", f"curl -sS -m 10 {proof} {url}", namespace=SHOP)
        return dict(json.loads(said))

    own = listed(SHOP)
    assert own["kind"] == "PodList"
    assert {"web1", "web2", "reader"} <= {pod["metadata"]["name"] for pod in own["items"]}
    assert listed("default")["code"] == 403
