"""The text form of flows: what a person who knows ovs-ofctl reads, and reads at once."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from k8s_ovs.pipeline.action import (
    Action,
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
from k8s_ovs.pipeline.flow import Flow, Match, any_packet, arp, icmp, ip, ipv6, tcp, udp
from k8s_ovs.pipeline.table import PipelineError
from k8s_ovs.pipeline.text import flow_text
from k8s_ovs_testing.strategies import SAMPLE_PIPELINE

FIRST, DETOUR, SECOND, THIRD = SAMPLE_PIPELINE.tables


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
        (ip(ip_proto=132), "ip,nw_proto=132"),
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
            Ct(zone=5, commit=True, mark=1, table="THIRD"),
            "ct(commit,table=20,zone=5,exec(set_field:0x1->ct_mark))",
        ),
        (Ct(zone=5, nat=Nat()), "ct(zone=5,nat)"),
        (
            Ct(zone=5, commit=True, nat=Nat(IPv4Address("10.0.0.1"), other_port=True)),
            "ct(commit,zone=5,nat(src=10.0.0.1:1024-65535,random))",
        ),
        (
            Ct(zone=5, commit=True, mark=1, nat=Nat(source=IPv4Address("10.0.0.1"))),
            "ct(commit,zone=5,nat(src=10.0.0.1),exec(set_field:0x1->ct_mark))",
        ),
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
    ],
)
def test_a_match_on_nonsense_is_refused(fields: dict[str, str | int], complaint: str) -> None:
    with pytest.raises(PipelineError, match=complaint):
        any_packet(**fields)


def test_a_mask_of_every_bit_is_none() -> None:
    assert any_packet(reg0="0x5/0xffffffff") == any_packet(reg0=5)


def test_actions_that_cannot_be_done_are_refused() -> None:
    with pytest.raises(PipelineError, match="reg0=4294967296 does not fit in 32 bits"):
        SetField(FIELDS["reg0"], 1 << 32)
    with pytest.raises(PipelineError, match="output=-1 does not fit in 32 bits"):
        Output(-1)
    with pytest.raises(PipelineError, match="ct zone=65536 does not fit in 16 bits"):
        Ct(zone=65536)
    with pytest.raises(PipelineError, match="ct mark=0x1 is set without commit"):
        Ct(zone=1, mark=1)
