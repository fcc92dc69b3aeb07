"""What Open vSwitch tells of a packet's way, as a value."""

from __future__ import annotations

from pathlib import Path

import pytest

from k8s_ovs.errors import Unavailable
from k8s_ovs_testing.strategies import SAMPLE_PIPELINE
from k8s_ovs_testing.trace import parse_trace, trace

TRACKED = """\
Flow: tcp,in_port=18,nw_src=10.0.0.1

bridge("br0")
-------------
 0. ip, priority 100, cookie 0xb5c9a97a0dcefd94
    ct(commit,zone=7,exec(set_field:0x1->ct_mark))
    set_field:0x1->ct_mark
    goto_table:1
 1. ct_state=-trk,ip, priority 200, cookie 0xb5c9eba28e9cec0a
    ct(table=10,zone=7)
    drop

Final flow: tcp,reg2=0x13,in_port=18,nw_src=10.0.0.1
Datapath actions: ct(zone=7),recirc(0x1)

recirc(0x1) - resume conntrack with default ct_state=trk|new

Flow: recirc_id=0x1,ct_state=new|trk,tcp,reg2=0x13,in_port=18,nw_src=10.0.0.1

bridge("br0")
-------------
    thaw
        Resuming from table 10
10. priority 0, cookie 0x7
    output:NXM_NX_REG2[]
     -> output port is 19

Final flow: unchanged
Datapath actions: 19
"""

UNMET = """\
Flow: arp,in_port=18

bridge("br0")
-------------
 0. No match, and no packet-in.
    drop

Final flow: unchanged
Datapath actions: drop
"""

MIRRORED = """\
Flow: ip,in_port=18

bridge("br0")
-------------
 0. ip, priority 1, cookie 0x1
    output:18
     >> skipping output to input port
    output:19
    output:20

Final flow: unchanged
Datapath actions: 1,2
"""


def test_a_trace_goes_on_after_connection_tracking() -> None:
    traced = parse_trace(TRACKED, SAMPLE_PIPELINE)
    assert traced.tables == ("FIRST", "DETOUR", "SECOND")
    assert [hop.cookie for hop in traced.hops][2] == 7
    assert traced.hops[0].match == "ip"
    assert traced.commits == (7,)
    assert (traced.sent_to, traced.dropped_in) == (19, None)
    assert traced.fields["reg2"] == "0x13"


def test_a_packet_that_no_flow_meets_is_dropped_there() -> None:
    traced = parse_trace(UNMET, SAMPLE_PIPELINE)
    assert (traced.sent_to, traced.dropped_in) == (None, "FIRST")


def test_a_packet_does_not_leave_by_the_port_that_it_came_in_by() -> None:
    traced = parse_trace(MIRRORED, SAMPLE_PIPELINE)
    assert traced.ports == (19, 20)
    assert (traced.sent_to, traced.dropped_in) == (None, None)


def test_a_switch_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"ovs-vswitchd at .*/no\.ctl"):
        trace(tmp_path / "no.ctl", "br0", SAMPLE_PIPELINE, "ip")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (UNMET, "FIRST: dropped"),
        (TRACKED, "FIRST, DETOUR, SECOND: sent to port 19"),
    ],
)
def test_a_way_reads_as_a_sentence(text: str, sentence: str) -> None:
    assert str(parse_trace(text, SAMPLE_PIPELINE)) == sentence
