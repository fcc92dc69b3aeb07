"""Packets of a pod through a node with our nftables table, and without it."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest
from attrs import evolve, frozen

from k8s_ovs.link import nftables
from k8s_ovs.link.host_addresses import local_addresses
from k8s_ovs.link.namespace import entered, opened
from k8s_ovs.link.netlink import LinkError
from k8s_ovs.link.nftables import NftDriver, etcd_sockets, nft_table
from k8s_ovs.link.veth import PREFIX
from k8s_ovs.state.diff import Difference, diff
from k8s_ovs.state.value import NftTable
from k8s_ovs_testing.world import sample_config, sample_local_node

NETWORK = IPv4Network("172.11.0.0/16")
VXLAN, ETCD = 4789, 2379
LIMIT = 10.0
NODE, OUTSIDE = "203.0.113.1", "203.0.113.10"


@frozen
class Site:
    """A pod behind the node's tun0, and a host outside the cluster that knows no way to pods."""

    node: Any
    pod: Any
    outside: Any


@pytest.fixture
def site(new_netns: Callable[[str], Any], node: Any) -> Site:
    pod, outside = new_netns("pod"), new_netns("outside")
    for commands in (
        f"ip link add tun0 type veth peer name eth0 netns {pod.name}",
        f"ip link add eth0 type veth peer name eth0 netns {outside.name}",
        "ip addr add 172.11.4.1/22 dev tun0",
        "ip addr add 203.0.113.1/24 dev eth0",
        "ip link set tun0 up",
        "ip link set eth0 up",
        "sysctl -w net.ipv4.ip_forward=1",
    ):
        node.run(commands)
    for netns, address in ((pod, "172.11.4.2/22"), (outside, f"{OUTSIDE}/24")):
        netns.run(f"ip addr add {address} dev eth0")
        netns.run("ip link set eth0 up")
    pod.run("ip route add default via 172.11.4.1")
    return Site(node, pod, outside)


@contextmanager
def udp(netns: Any, port: int = 0, address: str = "") -> Iterator[socket.socket]:
    """A socket that lives in `netns`."""
    with opened(netns.path) as descriptor, entered(descriptor):
        channel = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        channel.bind((address, port))
    channel.settimeout(LIMIT)
    with channel:
        yield channel


def arrives(
    sender: Any,
    target: tuple[str, int],
    receiver: Any,
    port: int,
    *,
    source: str = "",
    size: int = 5,
) -> bool:
    """Whether a datagram gets through. The kernel delivers before `sendto` returns: no waiting."""
    with udp(receiver, port) as server, udp(sender, address=source) as client:
        client.sendto(bytes(size), target)
        server.settimeout(0.5)
        try:
            return server.recv(size) == bytes(size)
        except TimeoutError:
            return False


def connects(client: Any, target: tuple[str, int], server: Any, port: int = ETCD) -> bool:
    """Whether a TCP connection from one host to another gets through."""
    with tcp(server) as listening, tcp(client) as calling:
        listening.bind(("", port))
        listening.listen()
        calling.settimeout(1.0)
        try:
            calling.connect(target)
        except TimeoutError:
            return False
        return True


@contextmanager
def tcp(netns: Any) -> Iterator[socket.socket]:
    """A TCP socket that lives in `netns`."""
    with opened(netns.path) as descriptor, entered(descriptor):
        channel = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    channel.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    with channel:
        yield channel


def translate(site: Site, rule: str) -> None:
    """As a service, a NodePort or a hostPort does it."""
    site.node.run("nft add table ip services")
    site.node.run("nft add chain ip services pre { type nat hook prerouting priority dstnat; }")
    site.node.run(f"nft add rule ip services pre {rule}")


def tables(node: Any) -> list[str]:
    found = json.loads(node.run("nft -json list tables"))["nftables"]
    return [each["table"]["name"] for each in found if "table" in each]


def test_what_leaves_the_cluster_has_the_nodes_address_and_is_answered(site: Site) -> None:
    apply(NETWORK, VXLAN)
    with udp(site.outside, 5000) as server, udp(site.pod) as client:
        client.sendto(b"question", (OUTSIDE, 5000))
        _, (seen, port) = server.recvfrom(100)
        assert seen == "203.0.113.1"
        server.sendto(b"answer", (seen, port))
        assert client.recv(100) == b"answer"


def test_what_stays_in_the_cluster_keeps_its_address(site: Site) -> None:
    site.node.run("ip route add 172.11.8.0/22 dev eth0")
    site.outside.run("ip addr add 172.11.8.2/32 dev eth0")
    apply(NETWORK, VXLAN)
    with udp(site.outside, 5000) as server, udp(site.pod) as client:
        client.sendto(b"question", ("172.11.8.2", 5000))
        assert server.recvfrom(100)[1][0] == "172.11.4.2"


