"""The OpenFlow client against a real Open vSwitch, whose own tools say what it holds."""

from __future__ import annotations

import re
import select
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from k8s_ovs.errors import SwitchError, TimedOut, Unavailable
from k8s_ovs.ovs.openflow.altered import altered_cookies
from k8s_ovs.ovs.openflow.client import FlowRefused, OpenFlow
from k8s_ovs.pipeline.action import Goto, Output, SetField
from k8s_ovs.pipeline.field import FIELDS, register
from k8s_ovs.pipeline.flow import Flow
from k8s_ovs.pipeline.match import Match, Term, any_packet, ip, tcp
from k8s_ovs.pipeline.reading import read_actions, read_match
from k8s_ovs.pipeline.text import flow_text
from k8s_ovs.pipeline.wire import WireFlow, encode
from k8s_ovs_testing.ovs import OvsProcess
from k8s_ovs_testing.strategies import SAMPLE_PIPELINE, flows

pytest_plugins = ["k8s_ovs_testing.fixtures"]

FIRST, DETOUR, SECOND, THIRD = SAMPLE_PIPELINE.tables
OF_NO_IP = Match((Term(FIELDS["ip_src"], 0x0A000001),))


def add_bridge(ovs: OvsProcess, name: str) -> None:
    ovs.vsctl("add-br", name, "--", "set", "bridge", name, "fail_mode=secure")


@pytest.fixture(scope="module")
def ovs(ovs_dummy_module: OvsProcess) -> OvsProcess:
    for bridge in ("br0", "br1"):
        add_bridge(ovs_dummy_module, bridge)
    return ovs_dummy_module


@pytest.fixture
def client(ovs: OvsProcess) -> Iterator[OpenFlow]:
    """A connection to br0, which has no flows."""
    with closing(OpenFlow.connect(ovs.mgmt("br0"))) as client:
        client.commit([], [flow.cookie for flow in client.dump()])
        yield client


def wire(flow: Flow, owner: int = 1) -> WireFlow:
    return encode(flow, owner, SAMPLE_PIPELINE)


def plain(number: int) -> WireFlow:
    """One of many flows that differ in what they match."""
    match = ip(in_port=number % 60_000 + 1, reg0=number)
    return wire(Flow(FIRST, 100, match, (SetField(FIELDS["tun_id"], number), Goto("SECOND"))))


def impossible() -> WireFlow:
    """A flow that Open vSwitch refuses: an IP address of a packet that need not be of IP."""
    return wire(Flow(FIRST, 7, OF_NO_IP, (Output(1),)))


def shown(ovs: OvsProcess, bridge: str) -> list[str]:
    """The flows that ovs-ofctl shows, without cookies."""
    # By OpenFlow 1.5, the only version in which a field is set with a mask.
    said = ovs.ofctl("-OOpenFlow15", "dump-flows", "--no-stats", "--no-names", bridge)
    lines = said.splitlines()
    return sorted(
        re.sub(r"cookie=0x[0-9a-f]+, ", "", line).strip() for line in lines if "=" in line
    )


def held(client: OpenFlow) -> set[int]:
    return {flow.cookie for flow in client.dump()}


# No shrinking: each step of it would be four more processes.
@settings(
    max_examples=40,
    phases=(Phase.reuse, Phase.generate),
    suppress_health_check=(HealthCheck.too_slow, HealthCheck.data_too_large),
)
@given(drawn=st.lists(flows(), min_size=1, max_size=15))
def test_open_vswitch_reads_our_bytes_as_its_own_tool_reads_our_text(
    ovs: OvsProcess, tmp_path_factory: pytest.TempPathFactory, drawn: list[Flow]
) -> None:
    listed = Path(tmp_path_factory.getbasetemp()) / "flows.txt"
    listed.write_text("\n".join(flow_text(flow, SAMPLE_PIPELINE) for flow in drawn))
    ovs.ofctl("del-flows", "br1")
    ovs.ofctl("-OOpenFlow15", "add-flows", "br1", str(listed))
    with closing(OpenFlow.connect(ovs.mgmt("br0"))) as client:
        client.commit([wire(flow) for flow in drawn], [flow.cookie for flow in client.dump()])
        # What Open vSwitch shows is byte by byte what was sent: so a changed flow is noticed.
        dumped = client.dump()
        assert altered_cookies(dumped, client.meters()) == set()
        installed = {each.cookie: each for each in dumped}
    assert shown(ovs, "br0") == shown(ovs, "br1")
    names = {SAMPLE_PIPELINE.number(each.name): each.name for each in SAMPLE_PIPELINE.tables}
    desired = {wire(flow).cookie: flow for flow in drawn}
    for cookie, found in installed.items():
        text = flow_text(desired[cookie], SAMPLE_PIPELINE, human=True)
        said = re.fullmatch(r"table=\w+,priority=\d+,?(\S*) actions=(.*)", text)
        assert said is not None
        # A switch has terms in an order of its own, and fills notes up.
        assert _terms(read_match(found.match)) == _terms(said[1])
        assert _short(read_actions(found.instructions, names)) == _short(said[2])


