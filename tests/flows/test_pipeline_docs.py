"""docs/pipeline.md says what a real Open vSwitch does with the flows that it shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.pipeline.table import Table
from k8s_ovs.pipeline.tables import CORE_TABLES
from k8s_ovs.pipeline.text import flow_text
from k8s_ovs_subnet import SingleTenant
from k8s_ovs_testing.bridge import TracedBridge
from k8s_ovs_testing.ovs import OvsProcess
from k8s_ovs_testing.world import sample_world

pytest_plugins = ["k8s_ovs_testing.fixtures"]

TEXT = (Path(__file__).parents[2] / "docs/pipeline.md").read_text()
#: Columns of a walk-through: who to whom, packet, tables, end.
WALKS = re.findall(r"^\| ([^|]+) \| `([^|]+)` \| ([A-Z_ ]+) \| ([^|]+) \|$", TEXT, re.MULTILINE)
CODE = re.compile(r"```\n(.*?)```", re.DOTALL)
MANAGER = PluginManager({"k8s-ovs-subnet": SingleTenant()})


@pytest.fixture(scope="module")
def bridge(ovs_dummy_module: OvsProcess) -> TracedBridge:
    bridge = TracedBridge(ovs_dummy_module, MANAGER)
    bridge.show(sample_world())
    return bridge


def section(table: str) -> str:
    """The text under the heading of a table."""
    return TEXT.partition(f"\n## {table}\n")[2].partition("\n## ")[0]


def shown_flows(text: str) -> list[str]:
    """Flows of the code in `text`, each as one line."""
    lines = "\n".join(CODE.findall(text))
    return re.sub(r",\n +", ",", lines).replace("\n    actions", " actions").split("\n")[:-1]


@pytest.mark.parametrize("walk", WALKS, ids=[walk[0] for walk in WALKS])
def test_a_packet_goes_the_way_that_is_described(
    bridge: TracedBridge, walk: tuple[str, str, str, str]
) -> None:
    _, packet, tables, end = walk
    traced = bridge.trace(packet)
    assert " ".join(traced.tables) == tables
    assert end == (f"port {traced.sent_to}" if traced.ports else "dropped")


def test_the_walks_visit_every_table_that_packets_meet() -> None:
    visited = {table for _, _, tables, _ in WALKS for table in tables.split()}
    assert visited == {table.name for table in CORE_TABLES} - {"NOTE"}


@pytest.mark.parametrize("table", CORE_TABLES, ids=lambda table: table.name)
def test_the_flows_that_are_shown_are_flows_of_that_table(
    bridge: TracedBridge, table: Table
) -> None:
    real = {
        flow_text(flow.flow, MANAGER.pipeline, human=True)
        for flow, _ in bridge.reconciler.desired.flows()
        if flow.flow.table == table
    }
    shown = shown_flows(section(table.name))
    assert shown or table.name == "NOTE"
    assert set(shown) <= real