class TestTunnelPort:
    def test_a_pod_reaches_the_node_but_not_its_tunnel(self, site: Site) -> None:
        assert arrives(site.pod, ("172.11.4.1", VXLAN), site.node, VXLAN)
        apply(NETWORK, VXLAN)
        assert not arrives(site.pod, ("172.11.4.1", VXLAN), site.node, VXLAN)
        assert arrives(site.pod, ("172.11.4.1", 5000), site.node, 5000)

    @pytest.mark.parametrize("at", ["node", "outside"])
    def test_nor_in_fragments(self, site: Site, at: str) -> None:
        receiver, address = (site.node, NODE) if at == "node" else (site.outside, OUTSIDE)
        assert arrives(site.pod, (address, VXLAN), receiver, VXLAN, size=3000)
        apply(NETWORK, VXLAN)
        assert not arrives(site.pod, (address, VXLAN), receiver, VXLAN, size=3000)
        assert arrives(site.pod, (address, 5000), receiver, 5000, size=3000)

    def test_nor_another_nodes(self, site: Site) -> None:
        apply(NETWORK, VXLAN)
        assert not arrives(site.pod, (OUTSIDE, VXLAN), site.outside, VXLAN)
        assert arrives(site.pod, (OUTSIDE, 5000), site.outside, 5000)

    def test_nor_any_by_way_of_a_service(self, site: Site) -> None:
        translate(site, f"ip daddr 10.96.0.1 udp dport 53 dnat to {OUTSIDE}:{VXLAN}")
        assert arrives(site.pod, ("10.96.0.1", 53), site.outside, VXLAN)
        apply(NETWORK, VXLAN)
        assert not arrives(site.pod, ("10.96.0.1", 53), site.outside, VXLAN)

    @pytest.mark.parametrize("to", [NODE, OUTSIDE])
    def test_nor_from_outside_by_a_port_of_the_node(self, site: Site, to: str) -> None:
        """To this node's tunnel, or another one's, as kube-proxy does it."""
        translate(site, f"ip daddr {NODE} udp dport 30053 dnat to {to}:{VXLAN}")
        site.node.run("nft add chain ip services post { type nat hook postrouting priority 100; }")
        site.node.run("nft add rule ip services post ct status dnat masquerade")
        receiver = site.node if to == NODE else site.outside
        assert arrives(site.outside, (NODE, 30053), receiver, VXLAN)
        apply(NETWORK, VXLAN)
        assert not arrives(site.outside, (NODE, 30053), receiver, VXLAN)

    def test_who_has_its_port_as_a_host_port_gets_no_tunnel(self, site: Site) -> None:
        translate(site, f"ip daddr {NODE} udp dport {VXLAN} dnat to 172.11.4.2:5000")
        assert arrives(site.outside, (NODE, VXLAN), site.pod, 5000)
        apply(NETWORK, VXLAN)
        assert not arrives(site.outside, (NODE, VXLAN), site.pod, 5000)
        assert arrives(site.outside, (NODE, VXLAN), site.node, VXLAN)

    def test_a_service_with_another_nodes_address_gets_no_tunnel(self, site: Site) -> None:
        """As its externalIPs: what the node itself sends is translated, too."""
        site.node.run("nft add table ip services")
        site.node.run("nft add chain ip services out { type nat hook output priority -100; }")
        for port in (VXLAN, 5001):
            led = f"ip daddr {OUTSIDE} udp dport {port} dnat to 172.11.4.2:5000"
            site.node.run(f"nft add rule ip services out {led}")
        assert arrives(site.node, (OUTSIDE, VXLAN), site.pod, 5000)
        apply(NETWORK, VXLAN)
        assert not arrives(site.node, (OUTSIDE, VXLAN), site.pod, 5000)
        assert arrives(site.node, (OUTSIDE, VXLAN), site.outside, VXLAN)
        assert arrives(site.node, (OUTSIDE, 5001), site.pod, 5000), "other ports are not ours"

    def test_nodes_themselves_do(self, site: Site) -> None:
        apply(NETWORK, VXLAN)
        assert arrives(site.outside, ("203.0.113.1", VXLAN), site.node, VXLAN)


SERVICE, NODE_PORT = "10.96.0.9", 30079


