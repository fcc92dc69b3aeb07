"""A bridge's meters: which it has, what they have counted, how many it can have.

Readers take the parts of an answer; a message that breaks the format raises SwitchError.
OpenFlow 1.4 sections 7.3.5.11 to 7.3.5.13 (statistics, configuration, features of meters).
"""

from __future__ import annotations

import builtins
import struct
from collections.abc import Iterable
from struct import Struct

from attrs import frozen

from k8s_ovs.errors import SwitchError
from k8s_ovs.ovs.openflow.messages import MULTIPART, Message, Multipart, multipart_request
from k8s_ovs.pipeline.action import METER_NUMBERS, Meter
from k8s_ovs.pipeline.wire import KBPS_BURST_STATS

__all__ = [
    "Metered",
    "configuration_request",
    "configured_meters",
    "counts_request",
    "features_request",
    "meter_counts",
    "most_meters",
]

_ALL = struct.pack("!I4x", 0xFFFFFFFF)
_SHORTEST = 8  # a configuration without a band
_DROP = 1
_NOT_OURS = 0xFFFFFFFF
_CONFIGURATION_HEAD = Struct("!HHI")
# length, flags, number; of its first band: type, length, rate, burst
_CONFIGURATION = Struct("!HHIHHII4x")
# number, length, flows, packets, bytes; of its first band: packets, bytes
_COUNTS = Struct("!IH6xIQQ8xQQ")


@frozen
class Metered:
    """What a meter has counted: all packets, and those above the rate."""

    packets: int
    bytes: int
    dropped_packets: int
    dropped_bytes: builtins.int


def configuration_request(xid: int) -> bytes:
    """Ask how each meter is set."""
    return multipart_request(Multipart.METER_CONFIG, xid, _ALL)


def counts_request(xid: int) -> bytes:
    """Ask what each meter has counted."""
    return multipart_request(Multipart.METER, xid, _ALL)


def features_request(xid: int) -> bytes:
    """Ask how many meters there can be."""
    return multipart_request(Multipart.METER_FEATURES, xid)


def configured_meters(replies: Iterable[Message]) -> dict[int, Meter]:
    """The meters by number, but for those of numbers that are for the switch's own use. One that
    differs in form from ours has the rate and the burst 0xFFFFFFFF."""
    meters = {}
    for offset, body in _parts(replies, _SHORTEST, length_at=0):
        length, flags, number = _CONFIGURATION_HEAD.unpack_from(body, offset)
        rate = burst = _NOT_OURS
        if (length, flags) == (_CONFIGURATION.size, KBPS_BURST_STATS):
            kind, _, rate, burst = _CONFIGURATION.unpack_from(body, offset)[3:]
            rate, burst = (rate, burst) if kind == _DROP else (_NOT_OURS, _NOT_OURS)
        if number in METER_NUMBERS:
            meters[number] = Meter(number, rate or _NOT_OURS, burst or _NOT_OURS)
    return meters


def meter_counts(replies: Iterable[Message]) -> dict[int, Metered]:
    """What the meters have counted, by number."""
    counts = {}
    for offset, body in _parts(replies, _COUNTS.size, length_at=4):
        number, _, _, packets, octets, dropped, dropped_octets = _COUNTS.unpack_from(body, offset)
        counts[number] = Metered(packets, octets, dropped, dropped_octets)
    return counts


def most_meters(replies: Iterable[Message]) -> int:
    """How many meters the bridge's datapath can have; 0: it has none."""
    for reply in replies:
        if len(reply.body) >= MULTIPART.size + 4:
            return int.from_bytes(reply.body[MULTIPART.size : MULTIPART.size + 4], "big")
    return 0


def _parts(
    replies: Iterable[Message], least: int, length_at: int
) -> Iterable[tuple[int, builtins.bytes]]:
    """Where each entry begins, of those that are long enough."""
    for reply in replies:
        body, offset = reply.body, MULTIPART.size
        while offset < len(body):
            length_ends = offset + length_at + 2
            end = offset + int.from_bytes(body[length_ends - 2 : length_ends], "big")
            if not offset + _SHORTEST <= end <= len(body):
                raise SwitchError("statistics of meters that end in the middle of a meter")
            if end - offset >= least:
                yield offset, body
            offset = end
