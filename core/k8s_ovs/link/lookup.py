"""Which devices, addresses and routes exist, in the namespace of a netlink connection.

IPv4 alone: k8s-ovs sets nothing else. The fields' names are rtnetlink(7)'s.
"""

from __future__ import annotations

from errno import ENODEV
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any

from attrs import frozen
from pyroute2.netlink.exceptions import NetlinkError

from k8s_ovs.link.rtnetlink import Kernel, listed

__all__ = ["Device", "addresses", "device", "routes"]

_MAIN, _UNICAST, _BY_KERNEL = 254, 1, 2  # a route's table, type, protocol
_IFF_UP = 0x1


@frozen
class Route:
    """A unicast route of the main table. device: an index. automatic: the kernel made it."""

    to: IPv4Network
    via: IPv4Address | None
    device: int
    automatic: bool


@frozen
class Device:
    """A network device with its addresses and routes; mac is "" where it has none."""

    index: int
    mac: str
    mtu: int
    up: bool
    addresses: frozenset[IPv4Interface]
    routes: tuple[Route, ...]


async def device(kernel: Kernel, name: str) -> Device | None:
    """The device of this name; None: there is none. Raises LinkError."""
    try:
        (link,) = await kernel.link("get", ifname=name)
    except NetlinkError as error:
        if error.code == ENODEV:
            return None
        raise
    index = link["index"]
    return Device(
        index=index,
        mac=link.get("address") or "",
        mtu=link.get("mtu"),
        up=bool(link["flags"] & _IFF_UP),
        addresses=frozenset(each for owner, each in await addresses(kernel) if owner == index),
        routes=tuple(each for each in await routes(kernel) if each.device == index),
    )


async def addresses(kernel: Kernel) -> list[tuple[int, IPv4Interface]]:
    """All IPv4 addresses as (index of the device, address). Raises LinkError."""
    return [(each["index"], _address(each)) for each in await listed(kernel, "addr")]


async def routes(kernel: Kernel) -> list[Route]:
    """The unicast IPv4 routes of the main table that leave by one device. Raises LinkError."""
    return [
        _route(each)
        for each in await listed(kernel, "route")
        if each["table"] == _MAIN and each["type"] == _UNICAST and each.get("oif")
    ]


def _address(message: Any) -> IPv4Interface:
    # On a point-to-point device the field `address` is the other end.
    ip = message.get("local") or message.get("address")
    return IPv4Interface((ip, message["prefixlen"]))


def _route(message: Any) -> Route:
    via = message.get("gateway")
    return Route(
        to=IPv4Network((message.get("dst") or 0, message["dst_len"])),
        via=IPv4Address(via) if via else None,
        device=message.get("oif"),
        automatic=message["proto"] == _BY_KERNEL,
    )
