"""How fast may a device send? A token bucket at its root, below it fair queueing
(fair_queueing.py).

The bucket (tc-tbf(8)) holds what comes too fast instead of dropping it, and cuts large segments
into frames, so that what waits behind one does not wait long. net/sched/sch_tbf.c.
"""

from __future__ import annotations

import socket
import struct
import sys
from errno import ENOENT

from attrs import field, frozen

from k8s_ovs.link.netlink import LinkError, Step, attribute, perform
from k8s_ovs.link.shaping import tc
from k8s_ovs.link.shaping.fair_queueing import (
    ChildQdisc,
    QueueLimits,
    install_fair_queueing,
    is_fair,
)

__all__ = [
    "Queue",
    "ShapedDevice",
    "alteration",
    "burst_of",
    "is_cut",
    "queue_of",
    "same_rate",
    "set_rate",
]

_TCA_STATS_BASIC, _TCA_STATS_QUEUE = 1, 3
_TCA_TBF_PARMS, _TCA_TBF_RATE64, _TCA_TBF_BURST, _TCA_TBF_PBURST = 1, 4, 6, 7
# A handle that nobody else assigns: under the same one the kernel replaces no queue of another
# kind.
_ROOT, _BUCKET, _BELOW = 0xFFFFFFFF, 0x6B6F_0000, 0x6B6F_0001

_ETHERNET_HEADER = 14
#: Bytes of the longest segment that a kernel sends, and milliseconds that one may keep others
#: waiting: of slower devices segments are cut into frames.
_SEGMENT, _SEGMENT_MS = 1 << 16, 2
#: Frames or segments that may wait where all share one queue.
_TOGETHER = 44


@frozen
class ShapedDevice:
    """A device of the channel's namespace. mtu: its own, bytes. waiting: what may wait there."""

    index: int
    name: str
    mtu: int
    limits: QueueLimits

    @property
    def frame(self) -> int:
        """Bytes of a full frame."""
        return self.mtu + _ETHERNET_HEADER


@frozen
class Queue:
    """A device's queue. rate: bits per second, counted in Ethernet frames. sent: bytes and packets
    that went through; dropped: packets that found it full. bucket: its handle, the ticks in which
    it fills, and the bytes that may wait."""

    rate: int
    sent_bytes: int = 0
    sent_packets: int = 0
    dropped: int = 0
    bucket: tuple[int, int, int] = field(default=(0, 0, 0), eq=False)


def set_rate(channel: socket.socket, device: ShapedDevice, rate: int | None) -> bool:
    """Set a device's rate limit, in bits per second; None: clear it. False: it was set already.

    A device with a limit gets the new rate, and what waits in its queue stays; if it starts or
    stops having its segments cut, the queue is dropped. Raises LinkError; the device then has no
    limit, if it had none before or its queue had to be dropped.
    """
    standing = queue_of(channel, device.index)
    altered = alteration(channel, device, standing)
    if same_rate(standing.rate if standing else None, rate) and not altered:
        return False
    if rate is None:
        _clear(channel, device)
        return True
    _set(channel, device, rate)
    # A segment that waits is not cut any more, and a bucket for frames would never let it through.
    if standing is None or altered or is_cut(standing.rate) != is_cut(rate):
        try:
            install_fair_queueing(channel, _child(rate, device))
        except LinkError:
            _clear(channel, device)
            raise
    return True


