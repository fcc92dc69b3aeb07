"""How are queueing disciplines, their classes and filters encoded in netlink? (tc(8))

Messages and attributes: linux/rtnetlink.h, linux/pkt_sched.h; net/sched/sch_api.c.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping
from errno import EINVAL, ENOENT

from attrs import frozen

from k8s_ovs.link.netlink import LinkError, Step, ask, attribute, attributes

__all__ = [
    "MAX_32",
    "RATE_SIZE",
    "RTM_DELQDISC",
    "TICKS_PER_SECOND",
    "Entry",
    "Qdisc",
    "add_class",
    "add_filter",
    "message",
    "put_qdisc",
    "qdisc",
    "rate_of",
    "rate_spec",
    "u32",
]

_RTM_NEWQDISC, RTM_DELQDISC, _RTM_GETQDISC = 36, 37, 38
_RTM_NEWTCLASS, _RTM_NEWTFILTER = 40, 44
_NLM_F_REPLACE, _NLM_F_CREATE = 0x100, 0x400
_TCA_KIND, _TCA_OPTIONS, _TCA_STATS2 = 1, 2, 7
_ETHERNET = 1  # TC_LINKLAYER_ETHERNET: the kernel counts frames itself, without a table from us
#: What a field of 32 bits can hold; larger rates have an attribute of their own beside it.
MAX_32 = 0xFFFFFFFF

_TCMSG = struct.Struct("=BxHiIII")
# cell_log, linklayer, overhead, cell_align, mpu, rate
_RATE = struct.Struct("=BBHhHI")
RATE_SIZE = _RATE.size
#: In which a bucket's depth is counted (psched's, of 64 ns).
TICKS_PER_SECOND = 1_000_000_000 // 64


@frozen
class Entry:
    """A discipline, class or filter of the device `index`, below `parent`.

    handle: its own number, 0: the kernel's choice. options: attributes that its kind knows.
    info: of a filter, priority << 16 | EtherType in network order.
    """

    index: int
    parent: int
    handle: int
    kind: str
    options: bytes
    info: int = 0


@frozen
class Qdisc:
    """A discipline as the kernel shows it; options and statistics: attributes by number."""

    kind: str
    handle: int
    options: Mapping[int, bytes]
    statistics: Mapping[int, bytes]


def qdisc(channel: socket.socket, index: int, parent: int) -> Qdisc | None:
    """The discipline of the device `index` at `parent`; None: a built-in one. Raises LinkError."""
    question = Step(
        f"read the queue of device {index}", _RTM_GETQDISC, 0, message(index, parent, 0)
    )
    try:
        answer = ask(channel, question)
    except LinkError as error:
        # A device without a queue of its own has only a built-in one, which is not shown.
        if error.errno in (ENOENT, EINVAL):
            return None
        raise
    told = attributes(answer[_TCMSG.size :])  # empty for a built-in one of some kernels
    if _TCA_KIND not in told:
        return None
    return Qdisc(
        kind=told[_TCA_KIND].rstrip(b"\0").decode(),
        handle=_TCMSG.unpack_from(answer)[3],
        options=attributes(told.get(_TCA_OPTIONS, b"")),
        statistics=attributes(told.get(_TCA_STATS2, b"")),
    )


def put_qdisc(what: str, entry: Entry) -> Step:
    """Put a discipline there, or change the one of this handle."""
    return Step(what, _RTM_NEWQDISC, _NLM_F_CREATE | _NLM_F_REPLACE, _body(entry))


def add_class(what: str, entry: Entry) -> Step:
    """Add a class to a discipline."""
    return Step(what, _RTM_NEWTCLASS, _NLM_F_CREATE, _body(entry))


def add_filter(what: str, entry: Entry) -> Step:
    """Add a filter to a discipline."""
    return Step(what, _RTM_NEWTFILTER, _NLM_F_CREATE, _body(entry))


def _body(entry: Entry) -> bytes:
    return (
        message(entry.index, entry.parent, entry.handle, entry.info)
        + attribute(_TCA_KIND, entry.kind.encode() + b"\0")
        + attribute(_TCA_OPTIONS, entry.options)
    )


def message(index: int, parent: int, handle: int, info: int = 0) -> bytes:
    """struct tcmsg: of the device `index`, at `parent`."""
    return _TCMSG.pack(socket.AF_UNSPEC, 0, index, handle, parent, info)


def u32(kind: int, value: int) -> bytes:
    """An attribute of 32 bits."""
    return attribute(kind, struct.pack("=I", value))


def rate_spec(octets: int) -> bytes:
    """struct tc_ratespec: so many bytes per second, counted in Ethernet frames; at most MAX_32."""
    return _RATE.pack(0, _ETHERNET, 0, 0, 0, min(octets, MAX_32))


def rate_of(spec: bytes) -> int:
    """Bytes per second of the struct tc_ratespec that some bytes begin with."""
    rate: int = _RATE.unpack_from(spec)[-1]
    return rate
