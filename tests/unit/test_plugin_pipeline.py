"""What plugins add to the pipeline: tables, and registers, bits and zones of their own."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from tests.unit.test_plugin_manager import Auditor, Raising, manager, view

from k8s_ovs.builtin import CORE
from k8s_ovs.errors import PluginError
from k8s_ovs.pipeline.tables import POD_IN
from k8s_ovs.plugin import Goto, Subfield, Table, Zone, hook


class Tabled:
    def __init__(self, *tables: object) -> None:
        self.declared = tables

    @hook
    def tables(self) -> Iterable[Table]:
        return self.declared  # type: ignore[return-value]  # what is tested


def between(name: str, before: str, after: str) -> Table:
    return Table(name, "Is it?", between=(before, after))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (Table("AUDIT", "Is it?"), "table AUDIT: found no between, expected the names"),
        (between("AUDIT", "POD_IN", "ROUT"), "table AUDIT: no table named ROUT to be next to"),
        (between("ROUTE", "POD_IN", "ROUTE"), "table ROUTE: there is one of this name already"),
        (between("AUDIT", "POD_IN", "REMOTE"), "table AUDIT: no packet goes from POD_IN to REMOTE"),
        (between("AUDIT", "ROUTE", "POD_IN"), "table AUDIT: no packet goes from ROUTE to POD_IN"),
        (
            Table("AUDIT", "Is it?", ("NOWHERE",), ("POD_IN", "ROUTE")),
            "table AUDIT goes to undeclared table NOWHERE",
        ),
        (
            Table("AUDIT", "Is it?", ("CLASSIFY",), ("POD_IN", "ROUTE")),
            "table AUDIT goes back to CLASSIFY",
        ),
        ("AUDIT", "tables of this plugin: returned 'AUDIT', expected Table"),
    ],
)
def test_a_table_that_does_not_fit_is_refused_with_its_plugin(table: object, message: str) -> None:
    with pytest.raises(PluginError, match=f"^plugin acme-1: {message}"):
        manager(Raising(), Tabled(table))


def test_tables_between_the_same_two_are_visited_in_the_order_of_their_plugins() -> None:
    first, second = between("FIRST", "POD_IN", "ROUTE"), between("SECOND", "POD_IN", "ROUTE")
    pipeline = manager(Tabled(first), Tabled(second)).pipeline
    assert pipeline.name(pipeline.hop("POD_IN", "ROUTE")) == "FIRST"
    assert pipeline.name(pipeline.hop("FIRST", "ROUTE")) == "SECOND"
    assert pipeline.name(pipeline.hop("SECOND", "ROUTE")) == "ROUTE"
    assert pipeline.name(pipeline.hop("NODE_IN", "ROUTE")) == "ROUTE"
    order = [table.name for table in pipeline.tables]
    assert order.index("POD_IN") < order.index("FIRST") < order.index("SECOND")
    assert order.index("SECOND") < order.index("ROUTE")


def test_nine_tables_fit_between_two_neighbours_and_the_tenth_says_so() -> None:
    nine = [between(f"T{number}", "POD_OUT", "VERDICT") for number in range(9)]
    assert len(manager(Tabled(*nine)).pipeline.tables) == 13 + 9
    with pytest.raises(PluginError, match="table T9: no number is free between T8 and VERDICT"):
        manager(Tabled(*nine, between("T9", "POD_OUT", "VERDICT")))


def test_a_flow_of_a_table_that_nobody_declared_is_refused_by_name() -> None:
    pipeline = manager().pipeline
    with pytest.raises(ValueError, match="no table named AUDIT is in the pipeline"):
        pipeline.number("AUDIT")
    with pytest.raises(ValueError, match="no table named AUDIT is in the pipeline"):
        pipeline.hop(POD_IN.name, "AUDIT")


class Reserving:
    """A plugin that has something of packets and connections for itself."""

    def __init__(self, *wanted: Subfield | Zone) -> None:
        self.wanted = wanted

    @hook
    def reservations(self) -> Iterable[Subfield | Zone]:
        return self.wanted


def test_plugins_have_registers_bits_and_zones_of_their_own() -> None:
    low, high = Subfield("LOW", "ct_mark", 1, 4), Subfield("HIGH", "ct_mark", 5)
    manager(
        Reserving(Subfield("RULE", "reg8"), low, Zone("POLICY", 7)),
        Reserving(Subfield("OTHER", "reg9"), high, Zone("EGRESS", 8), Subfield("ID", "ct_label")),
    )


TAKEN = {
    "register of the core's": (
        Subfield("RULE", "reg2", 0, 8),
        r"plugin acme-1: RULE is bits 0 to 7 of reg2, and plugin core has OUT_PORT, bits 0 to 31",
    ),
    "zone of pods": (Zone("MINE", 27448), "plugin core has CONNECTIONS, the zone 27448"),
    "zone of the kernel": (Zone("MINE", 0), "plugin core has KERNEL, the zone 0"),
    "mark of services": (Subfield("MINE", "ct_mark"), "core has SERVICE_MARK, bits 0 to 0 of ct_"),
    "marks of kube-proxy": (Subfield("MINE", "pkt_mark", 14, 1), "core has KUBE_PROXY_MARKS"),
    "register of another": (Subfield("MINE", "reg8", 31), "plugin acme-0 has RULE, bits 0 to 31"),
    "zone of another": (Zone("MINE", 7), "plugin acme-1: MINE is the zone 7, and plugin acme-0"),
    "name of another": (Subfield("POLICY", "reg9"), "and plugin acme-0 has POLICY, the zone 7"),
}


@pytest.mark.parametrize("case", TAKEN)
def test_what_another_has_is_refused(case: str) -> None:
    wanted, complaint = TAKEN[case]
    known = Reserving(Subfield("RULE", "reg8"), Zone("POLICY", 7))
    with pytest.raises(PluginError, match=f"{complaint}.*"):
        manager(known, Reserving(wanted))


FIRST = Table("FIRST", "Is it?", next=("LATER",), between=("POD_IN", "ROUTE"))
LATER = Table("LATER", "And then?", between=("FIRST", "ROUTE"))


@pytest.mark.parametrize("tables", [(FIRST, LATER), (LATER, FIRST)])
def test_a_table_may_go_to_a_later_one_of_the_same_plugin(tables: tuple[Table, ...]) -> None:
    pipeline = manager(Tabled(*tables)).pipeline
    assert pipeline.number("POD_IN") < pipeline.number("FIRST") < pipeline.number("LATER")
    assert pipeline.hop("FIRST", "LATER") == pipeline.number("LATER")
    # It names it, so its flows choose.
    assert pipeline.hop("FIRST", "ROUTE") == pipeline.number("ROUTE")
    assert pipeline.hop("LATER", "ROUTE") == pipeline.number("ROUTE")


def test_the_next_plugins_table_is_visited_on_each_way() -> None:
    pipeline = manager(Tabled(FIRST, LATER), Auditor()).pipeline
    audit = pipeline.number("AUDIT")
    assert audit > pipeline.number("LATER")
    assert pipeline.hop("FIRST", "ROUTE") == pipeline.hop("LATER", "ROUTE") == audit


def test_a_table_may_be_next_to_a_later_one_of_the_same_plugin() -> None:
    later = Table("LATER", "And then?", between=("FIRST", "ROUTE"))
    first = Table("FIRST", "Is it?", between=("POD_IN", "ROUTE"))
    pipeline = manager(Tabled(later, first)).pipeline
    assert pipeline.hop("POD_IN", "ROUTE") == pipeline.number("FIRST")
    assert pipeline.hop("FIRST", "ROUTE") == pipeline.number("LATER")


def test_a_table_next_to_none_is_the_plugins_fault() -> None:
    lost = Table("LOST", "Where?", between=("NOWHERE", "ROUTE"))
    with pytest.raises(PluginError, match="plugin acme-1: table LOST: no table named NOWHERE to"):
        manager(Auditor(), Tabled(lost))


def test_what_matches_no_flow_of_a_table_goes_on_or_is_dropped() -> None:
    lets = Table("LETS", "Is it?", between=("POD_IN", "ROUTE"))
    drops = Table("DROPS", "Is it?", between=("POD_IN", "ROUTE"), otherwise="drop")
    running = manager(Tabled(lets, drops))
    flows = dict(running.network_flows(view(running)))[CORE]
    last = {flow.table.name: flow.actions for flow in flows if flow.priority == 0}  # type: ignore[union-attr]  # no Failure
    assert (last["LETS"], last["DROPS"]) == ((Goto("ROUTE"),), ())