def _terms(match: str) -> list[str]:
    """Sorted; a whole ct_state comes back with a mask."""
    return sorted(each for each in match.split(",") if not each.startswith("ct_state="))


def _short(actions: str) -> str:
    """Actions without the zeros at the end of notes."""
    return re.sub(r"note:([0-9a-f.]*?)(\.?00)*(?=,|$)", r"note:\1", actions)


def test_flows_find_the_port_of_a_packet_that_comes_in_fragments(
    ovs: OvsProcess, client: OpenFlow
) -> None:
    ovs.ofctl("set-frags", "br0", "normal")
    client.match_fragments()
    assert "nx-match" in ovs.ofctl("get-frags", "br0")


def test_a_dump_tells_what_was_committed(ovs: OvsProcess, client: OpenFlow) -> None:
    flow = wire(
        Flow(THIRD, 7, any_packet(in_port=1, reg1="0x10/0xf0"), (Output(register("OUT_PORT")),))
    )
    drop = wire(Flow(FIRST, 0, any_packet()), owner=5)
    client.commit([flow, drop])
    found = {each.cookie: each for each in client.dump()}
    assert set(found) == {flow.cookie, drop.cookie}
    assert found[flow.cookie].table == SAMPLE_PIPELINE.number("THIRD")
    assert found[flow.cookie].priority == 7
    assert flow.body.endswith(found[flow.cookie].instructions)
    assert found[flow.cookie].match == flow.key[7:]
    assert (found[drop.cookie].match, found[drop.cookie].instructions) == (b"", b"")


def test_a_dump_counts_packets_and_bytes(ovs: OvsProcess, client: OpenFlow) -> None:
    ovs.vsctl("--may-exist", "add-port", "br0", "p7", "--", "set", "Interface", "p7", "type=dummy")
    client.commit([wire(Flow(FIRST, 0, any_packet()))])
    frame = "02000000000202000000000188b5" + "00" * 46
    for _ in range(3):
        ovs.appctl("netdev-dummy/receive", "p7", frame)
    # The datapath's counters arrive with the next revalidation.
    ovs.appctl("revalidator/wait")
    (flow,) = client.dump()
    assert (flow.packets, flow.bytes) == (3, 180)


def test_one_refused_flow_leaves_everything_as_it_was(ovs: OvsProcess, client: OpenFlow) -> None:
    client.commit([plain(1)])
    before = held(client)
    bad = impossible()
    with pytest.raises(FlowRefused) as caught:
        client.commit([plain(2), bad, plain(3)], [plain(1).cookie])
    assert held(client) == before
    assert caught.value.cookies == (bad.cookie,)
    assert str(caught.value) == (
        f"the bridge at {ovs.mgmt('br0')} refused 1 of 3 flows, so nothing was changed: "
        f"OFPBMC_BAD_PREREQ for cookie={bad.cookie:#x},"
        "table=FIRST,priority=7,nw_src=10.0.0.1 actions=output:1"
    )


def test_a_flow_refused_only_at_the_commit_is_named_too(client: OpenFlow) -> None:
    good = wire(Flow(FIRST, 7, tcp(), (Output(1),)))
    # Well formed, but for a table that does not exist: that shows when the bundle is committed.
    body = bytearray(good.body)
    body[24] = 0xFF
    with pytest.raises(
        FlowRefused, match=r"OFPFMFC_BAD_TABLE_ID for .*tcp actions=output:1"
    ) as caught:
        client.commit([plain(1), evolve(good, body=bytes(body)), plain(2)])
    assert caught.value.cookies == (good.cookie,)
    assert held(client) == set()


