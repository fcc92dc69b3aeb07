"""The wire form of flows: an independent decoder reads in our bytes what we meant."""

from __future__ import annotations

import struct
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from os_ken.ofproto import ofproto_v1_4, ofproto_v1_4_parser

from k8s_ovs.pipeline.action import (
    OTHER_PORTS,
    Action,
    Conjunction,
    Ct,
    CtClear,
    Goto,
    InPort,
    Meter,
    Move,
    Nat,
    Note,
    Output,
    SetField,
)
from k8s_ovs.pipeline.field import FIELDS, Field, FieldKind
from k8s_ovs.pipeline.flow import Flow
from k8s_ovs.pipeline.match import Match, Term, any_packet, ip, ipv6, tcp
from k8s_ovs.pipeline.table import Pipeline, PipelineError
from k8s_ovs.pipeline.wire import MAX_OWNER, delete_by_cookie, delete_meter, encode, put_meter
from k8s_ovs_testing.strategies import SAMPLE_PIPELINE, flows

FIRST, DETOUR, SECOND, THIRD = SAMPLE_PIPELINE.tables
REG0, REG2 = FIELDS["reg0"], FIELDS["reg2"]

#: The decoder's names of fields, where they are not ours.
DECODED_NAMES = {
    "ip_src": "ipv4_src",
    "ip_dst": "ipv4_dst",
    "ipv6_label": "ipv6_flabel",
    "nd_target": "ipv6_nd_target",
    "nd_sll": "ipv6_nd_sll",
    "nd_tll": "ipv6_nd_tll",
    "icmp_type": "icmpv4_type",
    "icmp_code": "icmpv4_code",
    "tun_id": "tunnel_id",
    "tun_src": "tun_ipv4_src",
    "tun_dst": "tun_ipv4_dst",
}


def decoded(body: bytes) -> Any:
    version, kind, length, xid = struct.unpack_from("!BBHI", body)
    assert (version, kind, length) == (5, ofproto_v1_4.OFPT_FLOW_MOD, len(body))
    return ofproto_v1_4_parser.OFPFlowMod.parser(None, version, kind, length, xid, body)


def name(field: Field) -> str:
    return DECODED_NAMES.get(field.name, field.name)


def value(field: Field, number: int) -> Any:
    if field.kind is FieldKind.MAC:
        return number.to_bytes(6, "big").hex(":")
    if field.kind is FieldKind.IPV6:
        return str(IPv6Address(number))
    return str(IPv4Address(number)) if field.kind is FieldKind.IPV4 else number


def meant_match(match: Match) -> dict[str, Any]:
    return {
        name(term.field): value(term.field, term.value)
        if (mask := mask_of(term)) is None
        else (value(term.field, term.value), value(term.field, mask))
        for term in match.terms
    }


def mask_of(term: Term) -> int | None:
    """A state of connections is always masked: so Open vSwitch shows it."""
    whole_state = term.mask is None and term.field.name == "ct_state"
    return 0xFF if whole_state else term.mask


def meant_action(action: Action, flow: Flow) -> tuple[Any, ...]:  # noqa: C901, PLR0911 - one per kind
    match action:
        case SetField(field=Field(name="in_port"), value=number):
            return ("set", "in_port_nxm", number & 0xFFFF)
        case SetField(field=field, value=number, mask=int() as mask):
            return ("load", name(field), value(field, number), value(field, mask))
        case SetField(field=field, value=number):
            return ("set", name(field), value(field, number))
        case Output(port=Field() as register):
            return ("output register", name(register), 31)
        case Output(port=port):
            return ("output", port)
        case InPort():
            return ("output", ofproto_v1_4.OFPP_IN_PORT)
        case Move(source=source, target=target):
            return ("move", min(source.bits, target.bits), 0, 0, name(source), name(target))
        case CtClear():
            return ("ct_clear",)
        case Note(data=data):
            return ("note", data + bytes(-(len(data) + 10) % 8))
        case Conjunction(clause=clause, of=clauses):
            return ("conjunction", clause - 1, clauses, action.number)
        case Ct(zone=zone, commit=commit, table=table, nat=nat):
            back = 255 if table is None else SAMPLE_PIPELINE.hop(flow.table.name, table)
            nested = [] if nat is None else [meant_nat(nat)]
            nested += [meant_action(each, flow) for each in action.exec]
            return ("ct", commit + 2 * action.force, "", zone, back, 0, nested)
    raise AssertionError(action)


