"""How fast may a device send? A token bucket at its root, below it fair queueing
(fair_queueing.py).

The bucket (tc-tbf(8)) holds what comes too fast instead of dropping it, and cuts large segments
into frames, so that what waits behind one does not wait long. net/sched/sch_tbf.c.
"""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Mapping
from errno import EINVAL, ENOENT

from attrs import frozen

from k8s_ovs.link.netlink import LinkError, Step, ask, attribute, attributes, perform
from k8s_ovs.link.shaping import tc
from k8s_ovs.link.shaping.fair_queueing import ChildQdisc, QueueLimits, install_fair_queueing

__all__ = ["Queue", "ShapedDevice", "burst_of", "is_cut", "queue_of", "set_rate"]

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
    that went through; dropped: packets that found it full."""

    rate: int
    sent_bytes: int = 0
    sent_packets: int = 0
    dropped: int = 0


def set_rate(channel: socket.socket, device: ShapedDevice, rate: int | None) -> bool:
    """Set a device's rate limit, in bits per second; None: clear it. False: it was set already.

    A device with a limit gets the new rate, and what waits in its queue stays; if it starts or
    stops having its segments cut, the queue is dropped. Raises LinkError; the device then has no
    limit, if it had none before or its queue had to be dropped.
    """
    standing = queue_of(channel, device.index)
    # The kernel counts in bytes.
    if (standing and standing.rate // 8) == (rate and rate // 8):
        return False
    if rate is None:
        _clear(channel, device)
        return True
    _set(channel, device, rate)
    # A segment that waits is not cut any more, and a bucket for frames would never let it through.
    if standing is None or is_cut(standing.rate) != is_cut(rate):
        try:
            install_fair_queueing(channel, _child(rate, device))
        except LinkError:
            _clear(channel, device)
            raise
    return True


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
    what = f"read the queue of device {index}"
    question = Step(what, tc.RTM_GETQDISC, 0, tc.message(index, _ROOT, 0))
    try:
        answer = ask(channel, question)
    except LinkError as error:
        # A device without a queue of its own has only a built-in one, which is not shown.
        if error.errno in (ENOENT, EINVAL):
            return None
        raise
    told = attributes(answer[tc.TCMSG.size :])  # empty for a built-in one of some kernels
    if told.get(tc.TCA_KIND) != b"tbf\0":
        return None
    return _queue(attributes(told[tc.TCA_OPTIONS]), attributes(told[tc.TCA_STATS2]))


def _queue(options: Mapping[int, bytes], statistics: Mapping[int, bytes]) -> Queue:
    rate = tc.rate_of(options[_TCA_TBF_PARMS])
    if wide := options.get(_TCA_TBF_RATE64):
        rate = int.from_bytes(wide, sys.byteorder)
    sent_bytes, packets = struct.unpack_from("=QI", statistics[_TCA_STATS_BASIC])
    # qlen, backlog, drops
    dropped = struct.unpack_from("=III", statistics[_TCA_STATS_QUEUE])[2]
    return Queue(rate * 8, sent_bytes, packets, dropped)


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
        + tc.u32(_TCA_TBF_BURST, min(burst_of(rate, device.frame), tc.MAX_32))
        + at_once
        + (attribute(_TCA_TBF_RATE64, struct.pack("=Q", octets)) if octets > tc.MAX_32 else b"")
    )
