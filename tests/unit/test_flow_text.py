"""The text form of flows: what a person who knows ovs-ofctl reads, and reads at once."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k8s_ovs.pipeline.action import (
    Action,
    Conjunction,
    Ct,
    CtClear,
    Goto,
    InPort,
    Move,
    Nat,
    Note,
    Output,
    SetField,
)
from k8s_ovs.pipeline.field import FIELDS, register
from k8s_ovs.pipeline.flow import Flow
from k8s_ovs.pipeline.match import (
    Match,
    any_packet,
    arp,
    conjunction_id,
    icmp,
    icmp6,
    ip,
    ipv6,
    sctp,
    sctp6,
    tcp,
    tcp6,
    udp,
    udp6,
)
from k8s_ovs.pipeline.table import PipelineError
from k8s_ovs.pipeline.text import flow_text
from k8s_ovs_testing.strategies import SAMPLE_PIPELINE

FIRST, DETOUR, SECOND, THIRD = SAMPLE_PIPELINE.tables


MARK, LABEL = FIELDS["ct_mark"], FIELDS["ct_label"]


def text(match: Match, *actions: Action) -> str:
    return flow_text(Flow(FIRST, 10, match, actions), SAMPLE_PIPELINE)


@pytest.mark.parametrize(
    ("match", "written"),
    [
        (ip(), "ip"),
        (arp(arp_op=1, arp_tpa="10.0.0.1"), "arp,arp_op=1,arp_tpa=10.0.0.1"),
        (ipv6(), "ipv6"),
        (ipv6(ip_proto=58), "icmp6"),
        (icmp(icmp_type=8, icmp_code=0), "icmp,icmp_type=8,icmp_code=0"),
        (tcp(tcp_dst=80), "tcp,tp_dst=80"),
        (tcp(tcp_dst="0x400/0xfc00"), "tcp,tp_dst=0x400/0xfc00"),
        (udp(udp_dst=4789, in_port=2), "udp,in_port=2,tp_dst=4789"),
        (ip(ip_proto=89), "ip,nw_proto=89"),
        (sctp(sctp_dst=7), "sctp,tp_dst=7"),
        (sctp6(sctp_src=7), "sctp6,tp_src=7"),
        (udp6(udp_dst=53), "udp6,tp_dst=53"),
        (
            tcp6(ipv6_src="fd00::/64", ipv6_dst=IPv6Address("fd00::1"), tcp_dst=80),
            "tcp6,ipv6_src=fd00::/64,ipv6_dst=fd00::1,tp_dst=80",
        ),
        (ipv6(ipv6_src=IPv6Network("fe80::/10")), "ipv6,ipv6_src=fe80::/10"),
        (ipv6(ipv6_src="::1", ipv6_label="0x1/0xf"), "ipv6,ipv6_src=::1,ipv6_label=0x1/0xf"),
        (icmp6(icmpv6_type=128, icmpv6_code=0), "icmp6,icmpv6_type=128,icmpv6_code=0"),
        (
            icmp6(icmpv6_type=135, nd_target="fd00::1", nd_sll="02:00:00:00:00:0a"),
            "icmp6,icmpv6_type=135,nd_target=fd00::1,nd_sll=02:00:00:00:00:0a",
        ),
        (
            icmp6(icmpv6_type=136, nd_tll="02:00:00:00:00:0a"),
            "icmp6,icmpv6_type=136,nd_tll=02:00:00:00:00:0a",
        ),
        (tcp(tcp_flags="+syn-ack"), "tcp,tcp_flags=+syn-ack"),
        (tcp(tcp_flags=0x12), "tcp,tcp_flags=0x12"),
        (ip(ip_frag="later", ip_dscp=46, ip_ecn=3), "ip,ip_frag=later,ip_dscp=46,ip_ecn=3"),
        (ip(ip_frag="yes"), "ip,ip_frag=yes"),
        (any_packet(pkt_mark="0x10/0x30"), "pkt_mark=0x10/0x30"),
        (ip(ct_mark="0x1/0x1", ct_label="0x5/0xff"), "ip,ct_mark=0x1/0x1,ct_label=0x5/0xff"),
        (any_packet(ct_label=1 << 127), f"ct_label={1 << 127:#x}"),
        (ip(conj_id="web"), f"ip,conj_id={conjunction_id('web')}"),
        (any_packet(eth_type=0x88CC), "dl_type=0x88cc"),
        (any_packet(in_port=0xFFFFFFFE), "in_port=LOCAL"),
        (ip(ip_src="10.1.0.0/16", ip_dst="10.2.0.9/32"), "ip,nw_src=10.1.0.0/16,nw_dst=10.2.0.9"),
        (any_packet(eth_src="02:00:00:00:00:0a"), "dl_src=02:00:00:00:00:0a"),
        (
            any_packet(eth_dst="01:00:00:00:00:00/01:00:00:00:00:00"),
            "dl_dst=01:00:00:00:00:00/01:00:00:00:00:00",
        ),
        (any_packet(reg0=5, tun_id="0x10/0xf0"), "tun_id=0x10/0xf0,reg0=0x5"),
        (ip(ct_state="+trk-new", ct_mark=1), "ip,ct_state=-new+trk,ct_mark=0x1"),
    ],
)
def test_a_match_reads_as_in_a_dump(match: Match, written: str) -> None:
    assert text(match) == f"table=0,priority=10,{written} actions=drop"


@pytest.mark.parametrize(
    ("action", "written"),
    [
        (Output(7), "output:7"),
        (Output(0xFFFFFFFE), "output:LOCAL"),
        (Output(register("OUT_PORT")), "output:reg2[]"),
        (InPort(), "IN_PORT"),
        (SetField(FIELDS["tun_id"], 300924), "set_field:0x4977c->tun_id"),
        (SetField(FIELDS["eth_dst"], 0x0A58A9FE0101), "set_field:0a:58:a9:fe:01:01->eth_dst"),
        (SetField(FIELDS["tun_dst"], 0xC0A8000B), "set_field:192.168.0.11->tun_dst"),
        (Move(FIELDS["eth_src"], FIELDS["eth_dst"]), "move:eth_src[0..47]->eth_dst[0..47]"),
        (Move(FIELDS["reg0"], FIELDS["tun_id"]), "move:reg0[0..31]->tun_id[0..31]"),
        (Move(FIELDS["tun_id"], FIELDS["reg0"]), "move:tun_id[0..31]->reg0[0..31]"),
        (Ct(zone=5), "ct(zone=5)"),
        (
            Ct(zone=5, commit=True, exec=[SetField(MARK, 1)], table="THIRD"),
            "ct(commit,table=20,zone=5,exec(set_field:0x1->ct_mark))",
        ),
        (
            Ct(zone=5, commit=True, force=True, exec=[SetField(MARK, 2, 3), SetField(LABEL, 9)]),
            "ct(commit,force,zone=5,exec(set_field:0x2/0x3->ct_mark,set_field:0x9->ct_label))",
        ),
        (
            Ct(zone=5, commit=True, exec=[Move(FIELDS["reg1"], MARK)]),
            "ct(commit,zone=5,exec(move:reg1[0..31]->ct_mark[0..31]))",
        ),
        (Ct(zone=5, nat=Nat()), "ct(zone=5,nat)"),
        (
            Ct(zone=5, commit=True, nat=Nat(IPv4Address("10.0.0.1"), other_port=True)),
            "ct(commit,zone=5,nat(src=10.0.0.1:1024-65535,random))",
        ),
        (
            Ct(zone=5, commit=True, nat=Nat(IPv6Address("fd00::1"), other_port=True)),
            "ct(commit,zone=5,nat(src=[fd00::1]:1024-65535,random))",
        ),
        (
            Ct(zone=5, commit=True, nat=Nat(destination=ip_address("10.0.0.1"), port=80)),
            "ct(commit,zone=5,nat(dst=10.0.0.1:80))",
        ),
        (
            Ct(zone=5, commit=True, nat=Nat(destination=ip_address("fd00::1"))),
            "ct(commit,zone=5,nat(dst=[fd00::1]))",
        ),
        (
            Ct(zone=5, commit=True, exec=[SetField(MARK, 1)], nat=Nat(IPv4Address("10.0.0.1"))),
            "ct(commit,zone=5,nat(src=10.0.0.1),exec(set_field:0x1->ct_mark))",
        ),
        (SetField(FIELDS["reg1"], 0x10, 0xF0), "set_field:0x10/0xf0->reg1"),
        (SetField(FIELDS["ipv6_dst"], 1), "set_field:::1->ipv6_dst"),
        (Conjunction("web", 1, 3), f"conjunction({conjunction_id('web')},1/3)"),
        (CtClear(), "ct_clear"),
        (Note(b"\x01\xff"), "note:01.ff"),
        (Goto("THIRD"), "goto_table:20"),
        (Goto("SECOND"), "goto_table:1"),
    ],
)
def test_an_action_reads_as_ovs_ofctl_takes_it(action: Action, written: str) -> None:
    assert text(any_packet(), action) == f"table=0,priority=10 actions={written}"


def test_for_people_tables_and_registers_have_their_names() -> None:
    actions = (SetField(register("SRC_TENANT"), 5), Goto("SECOND"))
    flow = Flow(FIRST, 10, ip(reg2=1), actions)
    assert flow_text(flow, SAMPLE_PIPELINE, human=True) == (
        "table=FIRST,priority=10,ip,OUT_PORT=0x1 "
        "actions=set_field:0x5->SRC_TENANT,goto_table:DETOUR"
    )


def test_without_a_pipeline_tables_are_called_as_the_flow_calls_them() -> None:
    flow = Flow(FIRST, 10, any_packet(), (Goto("SECOND"),))
    assert flow_text(flow) == "table=FIRST,priority=10 actions=goto_table:SECOND"


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"ip_src": "10.0.0.1/8"}, "ip_src='10.0.0.1/8' is not a value.*host bits"),
        ({"ip_src": "here"}, "ip_src='here' is not a value of this field"),
        ({"eth_src": "02:zz"}, "eth_src='02:zz' is not a value of this field"),
        ({"ct_state": "+known"}, r"\+known is not \+ or - and one of new, est"),
        ({"in_port": "1/1"}, "in_port=1/1: this field takes no mask"),
        ({"reg0": "0x3/0x1"}, "reg0=0x3/0x1: bits are set that the mask leaves out"),
        ({"tcp_dst": 65536}, "tcp_dst=65536 does not fit in 16 bits"),
        ({"vlan": 3}, "no field is named vlan"),
        ({"ip_src": IPv6Address("::1")}, "expected an address or network of IPv4"),
        ({"ipv6_src": IPv4Address("10.0.0.1")}, "expected an address or network of IPv6"),
        ({"ipv6_src": "10.0.0.1"}, "ipv6_src='10.0.0.1' is not a value of this field"),
        ({"tcp_flags": "+quick"}, r"\+quick is not \+ or - and one of fin, syn"),
        ({"ip_frag": "middle"}, "expected one of no, yes, first, later, not_later"),
        ({"conj_id": 7}, "conj_id=7 is not a value .*expected the name of a conjunction"),
        ({"ct_label": 1 << 128}, "does not fit in 128 bits"),
    ],
)
def test_a_match_on_nonsense_is_refused(fields: dict[str, str | int], complaint: str) -> None:
    with pytest.raises(PipelineError, match=complaint):
        any_packet(**fields)


def test_a_mask_of_every_bit_is_none() -> None:
    assert any_packet(reg0="0x5/0xffffffff") == any_packet(reg0=5)


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"ip_src": "10.0.0.1"}, "ip_src needs eth_type=0x800 in the same match: found none"),
        (
            {"eth_type": 0x86DD, "ip_src": "10.0.0.1"},
            "ip_src needs eth_type=0x800 in the same match: found 0x86dd",
        ),
        ({"ip_proto": 6}, "ip_proto needs eth_type=0x800 or 0x86dd in the same match"),
        (
            {"eth_type": 0x0800, "ip_proto": 17, "tcp_dst": 80},
            "tcp_dst needs ip_proto=6 in the same match: found 17",
        ),
        (
            {"eth_type": 0x86DD, "ip_proto": 58, "icmpv6_type": 136, "nd_sll": "02:00:00:00:00:01"},
            "nd_sll needs icmpv6_type=135 in the same match: found 136",
        ),
    ],
)
def test_a_match_on_what_its_packets_need_not_have_is_refused(
    fields: dict[str, str | int], complaint: str
) -> None:
    with pytest.raises(PipelineError, match=complaint):
        any_packet(**fields)


def test_what_a_packet_must_be_may_be_said_in_words() -> None:
    assert any_packet(eth_type="0x0800", ip_src="10.0.0.1") == ip(ip_src="10.0.0.1")


REFUSED = {
    "wide": (lambda: SetField(FIELDS["reg0"], 1 << 32), "reg0=4294967296 does not fit in 32 bits"),
    "port": (lambda: Output(-1), "output=-1 does not fit in 32 bits"),
    "read only": (lambda: SetField(FIELDS["ct_state"], 1), "ct_state can be matched, and not be"),
    "moved to": (lambda: Move(FIELDS["reg0"], FIELDS["ip_frag"]), "ip_frag can be matched, and"),
    "no mask": (lambda: SetField(FIELDS["arp_op"], 1, 1), "arp_op: this field takes no mask"),
    "bits": (lambda: SetField(FIELDS["reg0"], 3, 1), "reg0=0x3/0x1: bits are set that the mask"),
    "all": (lambda: SetField(FIELDS["reg0"], 0, 0xFFFFFFFF), "mask=0xffffffff leaves no bit out"),
    "none": (lambda: SetField(FIELDS["reg0"], 0, 0), "reg0 mask=0x0 leaves no bit out, or every"),
    "zone": (lambda: Ct(zone=65536), "ct zone=65536 does not fit in 16 bits"),
    "exec": (lambda: Ct(zone=1, exec=[SetField(MARK, 1)]), "ct exec sets what is lost without"),
    "force": (lambda: Ct(zone=1, force=True), "ct force without commit forces nothing"),
    "exec of": (
        lambda: Ct(zone=1, commit=True, exec=[SetField(FIELDS["reg0"], 1)]),
        "ct exec sets reg0, expected ct_mark or ct_label",
    ),
    "two ends": (
        lambda: Nat(IPv4Address("10.0.0.1"), destination=IPv4Address("10.0.0.2")),
        "nat gives a source and a destination",
    ),
    "nat port": (lambda: Nat(port=80), "nat port=80 has no destination"),
    "port 0": (lambda: Nat(destination=ip_address("::1"), port=0), "nat port=0 is not 1 to 65535"),
    "one clause": (lambda: Conjunction("web", 1, 1), "conjunction web has 1 clauses, expected 2"),
    "65 clauses": (lambda: Conjunction("web", 1, 65), "has 65 clauses, expected 2 to 64"),
    "clause 0": (lambda: Conjunction("web", 0, 2), "conjunction web: clause 0 is not 1 to 2"),
    "clause 3": (lambda: Conjunction("web", 3, 2), "conjunction web: clause 3 is not 1 to 2"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_actions_that_cannot_be_done_are_refused(case: str) -> None:
    make, complaint = REFUSED[case]
    with pytest.raises(PipelineError, match=complaint):
        make()


OUT_OF_PLACE = {
    "mark": ([SetField(MARK, 1)], "FIRST: ct_mark is set outside of a Ct, expected it in its exec"),
    "label": ([Move(FIELDS["reg0"], LABEL)], "FIRST: ct_label is set outside of a Ct"),
    "acts": ([Conjunction("web", 1, 2), Output(1)], "conjunction web has a Output too, expected"),
    "first": ([Output(1), Conjunction("web", 1, 2)], "conjunction web has a Output too, expected"),
    "twice": ([Conjunction("web", 1, 2), Conjunction("web", 2, 2)], "names web and web, which are"),
}


@pytest.mark.parametrize("case", OUT_OF_PLACE)
def test_actions_where_they_cannot_stand_are_refused(case: str) -> None:
    actions, complaint = OUT_OF_PLACE[case]
    with pytest.raises(PipelineError, match=complaint):
        Flow(FIRST, 1, ip(), actions)


def test_a_flow_of_a_clause_matches_no_conjunction() -> None:
    with pytest.raises(PipelineError, match="conjunction a matches conj_id, which no flow"):
        Flow(FIRST, 1, ip(conj_id="b"), [Conjunction("a", 1, 2)])


def test_a_flow_may_be_of_several_conjunctions_with_a_note() -> None:
    several = (Conjunction("a", 1, 2), Note(b"why"), Conjunction("b", 2, 2))
    assert Flow(FIRST, 1, ip(), several).actions == several


def test_a_conjunction_has_the_same_number_after_each_restart() -> None:
    # Constants: flows of an earlier run are compared with this one's.
    assert conjunction_id("default/web") == 0x401B_C3A8
    assert Conjunction("default/web", 1, 2).number == conjunction_id("default/web")


@given(st.text())
def test_every_name_of_a_conjunction_has_a_number_that_the_switch_can_have(name: str) -> None:
    assert 1 <= conjunction_id(name) <= 0xFFFFFFFF
