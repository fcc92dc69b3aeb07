"""The pods' pairs of devices: their ends on the node, and whether the pods have their addresses."""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Iterator, Sequence
from errno import ENODEV
from ipaddress import IPv4Address

from attrs import evolve

from k8s_ovs.link import encode
from k8s_ovs.link.namespace import entered, opened
from k8s_ovs.link.netlink import (
    LinkError,
    Step,
    attribute,
    attributes,
    dump,
    open_route_socket,
    perform,
)
from k8s_ovs.link.veth import PREFIX, delete, index_of
from k8s_ovs.state.diff import Difference
from k8s_ovs.state.value import Interface, Value, Veth

__all__ = ["InterfaceDriver", "VethDriver"]

_RTM_GETLINK, _RTM_GETADDR = 18, 22
_IFLA_IFNAME, _IFLA_MTU, _IFLA_IFALIAS, _IFLA_EXT_MASK = 3, 4, 20, 29
_SKIP_STATISTICS = 1 << 3
_IFINFO = struct.Struct("=BxHiII")
_IFA_LOCAL = 2
# family, prefix length, flags, scope, index of the device
_IFADDR = struct.Struct("=BBBBI")


class VethDriver:
    """Sets them up and has them say whose they are. Making one is a pod's ADD, so what is missing
    is only shown.

    delete: what is unexpected; without, that is only shown, too, since a pod may live behind it.
    """

    kinds = frozenset({Veth.kind})

    def __init__(self, *, delete: bool = False) -> None:
        self._delete = delete

    def read(self, desired: Sequence[Value]) -> Sequence[Value]:
        any_mtu = {each.name for each in desired if isinstance(each, Veth) and each.mtu is None}
        with open_route_socket() as channel:
            found = list(_pairs(channel))
        return [evolve(each, mtu=None) if each.name in any_mtu else each for each in found]

    def apply(self, differences: Sequence[Difference]) -> None:
        steps = [
            _step(each.expected)
            for each in differences
            if isinstance(each.expected, Veth) and each.found is not None
        ]
        if steps:
            with open_route_socket() as channel:
                perform(channel, steps)
        if self._delete:
            delete([each.key.name for each in differences if each.expected is None])


class InterfaceDriver:
    """Only looks: who may change what is in a pod may have meant it. Each costs some 0.3 ms."""

    kinds = frozenset({Interface.kind})

    def read(self, desired: Sequence[Value]) -> Sequence[Value]:
        return [_found(each) for each in desired if isinstance(each, Interface)]

    def apply(self, differences: Sequence[Difference]) -> None:
        """Nothing: it differs still, and is told."""


def _step(veth: Veth) -> Step:
    up = encode.device(flags=encode.IFF_UP | encode.IFF_NOARP) + encode.name(veth.name)
    mtu = b"" if veth.mtu is None else encode.mtu(veth.mtu)
    said = encode.alias(veth.memory)
    return Step(f"set {veth.name} up", encode.RTM_NEWLINK, 0, up + mtu + said)


def _pairs(channel: socket.socket) -> Iterator[Veth]:
    mask = attribute(_IFLA_EXT_MASK, struct.pack("=I", _SKIP_STATISTICS))
    question = Step("list devices", _RTM_GETLINK, 0, encode.device() + mask)
    for body in dump(channel, question):
        told = attributes(body[_IFINFO.size :])
        name = told.get(_IFLA_IFNAME, b"").rstrip(b"\0").decode(errors="replace")
        if name.startswith(PREFIX):
            flags = _IFINFO.unpack_from(body)[3]
            memory = told.get(_IFLA_IFALIAS, b"").rstrip(b"\0").decode(errors="replace")
            mtu = int.from_bytes(told.get(_IFLA_MTU, b""), sys.byteorder)
            yield Veth(name, bool(flags & encode.IFF_UP), memory, mtu)


def _found(interface: Interface) -> Interface:
    """One whose namespace is gone, as its pod has ended, is as it should be."""
    try:
        with opened(interface.netns) as netns:
            with entered(netns):
                inside = open_route_socket()
            with inside:
                has_it = interface.address in _addresses(inside, interface.ifname)
    except LinkError as error:
        return evolve(interface, address=None) if error.errno == ENODEV else interface
    return interface if has_it else evolve(interface, address=None)


def _addresses(inside: socket.socket, ifname: str) -> list[IPv4Address]:
    index = index_of(inside, ifname)
    question = Step(f"list addresses of {ifname}", _RTM_GETADDR, 0, _IFADDR.pack(2, 0, 0, 0, 0))
    return [
        IPv4Address(attributes(body[_IFADDR.size :]).get(_IFA_LOCAL, bytes(4)))
        for body in dump(inside, question)
        if _IFADDR.unpack_from(body)[4] == index
    ]