class TestEtcd:
    """No pod reaches etcd; everybody else does, and pods reach all else."""

    def test_a_pod_reaches_other_ports_and_hosts_but_not_etcd(self, site: Site) -> None:
        apply(NETWORK, VXLAN)
        assert connects(site.pod, (OUTSIDE, ETCD), site.outside)
        apply(NETWORK, VXLAN, (OUTSIDE, ETCD))
        assert not connects(site.pod, (OUTSIDE, ETCD), site.outside)
        assert connects(site.pod, (OUTSIDE, 5000), site.outside, 5000)
        assert connects(site.pod, (NODE, ETCD), site.node), "it is not the node's"
        assert connects(site.node, (OUTSIDE, ETCD), site.outside)

    @pytest.mark.parametrize("endpoint", [NODE, "127.0.0.1", "203.0.113.7"])
    def test_nor_on_this_node_by_any_of_its_addresses(self, site: Site, endpoint: str) -> None:
        site.node.run("ip addr add 203.0.113.7/32 dev eth0")
        assert connects(site.pod, (NODE, ETCD), site.node)
        apply(NETWORK, VXLAN, (endpoint, ETCD))
        for address in (NODE, "203.0.113.7", "172.11.4.1"):
            assert not connects(site.pod, (address, ETCD), site.node)
        assert connects(site.pod, (NODE, 5000), site.node, 5000)
        assert connects(site.outside, (NODE, ETCD), site.node)
        assert connects(site.node, (NODE, ETCD), site.node)
        assert connects(site.pod, (OUTSIDE, ETCD), site.outside), "another one's"

    @pytest.mark.parametrize("to", [NODE, OUTSIDE])
    def test_nor_by_a_service_that_leads_to_it(self, site: Site, to: str) -> None:
        receiver = site.node if to == NODE else site.outside
        translate(site, f"ip daddr {SERVICE} tcp dport 80 dnat to {to}:{ETCD}")
        apply(NETWORK, VXLAN)
        assert connects(site.pod, (SERVICE, 80), receiver)
        apply(NETWORK, VXLAN, (to, ETCD))
        assert not connects(site.pod, (SERVICE, 80), receiver)

    def test_nor_where_the_endpoint_itself_is_a_service(self, site: Site) -> None:
        translate(site, f"ip daddr {SERVICE} tcp dport {ETCD} dnat to {OUTSIDE}:{ETCD}")
        apply(NETWORK, VXLAN)
        assert connects(site.pod, (SERVICE, ETCD), site.outside)
        apply(NETWORK, VXLAN, (SERVICE, ETCD))
        assert not connects(site.pod, (SERVICE, ETCD), site.outside)

    @pytest.mark.parametrize("to", [NODE, OUTSIDE])
    def test_nor_by_a_port_of_another_node_that_hides_who_asks(self, site: Site, to: str) -> None:
        """A pod of another node comes from that node's address then."""
        receiver = site.node if to == NODE else site.outside
        translate(site, f"ip daddr {NODE} tcp dport {NODE_PORT} dnat to {to}:{ETCD}")
        site.node.run("nft add chain ip services post { type nat hook postrouting priority 100; }")
        site.node.run("nft add rule ip services post ct status dnat masquerade")
        assert connects(site.outside, (NODE, NODE_PORT), receiver)
        apply(NETWORK, VXLAN, (to, ETCD))
        assert not connects(site.outside, (NODE, NODE_PORT), receiver)

    @pytest.mark.parametrize("to", [NODE, OUTSIDE])
    def test_the_node_itself_may_take_a_service_to_it(self, site: Site, to: str) -> None:
        receiver = site.node if to == NODE else site.outside
        site.node.run("ip route add 10.96.0.0/12 dev eth0")
        site.node.run("nft add table ip services")
        site.node.run("nft add chain ip services out { type nat hook output priority -100; }")
        led = f"ip daddr {SERVICE} tcp dport {ETCD} dnat to {to}:{ETCD}"
        site.node.run(f"nft add rule ip services out {led}")
        apply(NETWORK, VXLAN, (to, ETCD))
        assert connects(site.node, (SERVICE, ETCD), receiver)

    def test_the_rules_are_part_of_what_is_compared(self, site: Site) -> None:
        apply(NETWORK, VXLAN, (OUTSIDE, ETCD), (NODE, ETCD))
        assert differences(NETWORK, (NODE, ETCD), (OUTSIDE, ETCD)) == []
        assert differences(NETWORK, (OUTSIDE, ETCD)) != []
        site.node.run("nft flush chain inet k8s-ovs through")
        (found,) = differences(NETWORK, (NODE, ETCD), (OUTSIDE, ETCD))
        NftDriver().apply([found])
        assert not connects(site.pod, (OUTSIDE, ETCD), site.outside)


