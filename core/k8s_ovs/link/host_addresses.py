"""Which IPv4 addresses does this machine have, and how wide is the device below one?"""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv4Network

from k8s_ovs.link import lookup
from k8s_ovs.link.netlink import LinkError
from k8s_ovs.link.rtnetlink import Kernel, talk

__all__ = ["address_conflicts", "local_addresses", "route_conflicts", "underlay_mtu"]


def local_addresses() -> frozenset[IPv4Address]:
    """All IPv4 addresses of this node. Raises LinkError."""
    return frozenset(interface.ip for _, interface in talk(lookup.addresses))


def address_conflicts(pods: IPv4Network, services: IPv4Network, own: str) -> list[str]:
    """Addresses of this machine that take the way of packets to pods or services, as sentences.

    own: the device that may have addresses of `pods`. A service's single address, as kube-proxy in
    IPVS mode and node-local DNS have them, takes nobody else's way. Raises LinkError.
    """
    found = []
    for index, interface in talk(lookup.addresses):
        name = _device_name(index)
        if name == own:
            continue
        said = f"device {name} has the address {interface}, which overlaps"
        if interface.network.overlaps(pods):
            found.append(f"{said} Network {pods}")
        elif interface.network.prefixlen < 32 and interface.network.overlaps(services):
            found.append(f"{said} ServiceNetwork {services}")
    return found


def route_conflicts(pods: IPv4Network, own: str) -> list[str]:
    """Routes of this machine that take the way of packets to some pods, as sentences.

    own: the device that leads to `pods`. Raises LinkError.
    """
    return [
        f"route {route.to} by device {_device_name(route.device)} leads past {own}: this node does "
        f"not reach pods there, as they are in Network {pods}"
        for route in talk(lookup.routes)
        if route.to.subnet_of(pods) and _device_name(route.device) != own
    ]


def _device_name(index: int) -> str:
    try:
        return socket.if_indextoname(index)
    except OSError:
        return f"with the number {index}"  # it is gone by now


def underlay_mtu(address: IPv4Address) -> int:
    """The MTU of the device that has the node's address. Raises LinkError when none has it."""

    async def ask(kernel: Kernel) -> int:
        owners = {interface.ip: index for index, interface in await lookup.addresses(kernel)}
        if address not in owners:
            found = ", ".join(sorted(map(str, owners))) or "none"
            raise LinkError(f"no device of this node has the address {address}; found {found}")
        (device,) = await kernel.link("get", index=owners[address])
        return int(device.get("mtu"))

    return talk(ask)
