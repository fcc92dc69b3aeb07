"""How do connections share a rate limit? Below a token bucket each has a queue of its own.

So a long one does not make others wait, and finds no queue that others have filled. tc-fq(8) does
that; on a kernel without `sch_fq` the classes of tc-htb(8), which take turns frame by frame, and a
classifier (tc-bpf(8)) that gives each connection one of them; where that is missing too, all share
one queue.

net/sched/sch_fq.c, sch_htb.c, cls_bpf.c; the classifier's program: linux/filter.h.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator
from errno import ENOENT

from attrs import frozen

from k8s_ovs.link.netlink import LinkError, Step, attribute, perform
from k8s_ovs.link.shaping.tc import (
    Entry,
    Qdisc,
    add_class,
    add_filter,
    put_qdisc,
    rate_spec,
    u32,
)

__all__ = ["ChildQdisc", "QueueLimits", "install_fair_queueing", "is_fair"]

_TCA_FQ_PLIMIT, _TCA_FQ_FLOW_PLIMIT = 1, 2
_TCA_HTB_PARMS, _TCA_HTB_INIT, _TCA_HTB_RATE64, _TCA_HTB_CEIL64 = 1, 2, 6, 7
_TCA_BPF_OPS_LEN, _TCA_BPF_OPS = 4, 5
_HTB_VERSION = 3
#: Bytes per second, and ticks of 64 ns that may come at once: the classes have no limit, they take
#: turns. The bucket above them has the limit.
_NO_LIMIT, _TICKS = 1 << 40, 1 << 20
#: The discipline with the classes. Frames without a connection (echoes, ARP) use the first.
_CLASSES = 0x6B70_0000
_OTHERS = _CLASSES | 1
_FIRST = _CLASSES | 2
#: EtherType ETH_P_ALL in network order, of a filter of priority 1.
_ALL_FRAMES = 1 << 16 | socket.htons(3)
_U32 = struct.Struct("=I")


@frozen
class QueueLimits:
    """connections: a power of two, from 2 on; so many have their own queue, others share one of
    these. frames: that may wait per connection. others: frames without a connection that may
    wait."""

    connections: int
    frames: int
    others: int


@frozen
class ChildQdisc:
    """A child qdisc below a class of a device's discipline. parent: that class. longest: bytes of
    what is sent in one piece there. together: bytes that may wait where all share one queue."""

    index: int
    name: str
    parent: int
    limits: QueueLimits
    longest: int
    together: int


def install_fair_queueing(channel: socket.socket, child: ChildQdisc) -> None:
    """Give each connection a queue of its own, as the kernel can; what waits there is dropped.

    Raises LinkError.
    """
    for way in _WAYS:
        try:
            perform(channel, [_emptied(child)])
            for steps in way(child):
                perform(channel, steps)
        except LinkError as error:
            if error.errno != ENOENT or way is _WAYS[-1]:
                raise
        else:
            return


def is_fair(found: Qdisc | None) -> bool:
    """Whether this is a child qdisc as `install_fair_queueing` leaves one, as far as it shows."""
    if found is None:
        return False
    return found.handle == _CLASSES if found.kind == "htb" else found.kind in ("fq", "bfifo")


def _emptied(child: ChildQdisc) -> Step:
    """Only a discipline of another kind replaces one with all that waits in it."""
    none = Entry(child.index, child.parent, 0, "pfifo", _U32.pack(1))
    return put_qdisc(f"empty the queue of {child.name}", none)


def _by_fq(child: ChildQdisc) -> Iterator[list[Step]]:
    limits = child.limits
    total = limits.connections * limits.frames + limits.others
    options = u32(_TCA_FQ_PLIMIT, total) + u32(_TCA_FQ_FLOW_PLIMIT, limits.frames)
    fair = Entry(child.index, child.parent, 0, "fq", options)
    yield [put_qdisc(f"queue fairly on {child.name}", fair)]


def _by_classes(child: ChildQdisc) -> Iterator[list[Step]]:
    what, index, limits = f"queue by classes on {child.name}", child.index, child.limits
    # struct tc_htb_glob: version, rate2quantum, defcls, debug, direct_pkts
    glob = struct.pack("=IIIII", _HTB_VERSION, 10, _OTHERS & 0xFFFF, 0, 0)
    root = Entry(index, child.parent, _CLASSES, "htb", attribute(_TCA_HTB_INIT, glob))
    yield [put_qdisc(what, root)]
    queues = {_OTHERS: limits.others}
    queues |= dict.fromkeys(range(_FIRST, _FIRST + limits.connections), limits.frames)
    turns = _class(child.longest)
    chooses = Entry(index, _CLASSES, 0, "bpf", _classifier(limits.connections), _ALL_FRAMES)
    yield [
        *(add_class(what, Entry(index, _CLASSES, each, "htb", turns)) for each in queues),
        *(
            put_qdisc(what, Entry(index, each, 0, "pfifo", _U32.pack(frames)))
            for each, frames in queues.items()
        ),
        add_filter(what, chooses),
    ]


def _in_one_queue(child: ChildQdisc) -> Iterator[list[Step]]:
    one = Entry(child.index, child.parent, 0, "bfifo", _U32.pack(child.together))
    yield [put_qdisc(f"queue on {child.name}", one)]


_WAYS: tuple[Callable[[ChildQdisc], Iterator[list[Step]]], ...] = (
    _by_fq,
    _by_classes,
    _in_one_queue,
)


def _class(longest: int) -> bytes:
    """A class that sends so many bytes when it is its turn. Less than the longest piece would leave
    it a debt that grows with each."""
    rate = rate_spec(_NO_LIMIT)
    # struct tc_htb_opt: rate, ceil, buffer, cbuffer, quantum, level, prio
    parms = rate + rate + struct.pack("=IIIII", _TICKS, _TICKS, longest, 0, 0)
    wide = struct.pack("=Q", _NO_LIMIT)
    return (
        attribute(_TCA_HTB_PARMS, parms)
        + attribute(_TCA_HTB_RATE64, wide)
        + attribute(_TCA_HTB_CEIL64, wide)
    )


def _classifier(connections: int) -> bytes:
    program = b"".join(struct.pack("=HBBI", *each) for each in _program(connections))
    length = struct.pack("=H", len(program) // 8)
    return attribute(_TCA_BPF_OPS_LEN, length) + attribute(_TCA_BPF_OPS, program)


def _program(connections: int) -> list[tuple[int, int, int, int]]:
    """Which class is a frame's? As (code, jump if true, jump if false, operand).

    That of a hash of addresses and ports; of fragments, which have no ports but the first, of the
    addresses. Of all that is not TCP, UDP or SCTP of IPv4 the first.
    """
    shift = 32 - (connections.bit_length() - 1)
    return [
        (0x28, 0, 0, 12),  # A = the EtherType
        (0x15, 0, 20, 0x0800),  # not IPv4: to the last line
        (0x30, 0, 0, 23),  # A = the protocol
        (0x15, 2, 0, 6),  # TCP
        (0x15, 1, 0, 17),  # UDP
        (0x15, 0, 16, 132),  # SCTP; none of them: to the last line
        (0x28, 0, 0, 20),  # A = flags and fragment offset
        (0x45, 4, 0, 0x3FFF),  # a fragment: to X = 0
        (0xB1, 0, 0, 14),  # X = length of the IPv4 header
        (0x40, 0, 0, 14),  # A = both ports, behind it
        (0x07, 0, 0, 0),  # X = A
        (0x05, 0, 0, 1),  # over the next line
        (0x01, 0, 0, 0),  # X = 0
        (0x20, 0, 0, 26),  # A = the source's address
        (0xAC, 0, 0, 0),  # A ^= X
        (0x07, 0, 0, 0),  # X = A
        (0x20, 0, 0, 30),  # A = the destination's address
        (0xAC, 0, 0, 0),  # A ^= X
        (0x24, 0, 0, 0x9E3779B1),  # A *= 2**32 / golden ratio, a prime: the upper bits are a hash
        (0x74, 0, 0, shift),  # A >>= shift
        (0x04, 0, 0, _FIRST),  # A += the first of the connections' classes
        (0x16, 0, 0, 0),  # return A
        (0x06, 0, 0, _OTHERS),
    ]
