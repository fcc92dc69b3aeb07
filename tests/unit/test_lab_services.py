"""A node of the lab translates services as kube-proxy does: the table as a value."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest

from k8s_ovs_lab.kube.service import Endpoint, Service, free_address, services_of, translation

PODS = IPv4Network("172.11.0.0/16")
FIRST = Endpoint(IPv4Address("172.11.0.2"), 8080)
SECOND = Endpoint(IPv4Address("172.11.4.2"), 8080)


def web(*endpoints: Endpoint, protocol: str = "tcp") -> Service:
    return Service("default", "web", IPv4Address("10.96.0.11"), 80, protocol, endpoints)


def chain(rules: str, name: str) -> list[str]:
    """The rules of one chain."""
    _, _, rest = rules.partition(f"chain {name} {{\n")
    body, _, _ = rest.partition("\n  }")
    return [line.strip() for line in body.splitlines()]


def test_each_endpoint_is_as_likely_as_another() -> None:
    rules = translation("t", [web(FIRST, SECOND)], PODS)
    assert chain(rules, "service-default/web/tcp/80")[-1] == (
        "numgen random mod 2 vmap { "
        "0 : goto endpoint-default/web/tcp/80-172.11.0.2-8080, "
        "1 : goto endpoint-default/web/tcp/80-172.11.4.2-8080 }"
    )


def test_an_endpoint_gets_what_was_meant_for_the_service() -> None:
    rules = translation("t", [web(FIRST, protocol="udp")], PODS)
    endpoint = chain(rules, "endpoint-default/web/udp/80-172.11.0.2-8080")
    assert endpoint[-1] == "meta l4proto udp dnat to 172.11.0.2:8080"
    assert "10.96.0.11 . udp . 80 : goto service-default/web/udp/80" in rules


def test_only_strangers_and_a_pod_that_gets_itself_lose_their_address() -> None:
    rules = translation("t", [web(FIRST)], PODS)
    mark = "meta mark set meta mark or 0x4000"
    assert chain(rules, "service-default/web/tcp/80")[0] == f"ip saddr != 172.11.0.0/16 {mark}"
    endpoint = chain(rules, "endpoint-default/web/tcp/80-172.11.0.2-8080")
    assert endpoint[0] == f"ip saddr 172.11.0.2 {mark}"
    assert rules.count(mark) == 2


def test_a_service_without_endpoints_refuses() -> None:
    rules = translation("t", [web()], PODS)
    assert "elements = { 10.96.0.11 . tcp . 80 : goto refuse }" in rules
    assert "goto service-" not in rules


def test_the_old_table_is_replaced_in_the_same_step() -> None:
    lines = translation("t", [], PODS).splitlines()
    assert lines[:3] == ["add table ip t", "delete table ip t", "table ip t {"]
    assert not any("elements" in line for line in lines)


def kubernetes_service(**spec: object) -> dict[str, object]:
    return {"metadata": {"namespace": "shop", "name": "web"}, "spec": spec}


def test_services_are_read_from_kubernetes_objects() -> None:
    ports = [{"name": "http", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}]
    subsets = [
        {
            "addresses": [{"ip": "172.11.4.2"}, {"ip": "172.11.0.2"}],
            "ports": [{"name": "http", "port": 8080}, {"name": "dns", "port": 5353}],
        },
        {"addresses": [{"ip": "172.11.0.2"}], "ports": [{"name": "http", "port": 8080}]},
        {"notReadyAddresses": [{"ip": "172.11.0.9"}], "ports": [{"name": "http", "port": 8080}]},
    ]
    found = services_of(
        [kubernetes_service(clusterIP="10.96.0.11", ports=ports)],
        [{"metadata": {"namespace": "shop", "name": "web"}, "subsets": subsets}],
    )
    address = IPv4Address("10.96.0.11")
    dns = (Endpoint(FIRST.address, 5353), Endpoint(SECOND.address, 5353))
    assert found == (
        Service("shop", "web", address, 80, "tcp", (FIRST, SECOND)),
        Service("shop", "web", address, 53, "udp", dns),
    )


@pytest.mark.parametrize("address", [None, "", "None"])
def test_a_service_without_an_address_is_not_translated(address: str | None) -> None:
    assert services_of([kubernetes_service(clusterIP=address, ports=[{"port": 80}])], []) == ()


def test_endpoints_of_another_namespace_are_not_taken() -> None:
    elsewhere = {
        "metadata": {"namespace": "other", "name": "web"},
        "subsets": [{"addresses": [{"ip": "172.11.0.2"}], "ports": [{"port": 80}]}],
    }
    service = kubernetes_service(clusterIP="10.96.0.11", ports=[{"port": 80}])
    assert services_of([service], [elsewhere])[0].endpoints == ()


def test_a_new_service_gets_the_first_address_that_is_free() -> None:
    network = IPv4Network("10.96.0.0/12")
    first = free_address(network, [])
    assert first == IPv4Address("10.96.0.11")
    assert free_address(network, [first, first + 2]) == first + 1
