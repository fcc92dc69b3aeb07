"""What devices, addresses and routes are there, in the namespace of a route socket.

IPv4 alone: k8s-ovs sets nothing else. rtnetlink(7).
"""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from attrs import frozen

from k8s_ovs.link.netlink import attributes, dump

__all__ = ["Device", "Route", "addresses", "devices", "routes"]

_RTM_GETLINK, _RTM_GETADDR, _RTM_GETROUTE = 18, 22, 26
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_EXT_MASK = 1, 3, 4, 29
_RTEXT_FILTER_SKIP_STATS = 1 << 3
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY = 1, 4, 5, 6
_RT_TABLE_MAIN, _RTN_UNICAST, _RTPROT_KERNEL = 254, 1, 2
_IFF_UP = 0x1

_IFINFO = struct.Struct("=BxHiII")
_IFADDR = struct.Struct("=BBBBI")
_ROUTE = struct.Struct("=BBBBBBBBI")


@frozen
class Device:
    """A network device; mac is "" where it has none."""

    index: int
    name: str
    mac: str
    mtu: int
    up: bool


@frozen
class Route:
    """A unicast route of the main table. device: an index. automatic: the kernel made it."""

    to: IPv4Network
    via: IPv4Address | None
    device: int
    metric: int
    automatic: bool


def devices(channel: socket.socket) -> dict[str, Device]:
    """All devices by name. Raises LinkError."""
    ask = struct.pack("=HHI", 8, _IFLA_EXT_MASK, _RTEXT_FILTER_SKIP_STATS)
    bodies = dump(channel, _RTM_GETLINK, _IFINFO.pack(0, 0, 0, 0, 0) + ask)
    return {device.name: device for device in map(_device, bodies)}


def addresses(channel: socket.socket) -> list[tuple[int, IPv4Interface]]:
    """All IPv4 addresses as (index of the device, address). Raises LinkError."""
    bodies = dump(channel, _RTM_GETADDR, _IFADDR.pack(socket.AF_INET, 0, 0, 0, 0))
    return [_address(body) for body in bodies]


def routes(channel: socket.socket) -> list[Route]:
    """The unicast IPv4 routes of the main table that leave by one device. Raises LinkError."""
    ask = _ROUTE.pack(socket.AF_INET, 0, 0, 0, 0, 0, 0, 0, 0)
    return [route for body in dump(channel, _RTM_GETROUTE, ask) if (route := _route(body))]


def _device(body: bytes) -> Device:
    _, _, index, flags, _ = _IFINFO.unpack_from(body)
    found = attributes(body[_IFINFO.size :])
    return Device(
        index=index,
        name=found[_IFLA_IFNAME].rstrip(b"\0").decode(),
        mac=found.get(_IFLA_ADDRESS, b"").hex(":"),
        mtu=_number(found.get(_IFLA_MTU, b"\0\0\0\0")),
        up=bool(flags & _IFF_UP),
    )


def _address(body: bytes) -> tuple[int, IPv4Interface]:
    _, prefix, _, _, index = _IFADDR.unpack_from(body)
    found = attributes(body[_IFADDR.size :])
    # On a point-to-point device IFA_ADDRESS is the other end.
    local = found.get(_IFA_LOCAL) or found[_IFA_ADDRESS]
    return index, IPv4Interface((local, prefix))


def _route(body: bytes) -> Route | None:
    _, prefix, _, _, table, protocol, _, kind, _ = _ROUTE.unpack_from(body)
    found = attributes(body[_ROUTE.size :])
    if table != _RT_TABLE_MAIN or kind != _RTN_UNICAST or _RTA_OIF not in found:
        return None
    via = found.get(_RTA_GATEWAY)
    return Route(
        to=IPv4Network((found.get(_RTA_DST, bytes(4)), prefix)),
        via=IPv4Address(via) if via else None,
        device=_number(found[_RTA_OIF]),
        metric=_number(found.get(_RTA_PRIORITY, b"\0\0\0\0")),
        automatic=protocol == _RTPROT_KERNEL,
    )


def _number(data: bytes) -> int:
    return int(struct.unpack("=I", data)[0])
