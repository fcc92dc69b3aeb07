"""The pods' ends on the node: which there are, whether they are up, and whose they say they are."""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Iterator, Sequence

from attrs import evolve

from k8s_ovs.link import encode
from k8s_ovs.link.netlink import (
    Step,
    attribute,
    attributes,
    dump,
    open_route_socket,
    perform,
)
from k8s_ovs.link.veth import PREFIX, delete
from k8s_ovs.state.diff import Difference
from k8s_ovs.state.value import Value, Veth

__all__ = ["VethDriver"]

_RTM_GETLINK = 18
_IFLA_IFNAME, _IFLA_MTU, _IFLA_IFALIAS, _IFLA_EXT_MASK = 3, 4, 20, 29
_SKIP_STATISTICS = 1 << 3
_IFINFO = struct.Struct("=BxHiII")


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