def meant_nat(nat: Nat) -> tuple[Any, ...]:
    ports = OTHER_PORTS if nat.other_port else (nat.port or 0, 0)
    flags = (nat.source is not None) + 2 * (nat.destination is not None) + 16 * nat.other_port
    addresses = ["", ""]
    if nat.address is not None:
        addresses[nat.address.version == 6] = str(nat.address)
    return ("nat", flags, *addresses, *ports)


def without_age(decoded_name: str) -> str:
    """The decoder's name of a field, be it by its oldest number."""
    field = decoded_name.removesuffix("_nxm")
    return DECODED_NAMES.get(field, field)


def said_action(action: Any) -> tuple[Any, ...]:  # noqa: C901, PLR0911 - one per kind
    match type(action).__name__:
        case "OFPActionSetField":
            return ("set", action.key, action.value)
        case "OFPActionOutput":
            return ("output", action.port)
        case "NXActionOutputReg":
            return ("output register", action.src, action.ofs_nbits)
        case "NXActionRegMove":
            ends = map(without_age, (action.src_field, action.dst_field))
            return ("move", action.n_bits, action.src_ofs, action.dst_ofs, *ends)
        case "NXActionNote":
            return ("note", bytes(action.note))
        case "NXActionCTClear":
            return ("ct_clear",)
        case "NXActionNAT":
            ports = (action.range_proto_min or 0, action.range_proto_max or 0)
            addresses = (action.range_ipv4_min, action.range_ipv6_min)
            return ("nat", action.flags, *addresses, *ports)
        case "NXActionRegLoad2":
            return ("load", without_age(action.dst), action.value, action.mask)
        case "NXActionConjunction":
            return ("conjunction", action.clause, action.n_clauses, action.id)
        case "NXActionCT":
            nested = [said_action(each) for each in action.actions]
            zone = (action.zone_src, action.zone_ofs_nbits)
            return ("ct", action.flags, *zone, action.recirc_table, action.alg, nested)
    raise AssertionError(action)


def shortest(said: Any) -> Any:
    """What the decoder said, with addresses of IPv6 as RFC 5952 writes them."""
    if isinstance(said, tuple | list):
        return type(said)(map(shortest, said))
    with suppress(ValueError):
        return str(IPv6Address(said)) if isinstance(said, str) else said
    return said


def said_instructions(message: Any) -> tuple[list[tuple[Any, ...]], list[int]]:
    """The applied actions and the tables gone to."""
    applied = [each for each in message.instructions if each.type == 4]
    actions = [shortest(said_action(action)) for each in applied for action in each.actions]
    gone_to = [each.table_id for each in message.instructions if each.type == 1]
    assert len(applied) <= 1
    assert len(applied) + len(gone_to) == len(message.instructions)
    return actions, gone_to


@settings(max_examples=200)
@given(flow=flows())
def test_an_independent_decoder_reads_what_was_meant(flow: Flow) -> None:
    wire = encode(flow, 7, SAMPLE_PIPELINE)
    message = decoded(wire.body)
    assert message.command == ofproto_v1_4.OFPFC_ADD
    assert (message.cookie, message.cookie_mask) == (wire.cookie, 0)
    assert message.table_id == SAMPLE_PIPELINE.number(flow.table.name)
    assert message.priority == flow.priority
    assert (message.idle_timeout, message.hard_timeout, message.flags) == (0, 0, 0)
    assert message.buffer_id == ofproto_v1_4.OFP_NO_BUFFER
    said = {name: shortest(said) for name, said in message.match.items()}
    assert said == meant_match(flow.match)

    goto = [each for each in flow.actions if isinstance(each, Goto)]
    others = [each for each in flow.actions if not isinstance(each, Goto)]
    assert said_instructions(message) == (
        [meant_action(each, flow) for each in others],
        [SAMPLE_PIPELINE.hop(flow.table.name, each.table) for each in goto],
    )


@settings(max_examples=100)
@given(one=flows(), other=flows())
def test_cookies_are_equal_where_the_content_is_and_only_there(one: Flow, other: Flow) -> None:
    cookies = [encode(flow, 7, SAMPLE_PIPELINE).cookie for flow in (one, one, other)]
    assert cookies[0] == cookies[1]
    assert (cookies[0] == cookies[2]) == (one == other)