def test_every_refused_flow_is_reported_and_the_others_can_be_committed(client: OpenFlow) -> None:
    bad = [wire(Flow(FIRST, number, OF_NO_IP, (Output(1),))) for number in range(8)]
    with pytest.raises(FlowRefused, match=r"refused 8 of 9 flows.*; and 3 more$") as caught:
        client.commit([*bad, plain(1)])
    refused = caught.value.cookies
    assert refused == tuple(flow.cookie for flow in bad)
    client.commit([flow for flow in (*bad, plain(1)) if flow.cookie not in refused])
    assert held(client) == {plain(1).cookie}


def test_a_replaced_flow_and_the_deletion_of_its_cookie_fit_in_one_commit(client: OpenFlow) -> None:
    old = wire(Flow(FIRST, 9, ip(), (Output(1),)))
    new = wire(Flow(FIRST, 9, ip(), (Output(2),)))
    client.commit([old])
    client.commit([new], [old.cookie])
    assert held(client) == {new.cookie}


def test_what_is_added_exists_though_its_cookie_is_deleted_too(client: OpenFlow) -> None:
    client.commit([plain(1)])
    client.commit([plain(1)], [plain(1).cookie])
    assert held(client) == {plain(1).cookie}


def test_a_delete_takes_its_own_cookie_only(client: OpenFlow) -> None:
    mine, theirs = wire(Flow(FIRST, 9, ip())), wire(Flow(SECOND, 9, ip()), owner=2)
    client.commit([mine, theirs])
    client.commit([], [mine.cookie, plain(1).cookie])
    assert held(client) == {theirs.cookie}


def test_five_thousand_flows_come_and_go_in_one_commit_each(client: OpenFlow) -> None:
    many = [plain(number) for number in range(5_000)]
    client.commit(many)
    assert held(client) == {flow.cookie for flow in many}
    client.commit([], [flow.cookie for flow in many])
    assert held(client) == set()


def test_thousands_of_refusals_do_not_block_the_connection(client: OpenFlow) -> None:
    # The answers outgrow every socket buffer while we are still sending.
    many = [wire(Flow(FIRST, number, OF_NO_IP, ())) for number in range(5_000)]
    with pytest.raises(FlowRefused) as caught:
        client.commit(many)
    assert len(caught.value.cookies) == 5_000
    assert held(client) == set()


def test_an_empty_commit_asks_nothing(ovs: OvsProcess, client: OpenFlow) -> None:
    client.close()
    client.commit([])


def test_ports_are_known_by_name(ovs: OvsProcess, client: OpenFlow) -> None:
    ovs.vsctl(
        *("--may-exist", "add-port", "br0", "pod", "--"),
        *("set", "Interface", "pod", "type=dummy", "ofport_request=42"),
    )
    ports = {name: port.number for name, port in client.ports().items()}
    assert (ports["br0"], ports["pod"]) == (0xFFFFFFFE, 42)


def test_news_of_ports_does_not_come_unasked(ovs: OvsProcess, client: OpenFlow) -> None:
    ovs.vsctl("add-port", "br0", "noise", "--", "set", "Interface", "noise", "type=dummy")
    ovs.vsctl("del-port", "br0", "noise")
    assert select.select([client], [], [], 0)[0] == []
    client.service()
    assert "noise" not in client.ports()


def test_a_bridge_that_hangs_is_noticed_in_time(ovs: OvsProcess) -> None:
    path = ovs.mgmt("br0")
    client = OpenFlow.connect(path, timeout=0.2)
    ovs.pause()
    try:
        with pytest.raises(TimedOut, match=f"{path} did not answer within 0.2 s"):
            client.commit([plain(number) for number in range(5_000)])
        with pytest.raises(TimedOut, match=r"did not answer within 0.1 s"):
            OpenFlow.connect(path, timeout=0.1)
    finally:
        ovs.resume()
    with pytest.raises(Unavailable, match=r"connection to the bridge at .* is closed"):
        client.dump()


