"""The bodies of the rtnetlink messages that are sent: devices, addresses, routes (rtnetlink(7))."""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from k8s_ovs.link.netlink import attribute

__all__ = ["address", "alias", "device", "mtu", "name", "route"]

RTM_NEWLINK, RTM_DELLINK, RTM_NEWADDR, RTM_NEWROUTE = 16, 17, 20, 24
IFF_UP, IFF_NOARP = 0x1, 0x80
LOOPBACK = 1  # the index of lo, in every namespace

_IFLA_IFNAME, _IFLA_MTU, _IFLA_IFALIAS = 3, 4, 20
_IFA_ADDRESS, _IFA_LOCAL, _IFA_BROADCAST = 1, 2, 4
_RTA_DST, _RTA_OIF, _RTA_GATEWAY = 1, 4, 5
_RT_TABLE_MAIN, _RTPROT_BOOT, _SCOPE_UNIVERSE, _SCOPE_LINK, _RTN_UNICAST = 254, 3, 0, 253, 1

_IFINFO = struct.Struct("=BxHiII")
_IFADDR = struct.Struct("=BBBBI")
_ROUTE = struct.Struct("=BBBBBBBBI")


def device(index: int = 0, flags: int = 0) -> bytes:
    """A device, by index or (0) by the name that follows; `flags` are switched on."""
    return _IFINFO.pack(0, 0, index, flags, flags)


def name(of: str) -> bytes:
    """The attribute that names a device."""
    return attribute(_IFLA_IFNAME, of.encode() + b"\0")


def alias(text: str) -> bytes:
    """The attribute with what a device says of itself, 255 bytes at most."""
    return attribute(_IFLA_IFALIAS, text.encode())


def mtu(size: int) -> bytes:
    """The attribute with a device's MTU in bytes."""
    return attribute(_IFLA_MTU, struct.pack("=I", size))


def address(index: int, interface: IPv4Interface) -> bytes:
    """An address of the device `index`, with its network's broadcast address."""
    network = interface.network
    return (
        _IFADDR.pack(socket.AF_INET, network.prefixlen, 0, _SCOPE_UNIVERSE, index)
        + attribute(_IFA_LOCAL, interface.packed)
        + attribute(_IFA_ADDRESS, interface.packed)
        + attribute(_IFA_BROADCAST, network.broadcast_address.packed)
    )


def route(index: int, to: IPv4Network, via: IPv4Address | None) -> bytes:
    """A route of the main table by the device `index`; via None: the destination is on-link."""
    scope = _SCOPE_LINK if via is None else _SCOPE_UNIVERSE
    return (
        _ROUTE.pack(
            socket.AF_INET, to.prefixlen, 0, 0, _RT_TABLE_MAIN, _RTPROT_BOOT, scope, _RTN_UNICAST, 0
        )
        + (attribute(_RTA_DST, to.network_address.packed) if to.prefixlen else b"")
        + (attribute(_RTA_GATEWAY, via.packed) if via else b"")
        + attribute(_RTA_OIF, struct.pack("=I", index))
    )
