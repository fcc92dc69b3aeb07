"""The node's own device, set up once and left alone when it is right."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any

import pytest

from k8s_ovs.link.address_driver import AddressDriver
from k8s_ovs.link.ethtool import OffloadDriver
from k8s_ovs.link.host_addresses import address_conflicts, local_addresses, underlay_mtu
from k8s_ovs.link.netlink import LinkError
from k8s_ovs.link.sysctl import SysctlDriver, forwarding_sysctls
from k8s_ovs.node.host.state import HostState
from k8s_ovs.state.value import Address, Device, Offload, Route, Value

#: What is desired of tun0 in these tests.
ADDRESS, NETWORK = IPv4Interface("172.11.4.1/22"), IPv4Network("172.11.0.0/16")
HOST = HostState([AddressDriver(), SysctlDriver(), OffloadDriver()])


def tun0(
    address: IPv4Interface = ADDRESS, network: IPv4Network = NETWORK, mtu: int | None = 1450
) -> list[Value]:
    return [
        Device("tun0", mtu=mtu),
        Address("tun0", address),
        Route("tun0", network),
        *forwarding_sysctls("tun0"),
    ]


def set_up(desired: list[Value]) -> list[str]:
    """Put it right; what was wrong."""
    done, left = HOST.repair(desired)
    assert not left.differences
    for each in left.unknown:
        raise each.reason
    return [str(each) for each in done]


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
    done = set_up(tun0())
    assert addresses(bridge_port) == {"172.11.4.1/22"}
    assert routes(bridge_port) == {("172.11.4.0/22", None), ("172.11.0.0/16", None)}
    assert "mtu 1450" in bridge_port.run("ip link show tun0")
    assert "address 172.11.4.1/22 of tun0: missing" in done


def test_what_is_right_is_not_touched(bridge_port: Any) -> None:
    set_up(tun0())
    assert set_up(tun0()) == []


def test_a_node_with_one_subnet_for_all_needs_no_second_route(bridge_port: Any) -> None:
    whole = tun0(IPv4Interface("172.11.0.1/16"))
    set_up(whole)
    assert routes(bridge_port) == {("172.11.0.0/16", None)}
    assert set_up(whole) == []


def test_the_kernel_is_told_to_route_and_not_to_know_better(bridge_port: Any) -> None:
    bridge_port.run("sysctl -w net.ipv4.ip_forward=0 net.ipv4.conf.tun0.rp_filter=1")
    set_up(tun0())
    assert sysctl(bridge_port, "ipv4.ip_forward") == "1"
    assert sysctl(bridge_port, "ipv4.conf.tun0.rp_filter") == "0"
    assert sysctl(bridge_port, "ipv4.conf.tun0.send_redirects") == "0"
    assert sysctl(bridge_port, "ipv4.conf.all.send_redirects") == "0"
    assert sysctl(bridge_port, "ipv6.conf.tun0.disable_ipv6") == "1"


def test_a_strict_filter_for_all_devices_is_overruled_for_this_one(bridge_port: Any) -> None:
    bridge_port.run("sysctl -w net.ipv4.conf.all.rp_filter=1")
    set_up(tun0())
    assert sysctl(bridge_port, "ipv4.conf.tun0.rp_filter") == "2"
    assert sysctl(bridge_port, "ipv4.conf.all.rp_filter") == "1"


def test_another_subnet_replaces_the_old_address_and_route(bridge_port: Any) -> None:
    set_up(tun0())
    moved = tun0(IPv4Interface("10.2.8.1/22"), IPv4Network("10.2.0.0/16"))
    set_up(moved)
    assert addresses(bridge_port) == {"10.2.8.1/22"}
    assert routes(bridge_port) == {("10.2.8.0/22", None), ("10.2.0.0/16", None)}


def test_the_right_address_survives_a_stale_one_of_the_same_subnet(bridge_port: Any) -> None:
    """The kernel takes later addresses of a subnet away together with the first."""
    bridge_port.run("ip addr add 172.11.4.7/22 dev tun0")
    bridge_port.run("ip addr add 172.11.4.1/22 dev tun0")
    set_up(tun0())
    assert addresses(bridge_port) == {"172.11.4.1/22"}


def test_a_route_by_a_gateway_is_someone_elses(bridge_port: Any) -> None:
    set_up(tun0())
    bridge_port.run("ip route add 192.0.2.0/24 via 172.11.4.9 dev tun0")
    assert set_up(tun0()) == []
    assert ("192.0.2.0/24", "172.11.4.9") in routes(bridge_port)


def test_without_an_mtu_the_switchs_stays(bridge_port: Any) -> None:
    bridge_port.run("ip link set tun0 mtu 1234")
    set_up(tun0(mtu=None))
    assert "mtu 1234" in bridge_port.run("ip link show tun0")


def test_checksums_are_finished_by_the_kernel_where_asked_for(bridge_port: Any) -> None:
    set_up([*tun0(), Offload("tun0")])
    assert "tx-checksumming: off" in bridge_port.run("ethtool -k tun0")


@pytest.mark.usefixtures("node")
def test_a_device_that_is_not_there_is_named() -> None:
    with pytest.raises(LinkError, match="device tun0 does not exist"):
        set_up(tun0())


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


def test_a_look_tells_what_differs_and_changes_nothing(bridge_port: Any) -> None:
    set_up(tun0())
    assert HOST.look(tun0()).differences == ()
    bridge_port.run("ip route delete 172.11.0.0/16 dev tun0")
    bridge_port.run("ip link set tun0 mtu 1400")
    bridge_port.run("sysctl -qw net.ipv4.ip_forward=0")
    expected = [
        "device tun0: mtu is 1400, expected 1450",
        "route 172.11.0.0/16 by tun0: missing",
        "sysctl net/ipv4/ip_forward: value is 0, expected 1",
    ]
    for _ in range(2):
        assert [str(each) for each in HOST.look(tun0()).differences] == expected
    assert set_up(tun0()) == expected


class TestConflicts:
    """Addresses of the machine that take the way of packets to pods."""

    @pytest.mark.parametrize(
        ("address", "said"),
        [
            (
                "172.11.4.1/24",
                "172.11.4.1/24, which overlaps Network",
            ),
            (
                "172.8.0.1/13",
                "172.8.0.1/13, which overlaps Network",
            ),
            ("10.96.3.1/24", "10.96.3.1/24, which overlaps ServiceNetwork"),
        ],
    )
    def test_one_inside_the_network_is_told(self, node: Any, address: str, said: str) -> None:
        node.run("ip link add docker0 type veth peer name peer0")
        node.run(f"ip addr add {address} dev docker0")
        (found,) = address_conflicts(NETWORK, IPv4Network("10.96.0.0/12"), "tun0")
        assert found.startswith(f"device docker0 has the address {said}")

    def test_that_of_a_single_service_and_of_tun0_are_none(self, bridge_port: Any) -> None:
        set_up(tun0())
        bridge_port.run("ip addr add 10.96.0.10/32 dev tun0-peer")
        assert address_conflicts(NETWORK, IPv4Network("10.96.0.0/12"), "tun0") == []
