"""What a bridge says of its meters, read from bytes that another program wrote."""

from __future__ import annotations

import struct
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from os_ken.ofproto import ofproto_v1_4, ofproto_v1_4_parser

from k8s_ovs.errors import SwitchError
from k8s_ovs.ovs.openflow.messages import MULTIPART, Message, Multipart, Type
from k8s_ovs.ovs.openflow.meters import (
    Metered,
    configuration_request,
    configured_meters,
    counts_request,
    features_request,
    meter_counts,
    most_meters,
)
from k8s_ovs.pipeline.action import Meter

DATAPATH = SimpleNamespace(ofproto=ofproto_v1_4, ofproto_parser=ofproto_v1_4_parser)

numbers = st.integers(1, 0xFFFF0000)
words = st.integers(1, 0xFFFFFFFE)
counts = st.integers(0, 2**64 - 1)
configured = st.dictionaries(numbers, st.tuples(words, words), max_size=5)
counted = st.dictionaries(numbers, st.tuples(counts, counts, counts, counts), max_size=5)


def reply(kind: Multipart, body: bytes) -> Message:
    return Message(5, Type.MULTIPART_REPLY, 1, MULTIPART.pack(kind, 0) + body)


def configuration(
    number: int, rate: int, burst: int, *, flags: int = 0b1101, band: int = 1
) -> bytes:
    """OpenFlow 1.4 section 7.3.5.12, with one band; 1: it drops."""
    return struct.pack("!HHI HHII4x", 24, flags, number, band, 16, rate, burst)


def statistics(number: int, packets: int, octets: int, dropped: int, lost: int) -> bytes:
    """OpenFlow 1.4 section 7.3.5.11, with one band: flows, duration, then the band."""
    fixed = struct.pack("!IH6xIQQII", number, 56, 3, packets, octets, 12, 34)
    return fixed + struct.pack("!QQ", dropped, lost)


@given(meters=configured, cut=st.integers(0, 5))
def test_meters_are_read_from_an_answer_in_parts(
    meters: dict[int, tuple[int, int]], cut: int
) -> None:
    entries = [configuration(number, *each) for number, each in meters.items()]
    parts = [reply(Multipart.METER_CONFIG, b"".join(p)) for p in (entries[:cut], entries[cut:])]
    assert configured_meters(parts) == {n: Meter(n, *each) for n, each in meters.items()}


@given(meters=counted, cut=st.integers(0, 5))
def test_counts_are_read_from_an_answer_in_parts(
    meters: dict[int, tuple[int, int, int, int]], cut: int
) -> None:
    entries = [statistics(number, *each) for number, each in meters.items()]
    parts = [reply(Multipart.METER, b"".join(p)) for p in (entries[:cut], entries[cut:])]
    assert meter_counts(parts) == {n: Metered(*each) for n, each in meters.items()}


def test_a_meter_of_somebody_else_is_known_to_be_none_of_ours() -> None:
    """Without rate, burst or band, per packet, or with another band: it has the number, so it is in
    the way of ours, which must not be taken for it."""
    others = {
        7: configuration(7, 0, 0),
        8: struct.pack("!HHI", 8, 0, 8),
        9: configuration(9, 1, 2, flags=0b1110),
        10: configuration(10, 1, 2, band=2),
        11: struct.pack("!HHI HHII4x HHII4x", 40, 0b1101, 11, 1, 16, 1, 2, 1, 16, 3, 4),
    }
    theirs = b"".join(others.values()) + configuration(12, 1, 2)
    assert configured_meters([reply(Multipart.METER_CONFIG, theirs)]) == {
        **{number: Meter(number, 0xFFFFFFFF, 0xFFFFFFFF) for number in others},
        12: Meter(12, 1, 2),
    }


@pytest.mark.parametrize("number", [0, 0xFFFF0001, 0xFFFFFFFD, 0xFFFFFFFE])
def test_a_meter_for_the_switchs_own_use_is_left_alone(number: int) -> None:
    """Section 7.1.2: such as OFPM_CONTROLLER, for what goes to a controller."""
    theirs = configuration(number, 1, 2) + configuration(9, 1, 2)
    assert configured_meters([reply(Multipart.METER_CONFIG, theirs)]) == {9: Meter(9, 1, 2)}


@pytest.mark.parametrize("most", [0, 1, 200_000])
def test_a_bridge_says_how_many_it_can_have(most: int) -> None:
    body = struct.pack("!IIIBB2x", most, 2, 0xF, 1, 8)
    assert most_meters([reply(Multipart.METER_FEATURES, body)]) == most


def test_a_bridge_that_says_nothing_of_it_has_none() -> None:
    assert most_meters([reply(Multipart.METER_FEATURES, b"")]) == 0


@given(data=st.data(), meters=counted.filter(bool))
def test_an_answer_that_is_cut_off_is_an_error_not_a_crash(
    data: st.DataObject, meters: dict[int, tuple[int, int, int, int]]
) -> None:
    whole = b"".join(statistics(number, *each) for number, each in meters.items())
    cut = data.draw(st.integers(1, len(whole) - 1).filter(lambda each: each % 56))
    with pytest.raises(SwitchError, match="end in the middle of a meter"):
        meter_counts([reply(Multipart.METER, whole[:cut])])


@pytest.mark.parametrize("cut", range(1, 24))
def test_a_configuration_that_is_cut_off_is_an_error_not_a_crash(cut: int) -> None:
    with pytest.raises(SwitchError, match="end in the middle of a meter"):
        configured_meters([reply(Multipart.METER_CONFIG, configuration(7, 100, 200)[:cut])])


@pytest.mark.parametrize(
    ("request_of", "parser"),
    [
        (configuration_request, ofproto_v1_4_parser.OFPMeterConfigStatsRequest),
        (counts_request, ofproto_v1_4_parser.OFPMeterStatsRequest),
    ],
)
def test_all_meters_are_asked_for_as_another_program_asks(request_of: Any, parser: Any) -> None:
    asked = parser(DATAPATH, 0, ofproto_v1_4.OFPM_ALL)
    assert request_of(77) == written(asked, 77)


def test_features_are_asked_for_as_another_program_asks() -> None:
    asked = ofproto_v1_4_parser.OFPMeterFeaturesStatsRequest(DATAPATH, 0)
    assert features_request(77) == written(asked, 77)


def written(message: Any, xid: int) -> bytes:
    message.set_xid(xid)
    message.serialize()
    return bytes(message.buf)
