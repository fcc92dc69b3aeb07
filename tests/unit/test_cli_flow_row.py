"""Flows as people read them, from a switch's own words and from what the plugins want."""

from __future__ import annotations

import json

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
from k8s_ovs.hooks.load import known_owners, load_plugins
from k8s_ovs.model.world import PODS, Slot
from k8s_ovs.ovs.openflow.client import InstalledFlow
from k8s_ovs.pipeline.action import Goto, Move, Note, Output, SetField
from k8s_ovs.pipeline.field import FIELDS, register
from k8s_ovs.pipeline.flow import Flow
from k8s_ovs.pipeline.match import ip
from k8s_ovs.pipeline.table import Pipeline
from k8s_ovs.pipeline.tables import CORE_TABLES, POD_IN
from k8s_ovs.pipeline.wire import encode
from k8s_ovs.reconcile.reconciler import Reconciler
from k8s_ovs_testing.world import sample_pod, sample_world

OWNERS = known_owners()
PIPELINE = Pipeline(CORE_TABLES)


def row(table: str, priority: int = 0, cookie: int = 0, owner: str = CORE) -> FlowRow:
    """A row of which only these fields matter."""
    return FlowRow(table, priority, owner, "", "drop", cookie)


def installed(flow: Flow, cookie: int) -> InstalledFlow:
    """The flow as a switch has it."""
    body = encode(flow, 0, PIPELINE).body[48:]
    length = int.from_bytes(body[2:4], "big")
    instructions = body[(length + 7) // 8 * 8 :]
    table = PIPELINE.number(flow.table.name)
    return InstalledFlow(table, cookie, flow.priority, 3, 294, body[4:length], instructions)


def test_an_installed_flow_gets_names_of_tables_ports_and_registers_and_its_owner() -> None:
    actions = [
        SetField(register("SRC_TENANT"), 2),
        Move(FIELDS["tun_id"], register("DST_TENANT")),
        Output(7),
        Note(b"k8s"),
        Goto("ROUTE"),
    ]
    flow = installed(Flow(POD_IN, 100, ip(in_port=7), actions), 0x722E5474F21D8D6E)
    tables = {PIPELINE.number(each.name): each.name for each in CORE_TABLES}
    assert installed_row(flow, OWNERS, tables, {7: "veth1"}) == FlowRow(
        table="POD_IN",
        priority=100,
        owner="k8s-ovs-subnet",
        match="ip,in_port=veth1",
        actions="set_field:0x2->SRC_TENANT,move:tun_id[0..31]->DST_TENANT[0..31],output:veth1,"
        "note:k8s,goto_table:ROUTE",
        cookie=0x722E5474F21D8D6E,
        packets=3,
        bytes=294,
    )


def test_an_installed_flow_of_nobody_shows_numbers() -> None:
    flow = InstalledFlow(77, 1, 32768, 0, 0, b"", b"")
    row = installed_row(flow, OWNERS, {}, {})
    assert (row.table, row.owner, row.match, row.actions) == ("77", "0x0000", "", "drop")


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
    assert {each.table for each in of_pod} == {"POD_IN", "NODE_IN", "ROUTE", "POD_OUT"}
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
