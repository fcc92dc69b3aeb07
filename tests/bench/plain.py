"""What is a network of pods without Open vSwitch? A bridge per node, and the kernel's VXLAN.

Everything is static, as flannel makes it: routes, neighbours, forwarding entries. Wires between the
nodes are the lab's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from attrs import frozen
from limited import Place

from k8s_ovs_lab.command import run
from k8s_ovs_lab.layout import LabNode, Layout
from k8s_ovs_lab.underlay import (
    add_namespace,
    address_node,
    namespaces,
    remove_namespaces,
    wire,
)

__all__ = ["NETWORK", "PlainNode", "forwarding_entries", "node_commands", "plain_network"]

NETWORK = IPv4Network("10.244.0.0/16")
_SUBNETS = tuple(NETWORK.subnets(new_prefix=24))
_BRIDGE, _TUNNEL = "cni0", "vxlan0"
#: Bytes; what pods of k8s-ovs have on a network of 1500, so that both send the same frames.
_MTU = 1450


@frozen
class PlainNode:
    """number: from 1. netns: its namespace. address: on the network between the nodes."""

    number: int
    netns: str
    address: IPv4Address

    @property
    def subnet(self) -> IPv4Network:
        """Of its pods; the first address is the bridge's."""
        return _SUBNETS[self.number]

    @property
    def mac(self) -> str:
        """Of its VXLAN device."""
        return f"0a:58:0a:f4:00:{self.number:02x}"


def node_commands(node: PlainNode, other: PlainNode) -> str:
    """What `ip -batch` does in a node's namespace, so that its pods reach those of the other."""
    subnet, far = node.subnet, other.subnet
    vxlan = f"id 1 local {node.address} dstport 4789 nolearning"
    return "\n".join(
        (
            f"link add {_BRIDGE} mtu {_MTU} type bridge stp_state 0",
            f"addr add {subnet[1]}/{subnet.prefixlen} dev {_BRIDGE}",
            f"link set {_BRIDGE} up",
            f"link add {_TUNNEL} address {node.mac} mtu {_MTU} type vxlan {vxlan}",
            f"addr add {subnet[0]}/32 dev {_TUNNEL}",
            f"link set {_TUNNEL} up",
            f"neigh add {far[0]} lladdr {other.mac} dev {_TUNNEL} nud permanent",
            f"route add {far} via {far[0]} dev {_TUNNEL} onlink",
        )
    )


def forwarding_entries(other: PlainNode) -> str:
    """What `bridge -batch` does there: the node that has the other VXLAN device."""
    return f"fdb add {other.mac} dev {_TUNNEL} dst {other.address}"


@contextmanager
def plain_network(
    name: str, pods: Mapping[str, int]
) -> Iterator[tuple[list[str], dict[str, Place]]]:
    """Meanwhile two nodes, by their namespaces, and pods by name, each on the node of its number.

    name: the beginning of all namespaces' names.
    """
    # It has no files.
    layout = Layout(name, Path("/nonexistent"))
    hosts = layout.nodes(2)
    nodes = [PlainNode(number, host.netns, host.address) for number, host in enumerate(hosts, 1)]
    try:
        wire(layout, hosts)
        for host, node, other in zip(hosts, nodes, reversed(nodes), strict=True):
            _set_up(host, node, other)
        places = {
            pod: _add_pod(layout, nodes[number - 1], pod, place)
            for place, (pod, number) in enumerate(pods.items(), 2)
        }
        yield [node.netns for node in nodes], places
    finally:
        remove_namespaces(namespaces(layout))


def _set_up(host: LabNode, node: PlainNode, other: PlainNode) -> None:
    address_node(host, "eth0")
    run(["tee", "/proc/sys/net/ipv4/ip_forward"], netns=node.netns, text="1\n")
    run(["ip", "-batch", "-"], netns=node.netns, text=node_commands(node, other) + "\n")
    run(["bridge", "-batch", "-"], netns=node.netns, text=forwarding_entries(other) + "\n")


def _add_pod(layout: Layout, node: PlainNode, name: str, place: int) -> Place:
    """place: of its address in the node's subnet."""
    netns = layout.pod_netns(f"node{node.number}", "default", name)
    address = node.subnet[place]
    add_namespace(netns)
    of_node = (
        f"link add {name} mtu {_MTU} type veth peer name eth0 mtu {_MTU} netns {netns}",
        f"link set {name} master {_BRIDGE} up",
    )
    of_pod = (
        "link set lo up",
        f"addr add {address}/{node.subnet.prefixlen} dev eth0",
        "link set eth0 up",
        f"route add default via {node.subnet[1]}",
    )
    run(["ip", "-batch", "-"], netns=node.netns, text="\n".join(of_node) + "\n")
    run(["ip", "-batch", "-"], netns=netns, text="\n".join(of_pod) + "\n")
    return Place(netns, str(address))
