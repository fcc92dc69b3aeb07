"""The pods' ends on the node: which there are, whether they are up, and whose they say they are."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator, Sequence

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
_IFLA_IFNAME, _IFLA_IFALIAS, _IFLA_EXT_MASK = 3, 20, 29
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
        with open_route_socket() as channel:
            return list(_pairs(channel))

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
    return Step(f"set {veth.name} up", encode.RTM_NEWLINK, 0, up + encode.alias(veth.memory))


def _pairs(channel: socket.socket) -> Iterator[Veth]:
    mask = attribute(_IFLA_EXT_MASK, struct.pack("=I", _SKIP_STATISTICS))
    question = Step("list devices", _RTM_GETLINK, 0, encode.device() + mask)
    for body in dump(channel, question):
        told = attributes(body[_IFINFO.size :])
        name = told.get(_IFLA_IFNAME, b"").rstrip(b"\0").decode(errors="replace")
        if name.startswith(PREFIX):
            flags = _IFINFO.unpack_from(body)[3]
            memory = told.get(_IFLA_IFALIAS, b"").rstrip(b"\0").decode(errors="replace")
            yield Veth(name, bool(flags & encode.IFF_UP), memory)