def test_a_cookie_is_the_owner_and_then_the_content() -> None:
    flow = Flow(FIRST, 10, ip(), (Output(1),))
    mine, theirs = encode(flow, 1, SAMPLE_PIPELINE), encode(flow, 2, SAMPLE_PIPELINE)
    assert (mine.cookie >> 48, theirs.cookie >> 48) == (1, 2)
    assert mine.cookie & 0xFFFFFFFFFFFF == theirs.cookie & 0xFFFFFFFFFFFF


def test_a_cookie_survives_a_restart() -> None:
    # A constant: cookies of an earlier run are compared with this one's.
    flow = Flow(FIRST, 100, tcp(in_port=3, ip_src="10.1.0.0/16"), (SetField(REG0, 5),))
    assert encode(flow, 9, SAMPLE_PIPELINE).cookie == 0x9_34C6_8380_706C


@pytest.mark.parametrize(
    "changed",
    [
        Flow(SECOND, 10, ip(), (Output(1),)),
        Flow(FIRST, 11, ip(), (Output(1),)),
        Flow(FIRST, 10, ip(reg0=0), (Output(1),)),
        Flow(FIRST, 10, ip(), (Output(2),)),
        Flow(FIRST, 10, ip()),
    ],
)
def test_every_part_of_a_flow_is_in_its_cookie(changed: Flow) -> None:
    flow = Flow(FIRST, 10, ip(), (Output(1),))
    assert encode(flow, 1, SAMPLE_PIPELINE).cookie != encode(changed, 1, SAMPLE_PIPELINE).cookie


def test_the_key_is_table_priority_and_match_and_nothing_else() -> None:
    key = encode(Flow(FIRST, 10, ip(), (Output(1),)), 1, SAMPLE_PIPELINE).key
    assert encode(Flow(FIRST, 10, ip()), 2, SAMPLE_PIPELINE).key == key
    for other in (Flow(SECOND, 10, ip()), Flow(FIRST, 11, ip()), Flow(FIRST, 10, tcp())):
        assert encode(other, 1, SAMPLE_PIPELINE).key != key


def test_a_goto_takes_the_detour_that_a_plugin_put_in() -> None:
    flow = Flow(FIRST, 1, any_packet(), (Goto("SECOND"),))
    plain = Pipeline([FIRST, SECOND, THIRD])
    _, detoured = said_instructions(decoded(encode(flow, 1, SAMPLE_PIPELINE).body))
    _, direct = said_instructions(decoded(encode(flow, 1, plain).body))
    assert (detoured, direct) == ([SAMPLE_PIPELINE.number("DETOUR")], [plain.number("SECOND")])


def test_tracking_may_come_back_to_its_own_table() -> None:
    flow = Flow(SECOND, 1, ip(), (Ct(zone=5, table="SECOND"),))
    actions, _ = said_instructions(decoded(encode(flow, 1, SAMPLE_PIPELINE).body))
    assert actions == [("ct", 0, "", 5, SAMPLE_PIPELINE.number("SECOND"), 0, [])]


def test_a_delete_names_one_cookie_and_every_table() -> None:
    message = decoded(delete_by_cookie(0x0007_1234_5678_9ABC))
    assert message.command == ofproto_v1_4.OFPFC_DELETE
    assert (message.cookie, message.cookie_mask) == (0x0007_1234_5678_9ABC, 0xFFFFFFFFFFFFFFFF)
    assert message.table_id == ofproto_v1_4.OFPTT_ALL
    assert (message.out_port, message.out_group) == (
        ofproto_v1_4.OFPP_ANY,
        ofproto_v1_4.OFPG_ANY,
    )
    assert dict(message.match.items()) == {}


meters = st.builds(
    Meter, st.integers(1, 0xFFFF0000), st.integers(1, 0xFFFFFFFF), st.integers(1, 0xFFFFFFFF)
)


def written_meter(command: int, flags: int, number: int, bands: list[Any]) -> bytes:
    """What os-ken sends for it."""
    datapath = SimpleNamespace(ofproto=ofproto_v1_4, ofproto_parser=ofproto_v1_4_parser)
    mod = ofproto_v1_4_parser.OFPMeterMod(datapath, command, flags, number, bands)
    mod.set_xid(0)
    mod.serialize()
    return bytes(mod.buf)


