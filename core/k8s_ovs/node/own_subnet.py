"""Which subnet is this node's? Its record is the one under an address of this machine."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from ipaddress import IPv4Address

from k8s_ovs.errors import K8sOvsError
from k8s_ovs.link.host_addresses import underlay_mtu
from k8s_ovs.model.network import VXLAN_OVERHEAD, NetworkConfig
from k8s_ovs.model.node import LocalNode
from k8s_ovs.model.pod import mac_of
from k8s_ovs.model.subnet import HostSubnet
from k8s_ovs.model.world import EMPTY, SUBNETS, Slot

__all__ = ["NoSubnet", "find_own_subnet", "local_node_of", "mtu_problem", "pod_mtu"]


class NoSubnet(K8sOvsError):
    """This node has no subnet (yet). Says where the daemon looked."""


def find_own_subnet(
    slots: Mapping[str, Slot], addresses: Collection[IPv4Address], hostname: str
) -> HostSubnet:
    """The record of this node: under an address of its own; if several match, the one with its
    name.

    slots: of the kind SUBNETS. Raises NoSubnet.
    """
    ours = [slots.get(str(address), EMPTY) for address in sorted(addresses)]
    records: list[HostSubnet] = [slot.settled for slot in ours if slot.settled is not None]
    given = [record for record in records if record.subnet is not None]
    for record in given:
        if record.host == hostname:
            return record
    if given:
        return given[0]
    for record in records:
        if record.reason is not None:
            raise NoSubnet(f"node {hostname} has no subnet: it was refused: {record.reason}")
    for slot in ours:
        if slot.problem is not None:
            raise NoSubnet(f"node {hostname} has no subnet: {slot.problem}")
    looked = ", ".join(f"{SUBNETS}/{address}" for address in sorted(addresses)) or "no address"
    raise NoSubnet(
        f"node {hostname} has no subnet yet: no record with a subnet under {looked}; "
        "the allocator gives one to each Kubernetes node by its InternalIP, and to other hosts "
        "that a record asks for"
    )


def pod_mtu(config: NetworkConfig, own: HostSubnet) -> int:
    """The MTU of pods' interfaces, bytes. Raises LinkError."""
    return config.mtu or underlay_mtu(own.host_ip) - VXLAN_OVERHEAD


def mtu_problem(config: NetworkConfig, host_ip: IPv4Address) -> str:
    """Why packets of the configured MTU would be lost below; "": they fit. Raises LinkError."""
    if config.mtu is None or config.mtu <= (below := underlay_mtu(host_ip)) - VXLAN_OVERHEAD:
        return ""
    return (
        f"MTU: found {config.mtu}, expected {below - VXLAN_OVERHEAD} at most: the device with "
        f"{host_ip} has {below}, and VXLAN takes {VXLAN_OVERHEAD}"
    )


def local_node_of(
    own: HostSubnet, mtu: int, tunnel_port: int, node_port: int, meters: int
) -> LocalNode:
    """This node, with the subnet of its record. Raises NoSubnet where it has none."""
    if own.subnet is None:
        raise NoSubnet(f"{own.host} has no subnet")
    return LocalNode(
        host_ip=own.host_ip,
        subnet=own.subnet,
        mac=mac_of(own.gateway),
        mtu=mtu,
        tunnel_port=tunnel_port,
        node_port=node_port,
        meters=meters,
    )