def test_a_deleted_bridge_closes_the_connection(ovs: OvsProcess) -> None:
    add_bridge(ovs, "br9")
    client = OpenFlow.connect(ovs.mgmt("br9"))
    ovs.vsctl("del-br", "br9")
    assert select.select([client], [], [], 10)[0] == [client]
    with pytest.raises(Unavailable, match="closed the connection"):
        client.service()
    with pytest.raises(Unavailable, match="is closed"):
        client.fileno()


def test_without_a_bridge_the_message_says_where_to_look(ovs: OvsProcess) -> None:
    with pytest.raises(
        Unavailable, match=r"nobr.mgmt.*is ovs-vswitchd running and the bridge there"
    ):
        OpenFlow.connect(ovs.mgmt("nobr"))


def test_a_bridge_held_to_another_version_is_refused_with_the_remedy(ovs: OvsProcess) -> None:
    add_bridge(ovs, "brold")
    ovs.vsctl("set", "bridge", "brold", "protocols=OpenFlow10,OpenFlow13")
    with pytest.raises(
        SwitchError, match=r"does not speak OpenFlow 1.4: its column protocols must"
    ):
        OpenFlow.connect(ovs.mgmt("brold"))
    ovs.vsctl("del-br", "brold")


#: Flows as ovs-ofctl adds them, and what is read: match and actions.
OF_OTHERS = {
    "table=7,tcp6,tp_dst=80,ipv6_dst=fd00::/64 actions=NORMAL": (
        "tcp6,ipv6_dst=fd00::/64,tp_dst=80",
        "NORMAL",
    ),
    "table=7,dl_vlan=5 actions=strip_vlan,output:3": (
        "vlan_vid=0x1005",
        "pop_vlan,output:3",
    ),
    "table=7,ip,nw_tos=4 actions=dec_ttl,resubmit(,9),load:5->NXM_NX_REG1[0..7]": (
        "ip,ip_dscp=1",
        "dec_ttl,resubmit(,9),load:0x5->DST_TENANT[0..7]",
    ),
    "table=7,ct_state=+trk,ip,pkt_mark=7 actions=ct(commit,zone=reg1[0..15],nat(src=10.0.0.1))": (
        "ip,pkt_mark=0x7,ct_state=+trk",
        "ct(commit,zone=DST_TENANT[0..15],nat(src=10.0.0.1))",
    ),
    "table=7,metadata=9 actions=write_metadata:1/3,goto_table:8": (
        "metadata=0x9",
        "write_metadata:0x1/0x3,goto_table:EIGHT",
    ),
    "table=7,sctp,tp_src=9 actions=conjunction(5,1/2)": (
        "sctp,tp_src=9",
        "conjunction(5,1/2)",
    ),
    "table=7,priority=0 actions=controller(max_len=64),set_field:5/7->reg1": (
        "",
        "CONTROLLER:64,load:0x5->DST_TENANT[0..2]",
    ),
    "table=7,ip actions=ct(commit,nat(dst=10.0.0.1-10.0.0.9:80-90,random))": (
        "ip",
        "ct(commit,zone=0,nat(dst=10.0.0.1-10.0.0.9:80-90,random))",
    ),
    "table=7,conj_id=5 actions=ct_clear,write_actions(output:1)": (
        "conj_id=5",
        "ct_clear,write_actions(output:1)",
    ),
    "table=7,tcp,tcp_flags=+syn-ack,nw_frag=no actions=load:5->NXM_NX_PKT_MARK[]": (
        "tcp,ip_frag=no,tcp_flags=+syn-ack",
        "load:0x5->pkt_mark[0..31]",
    ),
    "table=7,arp actions=learn(table=1,output:NXM_OF_IN_PORT[])": None,
}


@pytest.mark.parametrize("added", OF_OTHERS)
def test_flows_that_others_added_can_be_read(added: str, client: OpenFlow, ovs: OvsProcess) -> None:
    ovs.ofctl("add-flow", "br0", added)
    (found,) = client.dump()
    said = read_match(found.match), read_actions(found.instructions, {8: "EIGHT"})
    expected = OF_OTHERS[added]
    assert said == expected or (expected is None and all(said))