@given(meter=meters, command=st.sampled_from([0, 1]))
def test_an_independent_encoder_writes_the_same_meter(meter: Meter, command: int) -> None:
    flags = ofproto_v1_4.OFPMF_KBPS | ofproto_v1_4.OFPMF_BURST | ofproto_v1_4.OFPMF_STATS
    band = ofproto_v1_4_parser.OFPMeterBandDrop(rate=meter.rate, burst_size=meter.burst)
    assert put_meter(meter, command) == written_meter(command, flags, meter.number, [band])


@given(number=st.integers(1, 0xFFFF0000))
def test_an_independent_encoder_deletes_the_same_meter(number: int) -> None:
    assert delete_meter(number) == written_meter(ofproto_v1_4.OFPMC_DELETE, 0, number, [])


@given(meter=meters)
def test_a_meter_is_an_instruction_of_its_own_before_all_others(meter: Meter) -> None:
    flow = Flow(FIRST, 1, ip(), (meter, Output(1), Goto("THIRD")))
    wire = encode(flow, 1, SAMPLE_PIPELINE)
    message = decoded(wire.body)
    kinds = [
        ofproto_v1_4.OFPIT_METER,
        ofproto_v1_4.OFPIT_APPLY_ACTIONS,
        ofproto_v1_4.OFPIT_GOTO_TABLE,
    ]
    assert [each.type for each in message.instructions] == kinds
    assert message.instructions[0].meter_id == meter.number
    assert wire.meter == meter


@given(one=meters, other=meters)
def test_another_rate_of_a_meter_makes_another_flow(one: Meter, other: Meter) -> None:
    cookies = [
        encode(Flow(FIRST, 1, ip(), (each,)), 1, SAMPLE_PIPELINE).cookie for each in (one, other)
    ]
    assert (cookies[0] == cookies[1]) == (one == other)


def test_a_meter_comes_before_all_other_actions() -> None:
    with pytest.raises(PipelineError, match="FIRST: a meter follows another action"):
        Flow(FIRST, 1, ip(), (Output(1), Meter(1, 10, 10)))


@pytest.mark.parametrize(
    ("number", "rate", "burst", "said"),
    [
        (0, 1, 1, "meter 0 is not 1 to 4294901760"),
        (0xFFFF0001, 1, 1, "meter 4294901761 is not 1 to 4294901760"),
        (1, 0, 1, "meter rate=0 would let nothing through"),
        (1, 1, 0, "meter burst=0 would let nothing through"),
        (1, 1 << 32, 1, "meter rate=4294967296 does not fit in 32 bits"),
        (1, 1, 1 << 32, "meter burst=4294967296 does not fit in 32 bits"),
    ],
)
def test_a_meter_that_cannot_be_is_refused(number: int, rate: int, burst: int, said: str) -> None:
    with pytest.raises(PipelineError, match=said):
        Meter(number, rate, burst)


@pytest.mark.parametrize("owner", [-1, MAX_OWNER + 1])
def test_an_owner_that_does_not_fit_is_refused(owner: int) -> None:
    with pytest.raises(PipelineError, match=f"owner {owner} of a flow is not 0 to 65534"):
        encode(Flow(FIRST, 1, any_packet()), owner, SAMPLE_PIPELINE)


def test_a_flow_that_fits_into_no_message_is_refused() -> None:
    flow = Flow(FIRST, 1, any_packet(), (Note(bytes(40_000)), Note(bytes(40_000))))
    with pytest.raises(
        PipelineError, match=r"FIRST: a flow of 80.* bytes, at most 65519 can be sent"
    ):
        encode(flow, 1, SAMPLE_PIPELINE)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (ip(ip_dst="0.0.0.0/0"), ip()),
        (ipv6(ipv6_dst="::/0"), ipv6()),
        (tcp(tcp_dst="0/0"), tcp()),
        (any_packet(reg8="0/0"), any_packet()),
        (any_packet(ct_state=""), any_packet()),
    ],
)
def test_a_term_without_a_bit_says_nothing(written: Match, meant: Match) -> None:
    """Open vSwitch does not show it again: the flow would look like another one for ever."""
    assert written == meant


@pytest.mark.parametrize("name", ["ct_label", "tun_id", "ip_dst", "in_port"])
def test_a_port_is_in_no_field_but_a_register(name: str) -> None:
    with pytest.raises(PipelineError, match=f"output: found {name}, expected a number or a reg"):
        Output(FIELDS[name])