def test_the_nodes_kernel_does_not_listen_to_pods_devices(site: Site) -> None:
    """With the userspace datapath it gets their packets besides Open vSwitch."""
    site.node.run(f"ip link set tun0 down name {PREFIX}0")
    site.node.run(f"ip link set {PREFIX}0 up")
    site.pod.run("ip route replace default dev eth0")
    assert arrives(site.pod, ("255.255.255.255", 5000), site.node, 5000)
    apply(NETWORK, VXLAN)
    assert not arrives(site.pod, ("255.255.255.255", 5000), site.node, 5000)


class TestTable:
    def test_applying_it_again_changes_nothing(self, node: Any) -> None:
        apply(NETWORK, VXLAN)
        once = node.run(f"nft list table inet {nftables.TABLE}")
        apply(NETWORK, VXLAN)
        assert node.run(f"nft list table inet {nftables.TABLE}") == once

    def test_another_port_replaces_the_old_one(self, node: Any) -> None:
        apply(NETWORK, VXLAN)
        apply(NETWORK, 8472)
        listed = node.run(f"nft list table inet {nftables.TABLE}")
        assert "8472" in listed
        assert str(VXLAN) not in listed

    def test_removing_it_leaves_the_tables_of_others(self, node: Any) -> None:
        node.run("nft add table ip services")
        apply(NETWORK, VXLAN)
        found = diff((), NftDriver().read(()))
        for _ in range(2):
            NftDriver().apply(found)
        assert NftDriver().read(()) == []
        assert tables(node) == ["services"]

    def test_a_rule_that_nft_refuses_leaves_the_table_as_it_was(self, node: Any) -> None:
        apply(NETWORK, VXLAN)
        once = node.run(f"nft list table inet {nftables.TABLE}")
        wanted = table(NETWORK, VXLAN)
        wrong = evolve(wanted, rules=wanted.rules.replace(f"dport {VXLAN}", "dport 70000"))
        with pytest.raises(LinkError, match="nft refused table inet k8s-ovs"):
            NftDriver().apply([Difference(wrong.key, None, wrong)])
        assert node.run(f"nft list table inet {nftables.TABLE}") == once

    @pytest.mark.usefixtures("node")
    def test_a_node_without_nft_is_told_so(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "/nonexistent")
        with pytest.raises(LinkError, match="nft is not installed"):
            apply(NETWORK, VXLAN)


class TestComparison:
    """The table is compared as a whole, whatever somebody did to it."""

    def test_it_differs_from_that_of_another_network(self, node: Any) -> None:
        apply(NETWORK, VXLAN)
        assert differences() == []
        (other,) = differences(IPv4Network("172.12.0.0/16"))
        assert str(other) == "nftables table k8s-ovs: content"

    @pytest.mark.parametrize(
        "command",
        [
            "flush ruleset",
            "delete table inet k8s-ovs",
            "flush chain inet k8s-ovs leave",
            "flush chain inet k8s-ovs inward",
            "add rule inet k8s-ovs leave accept",
            "insert rule inet k8s-ovs from_pods accept",
            "add chain inet k8s-ovs more",
            "add set inet k8s-ovs some { type ipv4_addr; }",
            "add chain inet k8s-ovs leave { policy drop; }",
        ],
    )
    def test_whatever_changed_it_is_put_right(self, node: Any, command: str) -> None:
        apply(NETWORK, VXLAN)
        node.run(f"nft {command}")
        (found,) = differences()
        NftDriver().apply([found])
        assert differences() == []

    def test_other_tables_and_counters_are_nothing_to_it(self, node: Any) -> None:
        apply(NETWORK, VXLAN)
        node.run("nft add table inet others")
        node.run("nft add chain inet others pre { type nat hook prerouting priority dstnat; }")
        assert differences() == []


def table(
    network: IPv4Network, vxlan_port: int, *etcd: tuple[str, int], outside: str | None = None
) -> NftTable:
    node = evolve(sample_local_node(), host_ip=IPv4Address(NODE))
    config = sample_config(network=network, vxlan_port=vxlan_port, from_outside=outside)
    there = [(IPv4Address(address), port) for address, port in etcd]
    found = etcd_sockets(there, local_addresses())
    return nft_table(node, config, found)


def apply(
    network: IPv4Network, vxlan_port: int, *etcd: tuple[str, int], outside: str | None = None
) -> None:
    """Put the table there."""
    wanted = table(network, vxlan_port, *etcd, outside=outside)
    NftDriver().apply([Difference(wanted.key, None, wanted)])


def differences(network: IPv4Network = NETWORK, *etcd: tuple[str, int]) -> list[Difference]:
    return diff([table(network, VXLAN, *etcd)], NftDriver().read(()))
