"""How fast may a device send? A token bucket at its root, and fair queueing (see `fair`) below it.

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

from k8s_ovs.link import tc
from k8s_ovs.link.fair import Below, Waiting, queue_fairly
from k8s_ovs.link.netlink import LinkError, Step, ask, attribute, attributes, perform

__all__ = ["Queue", "Shaped", "burst_of", "piece_of", "queue_of", "shape"]

_TCA_STATS_BASIC, _TCA_STATS_QUEUE = 1, 3
_TCA_TBF_PARMS, _TCA_TBF_RATE64, _TCA_TBF_BURST, _TCA_TBF_PBURST = 1, 4, 6, 7
# A handle that nobody else gives: under the same one the kernel replaces no queue of another kind.
_ROOT, _BUCKET, _BELOW = 0xFFFFFFFF, 0x6B6F_0000, 0x6B6F_0001

_ETHERNET_HEADER = 14
#: Bytes of a segment as a kernel sends it, and so the least that is never cut.
_SEGMENT = 1 << 16
#: Pieces that may wait where all share one queue: some 50 ms of sending.
_TOGETHER = 44


@frozen
class Shaped:
    """A device of the channel's namespace. mtu: bytes. waiting: what may wait there."""

    index: int
    name: str
    mtu: int
    waiting: Waiting

    @property
    def frame(self) -> int:
        """Bytes of a full frame."""
        return self.mtu + _ETHERNET_HEADER


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
        perform(channel, [Step(what, tc.RTM_DELQDISC, 0, tc.message(device.index, _ROOT, 0))])
        return True
    what, bucket = f"hold {device.name} to {rate} bit/s", _bucket(rate, device)
    try:
        entry = tc.Entry(device.index, _ROOT, _BUCKET, "tbf", bucket)
        perform(channel, [tc.put_qdisc(what, entry)])
    except LinkError as error:
        if error.errno != ENOENT:
            raise
        without = f"{error}: this kernel has no token bucket (sch_tbf)"
        raise LinkError(without, ENOENT) from error
    if standing is None:
        queue_fairly(channel, _below(rate, device))
    return True


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
    """Bytes that may come at once after a pause, for `rate` bits a second and frames of so many
    bytes: 16 ms of sending, of a fast one 2 ms and 64 KiB (one segment as a pod's kernel sends it).

    Less would lose rate whenever the kernel's timer is late, more would be felt as a rate above the
    limit. A bucket that does not hold a frame would never let one through.
    """
    octets = rate // 8
    return max(2 * frame, min(octets * 16 // 1000, _SEGMENT + octets * 2 // 1000))


def piece_of(rate: int, frame: int) -> int | None:
    """Bytes of the pieces that longer segments are cut into: 1 ms of sending, at least a frame;
    None: none is so long that others would wait for it."""
    piece = max(frame, rate // 8 // 1000)
    return piece if piece < _SEGMENT else None


def _together(rate: int, device: Shaped) -> int:
    """Bytes that may wait where all share one queue."""
    return _TOGETHER * (piece_of(rate, device.frame) or _SEGMENT)


def _below(rate: int, device: Shaped) -> Below:
    together = _together(rate, device)
    return Below(device.index, device.name, _BELOW, device.waiting, device.frame, together)


def _bucket(rate: int, device: Shaped) -> bytes:
    octets, piece = rate // 8, piece_of(rate, device.frame)
    # The kernel cuts what is longer than the peak rate lets through at once. Nothing waits for a
    # peak rate as high as this one.
    peak = 0 if piece is None else tc.MAX_32
    parms = tc.rate_spec(octets) + tc.rate_spec(peak)
    # limit: where all share one queue; buffer and mtu: as bytes, below.
    parms += struct.pack("=III", _together(rate, device), 0, 0)
    burst = min(burst_of(rate, device.frame), tc.MAX_32)
    return (
        attribute(_TCA_TBF_PARMS, parms)
        + attribute(_TCA_TBF_BURST, struct.pack("=I", burst))
        + (b"" if piece is None else attribute(_TCA_TBF_PBURST, struct.pack("=I", piece)))
        + (attribute(_TCA_TBF_RATE64, struct.pack("=Q", octets)) if octets > tc.MAX_32 else b"")
    )
