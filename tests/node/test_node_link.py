"""The node's own device, set up once and left alone when it is right."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any

import pytest
from attrs import evolve
from k8s_ovs.link.node_port import (
    NodeLink,
    deviations,
    local_addresses,
    set_up,
    underlay_mtu,
)

from k8s_ovs.link.netlink import LinkError

TUN0 = NodeLink(
    name="tun0",
    address=IPv4Interface("172.11.4.1/22"),
    routes=(IPv4Network("172.11.0.0/16"),),
    mtu=1450,
)


@pytest.fixture
def bridge_port(node: Any) -> Any:
    """A device that plays tun0, in the node."""
    node.run("ip link add tun0 type veth peer name tun0-peer")
    node.run("ip link set tun0-peer up")
    return node


def addresses(node: Any) -> set[str]:
    (device,) = json.loads(node.run("ip -json addr show dev tun0"))
    return {f"{each['local']}/{each['prefixlen']}" for each in device["addr_info"]}


def routes(node: Any) -> set[tuple[str, str | None]]:
    found = json.loads(node.run("ip -json -4 route show dev tun0"))
    return {(each["dst"], each.get("gateway")) for each in found}


def sysctl(node: Any, key: str) -> str:
    return str(node.run(f"sysctl -n net.{key}")).strip()


def test_it_gets_address_mtu_and_the_clusters_route(bridge_port: Any) -> None:
    done = set_up(TUN0)
    assert addresses(bridge_port) == {"172.11.4.1/22"}
    assert routes(bridge_port) == {("172.11.4.0/22", None), ("172.11.0.0/16", None)}
    assert "mtu 1450" in bridge_port.run("ip link show tun0")
    assert "set address 172.11.4.1/22 of tun0" in done


def test_what_is_right_is_not_touched(bridge_port: Any) -> None:
    set_up(TUN0)
    assert set_up(TUN0) == []


def test_a_node_with_one_subnet_for_all_needs_no_second_route(bridge_port: Any) -> None:
    whole = evolve(TUN0, address=IPv4Interface("172.11.0.1/16"))
    set_up(whole)
    assert routes(bridge_port) == {("172.11.0.0/16", None)}
    assert set_up(whole) == []


def test_the_kernel_is_told_to_route_and_not_to_know_better(bridge_port: Any) -> None:
    bridge_port.run("sysctl -w net.ipv4.ip_forward=0 net.ipv4.conf.tun0.rp_filter=1")
    set_up(TUN0)
    assert sysctl(bridge_port, "ipv4.ip_forward") == "1"
    assert sysctl(bridge_port, "ipv4.conf.tun0.rp_filter") == "0"
    assert sysctl(bridge_port, "ipv4.conf.tun0.send_redirects") == "0"
    assert sysctl(bridge_port, "ipv4.conf.all.send_redirects") == "0"
    assert sysctl(bridge_port, "ipv6.conf.tun0.disable_ipv6") == "1"


def test_a_strict_filter_for_all_devices_is_overruled_for_this_one(bridge_port: Any) -> None:
    bridge_port.run("sysctl -w net.ipv4.conf.all.rp_filter=1")
    set_up(TUN0)
    assert sysctl(bridge_port, "ipv4.conf.tun0.rp_filter") == "2"
    assert sysctl(bridge_port, "ipv4.conf.all.rp_filter") == "1"


def test_another_subnet_replaces_the_old_address_and_route(bridge_port: Any) -> None:
    set_up(TUN0)
    moved = evolve(TUN0, address=IPv4Interface("10.2.8.1/22"), routes=(IPv4Network("10.2.0.0/16"),))
    set_up(moved)
    assert addresses(bridge_port) == {"10.2.8.1/22"}
    assert routes(bridge_port) == {("10.2.8.0/22", None), ("10.2.0.0/16", None)}


def test_the_right_address_survives_a_stale_one_of_the_same_subnet(bridge_port: Any) -> None:
    """The kernel takes later addresses of a subnet away together with the first."""
    bridge_port.run("ip addr add 172.11.4.7/22 dev tun0")
    bridge_port.run("ip addr add 172.11.4.1/22 dev tun0")
    set_up(TUN0)
    assert addresses(bridge_port) == {"172.11.4.1/22"}


def test_a_route_by_a_gateway_is_someone_elses(bridge_port: Any) -> None:
    set_up(TUN0)
    bridge_port.run("ip route add 192.0.2.0/24 via 172.11.4.9 dev tun0")
    assert set_up(TUN0) == []
    assert ("192.0.2.0/24", "172.11.4.9") in routes(bridge_port)


def test_without_an_mtu_the_switchs_stays(bridge_port: Any) -> None:
    bridge_port.run("ip link set tun0 mtu 1234")
    set_up(evolve(TUN0, mtu=None))
    assert "mtu 1234" in bridge_port.run("ip link show tun0")


def test_checksums_are_finished_by_the_kernel_where_asked_for(bridge_port: Any) -> None:
    set_up(evolve(TUN0, in_user_space=True))
    assert "tx-checksumming: off" in bridge_port.run("ethtool -k tun0")


@pytest.mark.usefixtures("node")
def test_a_device_that_is_not_there_is_named() -> None:
    with pytest.raises(LinkError, match="device tun0 does not exist"):
        set_up(TUN0)


class TestUnderlay:
    @pytest.fixture
    def underlay(self, node: Any) -> Any:
        node.run("ip link add eth0 type veth peer name eth0-peer")
        node.run("ip link set eth0 up mtu 9000")
        node.run("ip link set eth0-peer up mtu 9000")
        node.run("ip addr add 192.168.0.11/24 dev eth0")
        return node

    def test_its_addresses_are_known(self, underlay: Any) -> None:
        assert local_addresses() == {IPv4Address("192.168.0.11"), IPv4Address("127.0.0.1")}

    def test_the_mtu_is_that_of_the_device_with_the_nodes_address(self, underlay: Any) -> None:
        assert underlay_mtu(IPv4Address("192.168.0.11")) == 9000

    def test_an_address_of_no_device_is_named_with_those_there_are(self, underlay: Any) -> None:
        with pytest.raises(LinkError, match=r"address 192\.168\.0\.99.*192\.168\.0\.11"):
            underlay_mtu(IPv4Address("192.168.0.99"))


def test_deviations_are_what_would_be_done_and_nothing_is(bridge_port: Any) -> None:
    set_up(TUN0)
    assert deviations(TUN0) == []
    bridge_port.run("ip route delete 172.11.0.0/16 dev tun0")
    bridge_port.run("ip link set tun0 mtu 1400")
    bridge_port.run("sysctl -qw net.ipv4.ip_forward=0")
    expected = [
        "set net/ipv4/ip_forward to 1",
        "set MTU 1450 of tun0",
        "set route 172.11.0.0/16 by tun0",
    ]
    assert deviations(TUN0) == expected
    assert deviations(TUN0) == expected
    assert set_up(TUN0) == expected


@pytest.mark.usefixtures("node")
def test_deviations_of_a_device_that_is_not_there_are_an_error() -> None:
    with pytest.raises(LinkError, match="device tun0 does not exist"):
        deviations(TUN0)
