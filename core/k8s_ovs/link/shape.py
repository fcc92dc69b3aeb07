"""How fast may a device send? A token bucket at its root, and fair queueing below it.

The bucket (tc-tbf(8)) holds what comes too fast instead of dropping it, and cuts large segments
into frames. Below it each connection has a queue of its own (tc-fq(8)), so that a long one does not
make others wait; a kernel without `sch_fq` has one queue for all.

tc messages: linux/pkt_sched.h, linux/rtnetlink.h; net/sched/sch_tbf.c, sch_fq.c.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping
from errno import EINVAL, ENOENT

from attrs import frozen

from k8s_ovs.link.netlink import LinkError, Step, ask, attribute, attributes, perform

__all__ = ["Queue", "Shaped", "burst_of", "queue_of", "shape"]

_RTM_NEWQDISC, _RTM_DELQDISC, _RTM_GETQDISC = 36, 37, 38
_NLM_F_REPLACE, _NLM_F_CREATE = 0x100, 0x400
_TCA_KIND, _TCA_OPTIONS, _TCA_STATS2 = 1, 2, 7
_TCA_STATS_BASIC, _TCA_STATS_QUEUE = 1, 3
_TCA_TBF_PARMS, _TCA_TBF_RATE64, _TCA_TBF_BURST = 1, 4, 6
# A handle that nobody else gives: under the same one the kernel replaces no queue of another kind.
_ROOT, _BUCKET, _BELOW = 0xFFFFFFFF, 0x6B6F_0000, 0x6B6F_0001
_ETHERNET = 1  # TC_LINKLAYER_ETHERNET: the kernel counts frames itself, without a table from us
_MAX_32 = 0xFFFFFFFF

_TCMSG = struct.Struct("=BxHiIII")
# cell_log, linklayer, overhead, cell_align, mpu, rate
_RATE = struct.Struct("=BBHhHI")
# the rate, the peak rate, limit, buffer, mtu
_TBF = struct.Struct(f"={_RATE.size}s{_RATE.size}sIII")

_QUEUE_FRAMES = 10
_ETHERNET_HEADER = 14


@frozen
class Shaped:
    """A device of the channel's namespace. mtu: bytes. queue_ms: milliseconds of sending that may
    wait where the kernel has one queue for all; queue_most: bytes that may."""

    index: int
    name: str
    mtu: int
    queue_ms: int
    queue_most: int = _MAX_32


@frozen
class Queue:
    """A device's queue. rate: bits a second, counted in Ethernet frames. sent: bytes and packets
    that went through; dropped: packets that found it full."""

    rate: int
    sent_bytes: int = 0
    sent_packets: int = 0
    dropped: int = 0


def shape(channel: socket.socket, device: Shaped, rate: int | None) -> bool:
    """Hold a device to `rate` bits a second; None: let it send as it can. False: it was so already.

    A device that is held already gets the new rate, and what waits in its queue stays.
    Raises LinkError.
    """
    standing = queue_of(channel, device.index)
    # The kernel counts in bytes.
    if (standing and standing.rate // 8) == (rate and rate // 8):
        return False
    if rate is None:
        what = f"let {device.name} send without a limit"
        perform(channel, [Step(what, _RTM_DELQDISC, 0, _message(device.index, _ROOT, 0))])
        return True
    bucket = _message(device.index, _ROOT, _BUCKET) + _kind("tbf") + _bucket(rate, device)
    try:
        perform(channel, [_put(f"hold {device.name} to {rate} bit/s", bucket)])
    except LinkError as error:
        if error.errno != ENOENT:
            raise
        without = f"{error}: this kernel has no token bucket (sch_tbf)"
        raise LinkError(without, ENOENT) from error
    if standing is None:
        _queue_fairly(channel, device)
    return True


def queue_of(channel: socket.socket, index: int) -> Queue | None:
    """The token bucket of the device `index`; None: it has none. Raises LinkError."""
    what = f"read the queue of device {index}"
    question = Step(what, _RTM_GETQDISC, 0, _message(index, _ROOT, 0))
    try:
        answer = ask(channel, question)
    except LinkError as error:
        # A device without a queue of its own has only a built-in one, which is not shown.
        if error.errno in (ENOENT, EINVAL):
            return None
        raise
    told = attributes(answer[_TCMSG.size :])  # empty for a built-in one of some kernels
    if told.get(_TCA_KIND) != b"tbf\0":
        return None
    return _queue(attributes(told[_TCA_OPTIONS]), attributes(told[_TCA_STATS2]))


def _queue(options: Mapping[int, bytes], statistics: Mapping[int, bytes]) -> Queue:
    rate = _RATE.unpack_from(options[_TCA_TBF_PARMS])[-1]
    if wide := options.get(_TCA_TBF_RATE64):
        rate = int.from_bytes(wide, "little" if struct.pack("=H", 1)[0] else "big")
    sent_bytes, packets = struct.unpack_from("=QI", statistics[_TCA_STATS_BASIC])
    # qlen, backlog, drops
    dropped = struct.unpack_from("=III", statistics[_TCA_STATS_QUEUE])[2]
    return Queue(rate * 8, sent_bytes, packets, dropped)


def _queue_fairly(channel: socket.socket, device: Shaped) -> None:
    """A queue for each connection, below the bucket; nothing where the kernel has none."""
    fair = _message(device.index, _BELOW, 0) + _kind("fq")
    try:
        perform(channel, [_put(f"queue fairly on {device.name}", fair)])
    except LinkError as error:
        if error.errno != ENOENT:
            raise


def burst_of(rate: int, frame: int) -> int:
    """Bytes that may come at once after a pause, for `rate` bits a second and frames of so many
    bytes: 16 ms of sending, of a fast one 2 ms and 64 KiB (one segment as a pod's kernel sends it).

    Less would lose rate whenever the kernel's timer is late, more would be felt as a rate above the
    limit. A bucket that does not hold a frame would never let one through.
    """
    octets = rate // 8
    return max(2 * frame, min(octets * 16 // 1000, (1 << 16) + octets * 2 // 1000))


def _bucket(rate: int, device: Shaped) -> bytes:
    octets, frame = rate // 8, device.mtu + _ETHERNET_HEADER
    queue = min(octets * device.queue_ms // 1000, device.queue_most)
    limit, burst = max(_QUEUE_FRAMES * frame, queue), burst_of(rate, frame)
    narrow = _RATE.pack(0, _ETHERNET, 0, 0, 0, min(octets, _MAX_32))
    nothing = bytes(_RATE.size)
    parms = _TBF.pack(narrow, nothing, min(limit, _MAX_32), 0, 0)
    return attribute(
        _TCA_OPTIONS,
        attribute(_TCA_TBF_PARMS, parms)
        + attribute(_TCA_TBF_BURST, struct.pack("=I", min(burst, _MAX_32)))
        + (attribute(_TCA_TBF_RATE64, struct.pack("=Q", octets)) if octets > _MAX_32 else b""),
    )


def _put(what: str, body: bytes) -> Step:
    return Step(what, _RTM_NEWQDISC, _NLM_F_CREATE | _NLM_F_REPLACE, body)


def _message(index: int, parent: int, handle: int) -> bytes:
    return _TCMSG.pack(socket.AF_UNSPEC, 0, index, handle, parent, 0)


def _kind(name: str) -> bytes:
    return attribute(_TCA_KIND, name.encode() + b"\0")