def same_rate(one: int | None, other: int | None) -> bool:
    """Whether the kernel, which counts in bytes, has one rate for both."""
    return (one and one // 8) == (other and other // 8)


def alteration(channel: socket.socket, device: ShapedDevice, queue: Queue | None) -> str:
    """What somebody changed of a device's queues beside the rate; "": nothing. queue: what
    `queue_of` says. Raises LinkError."""
    if queue is None:
        return ""
    handle, ticks, waiting = queue.bucket
    if handle != _BUCKET:
        return f"the queue of {device.name} is another one"
    octets, longest = queue.rate // 8, _longest(queue.rate, device)
    expected = _burst(queue.rate, device) * tc.TICKS_PER_SECOND // max(octets, 1)
    if abs(ticks - expected) > 2 + expected // 100:
        return f"the bucket of {device.name} has another size"
    if waiting != _TOGETHER * longest:
        return f"in the queue of {device.name} {waiting} bytes may wait"
    if not is_fair(tc.qdisc(channel, device.index, _BELOW)):
        return f"the queues of {device.name}'s connections are others"
    return ""


def _clear(channel: socket.socket, device: ShapedDevice) -> None:
    what = f"clear the rate limit of {device.name}"
    perform(channel, [Step(what, tc.RTM_DELQDISC, 0, tc.message(device.index, _ROOT, 0))])


def _set(channel: socket.socket, device: ShapedDevice, rate: int) -> None:
    what = f"set the rate limit {rate} bit/s of {device.name}"
    entry = tc.Entry(device.index, _ROOT, _BUCKET, "tbf", _bucket(rate, device))
    try:
        perform(channel, [tc.put_qdisc(what, entry)])
    except LinkError as error:
        if error.errno != ENOENT:
            raise
        without = f"{error}: this kernel has no token bucket (sch_tbf)"
        raise LinkError(without, ENOENT) from error


def queue_of(channel: socket.socket, index: int) -> Queue | None:
    """The token bucket of the device `index`; None: it has none. Raises LinkError."""
    found = tc.qdisc(channel, index, _ROOT)
    return _queue(found) if found is not None and found.kind == "tbf" else None


def _queue(found: tc.Qdisc) -> Queue:
    parms = found.options[_TCA_TBF_PARMS]
    rate = tc.rate_of(parms)
    if wide := found.options.get(_TCA_TBF_RATE64):
        rate = int.from_bytes(wide, sys.byteorder)
    sent_bytes, packets = struct.unpack_from("=QI", found.statistics[_TCA_STATS_BASIC])
    # qlen, backlog, drops
    dropped = struct.unpack_from("=III", found.statistics[_TCA_STATS_QUEUE])[2]
    # struct tc_tbf_qopt: rate, peakrate, limit, buffer, mtu
    waiting, ticks = struct.unpack_from("=II", parms, 2 * tc.RATE_SIZE)
    return Queue(rate * 8, sent_bytes, packets, dropped, (found.handle, ticks, waiting))


def burst_of(rate: int, frame: int) -> int:
    """Bytes that may come at once after a pause, for `rate` bits per second and frames of so many
    bytes: 16 ms of sending, of a fast one 2 ms and 64 KiB (one segment as a pod's kernel sends it).

    Less would lose rate whenever the kernel's timer is late, more would be felt as a rate above the
    limit. A bucket that does not hold a frame would never let one through.
    """
    octets = rate // 8
    return max(2 * frame, min(octets * 16 // 1000, _SEGMENT + octets * 2 // 1000))


def is_cut(rate: int) -> bool:
    """Whether segments are cut into frames, at `rate` bits per second: if the longest one takes so
    long that others would wait for it."""
    return rate // 8 * _SEGMENT_MS < _SEGMENT * 1000


def _burst(rate: int, device: ShapedDevice) -> int:
    return min(burst_of(rate, device.frame), tc.MAX_32)


def _longest(rate: int, device: ShapedDevice) -> int:
    """Bytes of what is sent in one piece."""
    return device.frame if is_cut(rate) else _SEGMENT + device.frame


def _child(rate: int, device: ShapedDevice) -> ChildQdisc:
    longest = _longest(rate, device)
    return ChildQdisc(
        device.index, device.name, _BELOW, device.limits, longest, together=_TOGETHER * longest
    )


def _bucket(rate: int, device: ShapedDevice) -> bytes:
    octets, longest = rate // 8, _longest(rate, device)
    # What is longer than its peak rate lets through at once the kernel cuts into frames. Nothing
    # waits for a peak rate as high as this one.
    peak, at_once = (tc.MAX_32, tc.u32(_TCA_TBF_PBURST, longest)) if is_cut(rate) else (0, b"")
    parms = tc.rate_spec(octets) + tc.rate_spec(peak)
    # limit: where all share one queue; buffer and mtu: as bytes, below.
    parms += struct.pack("=III", _TOGETHER * longest, 0, 0)
    return (
        attribute(_TCA_TBF_PARMS, parms)
        + tc.u32(_TCA_TBF_BURST, _burst(rate, device))
        + at_once
        + (attribute(_TCA_TBF_RATE64, struct.pack("=Q", octets)) if octets > tc.MAX_32 else b"")
    )
