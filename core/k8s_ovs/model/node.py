"""A Kubernetes node as far as the network cares, and this node as the network has it."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from attrs import frozen

from k8s_ovs.errors import InvalidRecord
from k8s_ovs.model.kube_object import kube_field

__all__ = ["NODE_ADDRESS", "KubeNode", "LocalNode", "kube_node"]

#: Index of the Nodes by their addresses.
NODE_ADDRESS = "address"


@frozen
class KubeNode:
    """A Kubernetes Node: its name and its IPv4 InternalIPs, in the order of its status; none while
    kubelet has reported none."""

    name: str
    addresses: tuple[IPv4Address, ...] = ()


@frozen
class LocalNode:
    """This node: its address on the underlay, its subnet, its own ports on the bridge.

    gateway: tun0's address, the first one of the subnet. mac: tun0's. mtu: of pods, bytes.
    tunnel_port, node_port: OpenFlow numbers of vxlan0 and tun0. meters: how many the bridge's
    datapath can have; 0: it knows none.
    """

    host_ip: IPv4Address
    subnet: IPv4Network
    mac: str
    mtu: int
    tunnel_port: int
    node_port: int
    meters: int = 0

    @property
    def gateway(self) -> IPv4Address:
        return self.subnet.network_address + 1


def kube_node(key: str, found: Mapping[str, Any]) -> KubeNode:
    """A Node object of the API (core/v1) as a KubeNode.

    Raises InvalidRecord for an InternalIP that is no address, and for fields of other types than
    Kubernetes has there.
    """
    addresses = []
    for number, entry in enumerate(
        kube_field(f"node {key}", found, "status.addresses", list) or ()
    ):
        subject = f"node {key}: status.addresses[{number}]"
        if kube_field(subject, entry, "type", str) != "InternalIP":
            continue
        text = kube_field(subject, entry, "address", str) or ""
        if ":" in text:
            continue
        try:
            addresses.append(IPv4Address(text))
        except ValueError:
            raise InvalidRecord(
                f'node {key}: InternalIP: found "{text[:200]}", expected an IPv4 address'
            ) from None
    return KubeNode(key, tuple(addresses))
