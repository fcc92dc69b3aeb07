"""Namespaces' tenants, Kubernetes' nodes, and pods in OVSDB's external_ids."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from k8s_ovs.errors import InvalidRecord
from k8s_ovs.model.codec import decode, encode
from k8s_ovs.model.node import KubeNode, kube_node
from k8s_ovs.model.pod import Rates, mac_of, pod_from_ids, pod_ids, rate_ids
from k8s_ovs_multitenant.records import NetNamespace
from k8s_ovs_testing.world import sample_pod

TENANT = b'{"NetName":"helloworld1","NetID":300924,"Action":"","Namespace":""}'


def test_a_namespace_is_read_and_written_as_users_know_it() -> None:
    record = decode(NetNamespace, "netnamespaces/helloworld1", TENANT)
    assert record == NetNamespace("helloworld1", 300924)
    assert encode(record) == TENANT


@pytest.mark.parametrize("number", [-1, 1 << 24])
def test_a_tenants_number_has_24_bits(number: int) -> None:
    data = TENANT.replace(b"300924", str(number).encode())
    with pytest.raises(InvalidRecord) as refused:
        decode(NetNamespace, "netnamespaces/helloworld1", data)
    assert str(refused.value) == (
        f"netnamespaces/helloworld1: NetID: found {number}, expected 0 to 16777215"
    )


def node_object(*addresses: tuple[str, str]) -> dict[str, Any]:
    return {"status": {"addresses": [{"type": kind, "address": text} for kind, text in addresses]}}


@pytest.mark.parametrize(
    ("found", "addresses"),
    [
        (node_object(("Hostname", "n1"), ("InternalIP", "192.168.0.11")), ["192.168.0.11"]),
        (node_object(("InternalIP", "fd00::1"), ("InternalIP", "192.168.0.11")), ["192.168.0.11"]),
        (
            node_object(("InternalIP", "10.0.0.1"), ("InternalIP", "10.1.0.1")),
            ["10.0.0.1", "10.1.0.1"],
        ),
        (node_object(("ExternalIP", "203.0.113.1"), ("Hostname", "n1")), []),
        (node_object(), []),
        ({"status": {}}, []),
        ({}, []),
    ],
)
def test_a_nodes_addresses_are_its_ipv4_internal_ips(
    found: dict[str, Any], addresses: list[str]
) -> None:
    assert kube_node("n1", found) == KubeNode("n1", tuple(map(IPv4Address, addresses)))


def test_a_node_with_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidRecord) as refused:
        kube_node("n1", node_object(("InternalIP", "192.168.0")))
    assert str(refused.value) == (
        'node n1: InternalIP: found "192.168.0", expected an IPv4 address'
    )


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (5, "node n1: found 5, expected an object"),
        ({"status": [1]}, "node n1: status: found [1], expected an object"),
        ({"status": {"addresses": 5}}, "node n1: status.addresses: found 5, expected a list"),
        ({"status": {"addresses": {}}}, "node n1: status.addresses: found {}, expected a list"),
        (
            {"status": {"addresses": [7]}},
            "node n1: status.addresses[0]: found 7, expected an object",
        ),
        (
            {"status": {"addresses": [{"type": 1}]}},
            "node n1: status.addresses[0]: type: found 1, expected a string",
        ),
        (
            {"status": {"addresses": [{"type": "InternalIP", "address": 5}]}},
            "node n1: status.addresses[0]: address: found 5, expected a string",
        ),
    ],
)
def test_a_node_with_a_field_of_another_type_is_refused_by_the_fields_name(
    found: Any, told: str
) -> None:
    with pytest.raises(InvalidRecord) as refused:
        kube_node("n1", found)
    assert str(refused.value) == told


@pytest.mark.parametrize("found", [None, {"status": None}, {"status": {"addresses": None}}])
def test_a_node_without_addresses_yet_has_none(found: Any) -> None:
    assert kube_node("n1", found) == KubeNode("n1")


rates = st.builds(Rates, *[st.none() | st.integers(1_000, 10**15)] * 2)


@given(name=st.text(min_size=1), serial=st.integers(0), ip=st.integers(0, 2**32 - 1), limits=rates)
def test_a_pod_is_remembered_whole_in_its_ports_external_ids(
    name: str, serial: int, ip: int, limits: Rates
) -> None:
    pod = evolve(sample_pod(1), name=name, serial=serial, ip=IPv4Address(ip), rates=limits)
    assert pod_from_ids(pod.port, pod.ofport, pod_ids(pod)) == pod


@given(before=rates, after=rates)
def test_limits_that_change_are_written_over_those_before(before: Rates, after: Rates) -> None:
    pod = evolve(sample_pod(1), rates=before)
    written = {**pod_ids(pod), **rate_ids(after)}
    left = {key: text for key, text in written.items() if text is not None}
    assert pod_from_ids(pod.port, pod.ofport, left) == evolve(pod, rates=after)


def test_a_pod_of_a_daemon_that_knew_no_limits_has_none() -> None:
    ids = pod_ids(sample_pod(1))
    assert not [key for key in ids if key.endswith(("to-pod", "from-pod"))]
    found = pod_from_ids("veth1", 101, ids)
    assert found is not None
    assert found.rates == Rates()


@pytest.mark.parametrize(
    "spoilt",
    [
        {"k8s-ovs-ip": "172.11.4"},
        {"k8s-ovs-serial": "x"},
        {"k8s-ovs-uid": None},
        {"k8s-ovs-to-pod": "fast"},
    ],
)
def test_a_port_that_does_not_say_all_of_it_is_no_pods(spoilt: dict[str, str | None]) -> None:
    ids: dict[str, str | None] = {**pod_ids(sample_pod(1)), **spoilt}
    told = {name: each for name, each in ids.items() if each is not None}
    assert pod_from_ids("veth1", 101, told) is None


@given(one=st.integers(0, 2**32 - 1), other=st.integers(0, 2**32 - 1))
def test_addresses_have_macs_of_their_own(one: int, other: int) -> None:
    macs = mac_of(IPv4Address(one)), mac_of(IPv4Address(other))
    assert (macs[0] == macs[1]) == (one == other)
    assert macs[0].startswith("0a:58:")
