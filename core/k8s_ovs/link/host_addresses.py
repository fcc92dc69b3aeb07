"""Which IPv4 addresses does this machine have, and how wide is the device below one?"""

from __future__ import annotations

from ipaddress import IPv4Address

from k8s_ovs.link import lookup
from k8s_ovs.link.netlink import LinkError
from k8s_ovs.link.rtnetlink import Kernel, talk

__all__ = ["local_addresses", "underlay_mtu"]


def local_addresses() -> frozenset[IPv4Address]:
    """All IPv4 addresses of this node. Raises LinkError."""
    return frozenset(interface.ip for _, interface in talk(lookup.addresses))


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
