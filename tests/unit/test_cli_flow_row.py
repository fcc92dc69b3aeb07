"""Flows as people read them, from a switch's own words and from what the plugins want."""

from __future__ import annotations

import json

import pytest

from k8s_ovs.builtin import CORE
from k8s_ovs.cli.host.flow_row import (
    FlowRow,
    as_json,
    desired_row,
    difference,
    in_packet_order,
    installed_row,
    select,
)
from k8s_ovs.errors import SwitchError
from k8s_ovs.hooks.load import known_owners, load_plugins
from k8s_ovs.model.world import PODS, Slot
from k8s_ovs.ovs.openflow.flow_dump import DumpedFlow, parse_dump
from k8s_ovs.pipeline.table import Pipeline
from k8s_ovs.pipeline.tables import CORE_TABLES
from k8s_ovs.reconcile.reconciler import Reconciler
from k8s_ovs_testing.world import sample_pod, sample_world

DUMP = """
 cookie=0x722e5474f21d8d6e, duration=39.9s, table="POD_IN", n_packets=3, n_bytes=294, \
priority=100,ip,in_port=veth1 actions=set_field:0x2->reg0,\
move:NXM_NX_TUN_ID[0..31]->NXM_NX_REG1[],goto_table:"POD_OUT"
 cookie=0x1, duration=1s, table=3, n_packets=0, n_bytes=0, idle_timeout=5, hard_age=1, \
tcp,tp_dst=80 actions=drop
 cookie=0x2, duration=1.5s, table=NOTE, n_packets=0, n_bytes=0, priority=0 \
actions=note:6b.38.73.00.00
"""
OWNERS = known_owners()


def row(table: str, priority: int = 0, cookie: int = 0, owner: str = CORE) -> FlowRow:
    """A row of which only these fields matter."""
    return FlowRow(table, priority, owner, "", "drop", cookie)


def test_a_dump_is_read_with_priority_counters_and_without_quotes() -> None:
    first, second, third = parse_dump(DUMP)
    assert first == DumpedFlow(
        cookie=0x722E5474F21D8D6E,
        table="POD_IN",
        priority=100,
        packets=3,
        bytes=294,
        match="ip,in_port=veth1",
        actions="set_field:0x2->reg0,move:NXM_NX_TUN_ID[0..31]->NXM_NX_REG1[],goto_table:POD_OUT",
    )
    assert (second.table, second.priority, second.match) == ("3", 32768, "tcp,tp_dst=80")
    assert (third.priority, third.match) == (0, "")


def test_a_line_that_is_no_flow_is_an_error_that_shows_it() -> None:
    with pytest.raises(SwitchError, match="a flow was expected, found: flood actions=what"):
        parse_dump("flood actions=what")


def test_an_installed_flow_gets_names_of_registers_and_its_owner() -> None:
    first, second, third = (installed_row(flow, OWNERS) for flow in parse_dump(DUMP))
    assert first.owner == "k8s-ovs-subnet"
    assert first.actions == (
        "set_field:0x2->SRC_TENANT,move:tun_id[0..31]->DST_TENANT[],goto_table:POD_OUT"
    )
    assert second.owner == "0x0000"
    assert third.actions == "note:k8s"


def test_a_desired_flow_says_who_wants_it_by_the_names_that_people_use() -> None:
    manager = load_plugins("k8s-ovs-subnet")
    pod = sample_pod(1)
    world = sample_world().changed({(PODS, pod.port): Slot(pod)}, 0)
    reconciler = Reconciler(manager, world)
    reconciler.compute()
    rows = [
        desired_row(flow, held, manager.pipeline, world, {pod.ofport: "veth1", 1: "vxlan0"})
        for flow, held in reconciler.desired.flows()
    ]
    of_pod = [each for each in rows if each.wanted_by == (f"pod {pod.identity}",)]
    assert {each.table for each in of_pod} == {"POD_IN", "NODE_IN", "POD_OUT"}
    assert any("in_port=veth1" in each.match for each in of_pod)
    remote = next(each for each in rows if each.table == "REMOTE" and each.priority)
    assert remote.wanted_by == ("host 192.168.0.12",)
    assert remote.actions.endswith("output:vxlan0")
    note = next(each for each in rows if each.table == "NOTE" and each.priority)
    assert json.loads(note.actions[note.actions.index("{") :])["Name"] == "k8ssdn"


def test_the_difference_is_what_the_daemon_would_add_and_delete() -> None:
    installed = [row("ARP", cookie=1), row("ROUTE", cookie=2)]
    desired = [row("ROUTE", cookie=2), row("NOTE", cookie=3)]
    changes = {(each.change, each.cookie) for each in difference(installed, desired)}
    assert changes == {("delete", 1), ("add", 3)}


def test_rows_are_ordered_as_a_packet_meets_them_and_unknown_tables_last() -> None:
    rows = [row("3", 9), row("NOTE"), row("CLASSIFY", 1), row("ARP"), row("CLASSIFY", 2)]
    ordered = in_packet_order(rows, Pipeline(CORE_TABLES))
    assert [(each.table, each.priority) for each in ordered] == [
        ("CLASSIFY", 2),
        ("CLASSIFY", 1),
        ("ARP", 0),
        ("NOTE", 0),
        ("3", 9),
    ]


def test_rows_are_chosen_by_table_and_owner_in_any_case() -> None:
    rows = [row("ARP"), row("ARP", owner="acme"), row("NOTE")]
    assert select(rows, "arp", None) == rows[:2]
    assert select(rows, None, "CORE") == [rows[0], rows[2]]
    assert select(rows, "ARP", "acme") == [rows[1]]


def test_json_leaves_out_what_is_not_known() -> None:
    assert as_json(row("ARP", cookie=255)) == {
        "table": "ARP",
        "priority": 0,
        "owner": "core",
        "actions": "drop",
        "cookie": "0xff",
    }
