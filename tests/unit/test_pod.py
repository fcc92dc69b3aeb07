"""Addresses that follow from a pod's own."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

from hypothesis import given
from hypothesis import strategies as st

from k8s_ovs.model.pod import SERVICE_SOURCES, service_source_of
from k8s_ovs_testing.traffic.frame import checksum

addresses = st.builds(IPv4Address, st.integers(1 << 24, (1 << 32) - 1))


@given(addresses)
def test_the_source_for_services_has_the_checksum_of_the_address(address: IPv4Address) -> None:
    source = service_source_of(address)
    assert source in SERVICE_SOURCES
    assert checksum(source.packed) == checksum(address.packed)


@given(st.integers(1 << 8, (1 << 16) - 1))
def test_each_pod_of_a_node_has_its_own_source_for_services(prefix: int) -> None:
    pods = list(IPv4Network((prefix << 16, 18)).hosts())
    assert len({service_source_of(pod) for pod in pods}) == len(pods)
