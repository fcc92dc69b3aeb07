"""Values check themselves when they are made: a wrong one says what was found and expected."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address
from typing import Any

import pytest

from k8s_ovs.model.pod import Rates
from k8s_ovs.pipeline.action import Ct, Goto, Meter, Move, Nat, Note, Output, SetField
from k8s_ovs.pipeline.flow import Flow
from k8s_ovs.pipeline.match import Match, Term, any_packet, ip
from k8s_ovs.pipeline.table import PipelineError, Table
from k8s_ovs.pipeline.tables import ROUTE
from k8s_ovs.plugin import FIELDS, KubeResource, RecordKind, register
from k8s_ovs.plugin.values import (
    Allocation,
    Check,
    Event,
    LinkSettings,
    Metric,
    Problem,
    Refuse,
    Wait,
    Write,
)

REG = register("SRC_TENANT")
LIST: Any = [1]
WRITE = Write("kind", "key", None, 0)


def kind(**changes: Any) -> RecordKind:
    return RecordKind(**{"name": "notes", "decode": str, "encode": bytes} | changes)


def table(**changes: Any) -> Table:
    return Table(**{"name": "AUDIT", "question": "Is it?"} | changes)


FLOWS: dict[str, tuple[Callable[[], Any], str]] = {
    "value": (lambda: SetField(REG, 1.5), "SetField.value: found 1.5, expected int"),
    "true is no number": (lambda: SetField(REG, True), "SetField.value: found True, expected int"),
    "field": (lambda: SetField("reg0", 1), "SetField.field: found 'reg0', expected Field"),
    "move": (lambda: Move(REG, None), "Move.target: found None, expected Field"),
    "port": (lambda: Output("eth0"), "Output.port: found 'eth0', expected int or Field"),
    "goto": (lambda: Goto(LIST), r"Goto.table: found \[1\], expected str"),
    "zone": (lambda: Ct(None), "Ct.zone: found None, expected int"),
    "exec": (lambda: Ct(1, True, "1"), "Ct.exec: found '1', expected a tuple of SetField or Move"),
    "nat": (lambda: Ct(1, nat=True), "Ct.nat: found True, expected Nat or None"),
    "nat of what is new": (
        lambda: Ct(1, nat=Nat(IPv4Address("1.2.3.4"))),
        "ct nat translates new connections without commit",
    ),
    "port of nat": (lambda: Nat(other_port=True), "nat gives another port to no source"),
    "source": (lambda: Nat(source="1.2.3.4"), "Nat.source: found '1.2.3.4', expected IPv4Address"),
    "commit": (lambda: Ct(1, 1), "Ct.commit: found 1, expected bool"),
    "rate": (lambda: Meter(1, 1e3, 1), "Meter.rate: found 1000.0, expected int"),
    "note": (lambda: Note("text"), "Note.data: found 'text', expected bytes"),
    "term": (lambda: Term(FIELDS["reg0"], "1"), "Term.value: found '1', expected int"),
    "terms": (lambda: Match("all"), "Match.terms: found 'all', expected a tuple of Term"),
    "flow table": (lambda: Flow("ROUTE", 1, ip()), "Flow.table: found 'ROUTE', expected Table"),
    "priority": (lambda: Flow(ROUTE, "1", ip()), "Flow.priority: found '1', expected int"),
    "match": (lambda: Flow(ROUTE, 1, {}), r"Flow.match: found \{\}, expected Match"),
    "actions": (lambda: Flow(ROUTE, 1, ip(), 7), "Flow.actions: found 7, expected a tuple"),
    "one action": (lambda: Flow(ROUTE, 1, ip(), Goto("SERVICE")), "Flow.actions: found Goto"),
    "no action": (lambda: Flow(ROUTE, 1, ip(), ["drop"]), "Flow.actions: found .'drop'"),
    "matched": (lambda: any_packet(reg1=1.5), "reg1=1.5 is not a value of this field"),
    "matched list": (lambda: any_packet(reg1=LIST), r"reg1=\[1\] is not a value of this field"),
    "matched none": (lambda: ip(ip_src=None), "ip_src=None is not a value of this field"),
    "table name": (lambda: table(name=LIST), r"Table.name: found \[1\], expected str"),
    "next": (lambda: table(next="ROUTE"), "Table.next: found 'ROUTE', expected a tuple of str"),
    "between": (lambda: table(between=("POD_IN",)), "between: found .*expected the names of two"),
    "between text": (lambda: table(between="AB"), "between: found 'AB', expected the names of two"),
}


@pytest.mark.parametrize("case", FLOWS)
def test_a_flow_of_wrong_types_is_refused_where_it_is_made(case: str) -> None:
    make, message = FLOWS[case]
    with pytest.raises(PipelineError, match=message):
        make()


OTHERS: dict[str, tuple[Callable[[], Any], str]] = {
    "rates": (lambda: LinkSettings(rates=None), "LinkSettings.rates: found None, expected Rates"),
    "mtu": (lambda: LinkSettings(mtu="1400"), "LinkSettings.mtu: found '1400', expected a whole"),
    "small mtu": (lambda: LinkSettings(mtu=-1), "found -1, expected a whole number, 68 to 65535"),
    "routes": (lambda: LinkSettings(routes=["10.0.0.0/8"]), "expected a tuple of IPv4Network"),
    "must hold": (lambda: LinkSettings(must_hold=1), "must_hold: found 1, expected bool"),
    "rate": (lambda: Rates(1.5), "Rates.to_pod: found 1.5, expected a whole number"),
    "negative rate": (lambda: Rates(None, -1), "Rates.from_pod: found -1, expected a whole"),
    "reason": (lambda: Refuse(None), "Refuse.reason: found None, expected str"),
    "wait": (lambda: Wait(LIST), r"Wait.reason: found \[1\], expected str"),
    "problem": (lambda: Problem("x", 7), "Problem.text: found 7, expected str"),
    "metric": (lambda: Metric("a", "b", "c"), "Metric.value: found 'c', expected float or int"),
    "labels": (lambda: Metric("a", "b", 1, {"a": 1}), "Metric.labels: found .*mapping of str"),
    "check": (lambda: Check("a", "yes", "b"), "Check.ok: found 'yes', expected bool"),
    "key": (lambda: Write("kind", 7, None, 0), "Write.key: found 7, expected str"),
    "revision": (lambda: Write("kind", "key", None, None), "Write.revision: found None"),
    "writes": (lambda: Allocation("none", "why"), "Allocation.writes: found 'none', expected"),
    "no write": (lambda: Allocation([None], "why"), "Allocation.writes: found .*tuple of Write"),
    "event": (lambda: Allocation([WRITE], "why", "x"), "Allocation.event: found 'x', expected"),
    "message": (lambda: Event("Node", "n", "R", 1), "Event.message: found 1, expected str"),
    "kind's name": (lambda: kind(name=LIST), r"RecordKind.name: found \[1\], expected a word"),
    "kind's slash": (lambda: kind(name="a/b"), "RecordKind.name: found 'a/b', expected a word"),
    "decode": (lambda: kind(decode=None), "RecordKind.decode: found None, expected a function"),
    "index": (lambda: kind(indexes={"a": 1}), "RecordKind.indexes: found {'a': 1}, expected func"),
    "path": (lambda: KubeResource("a", "pods", str), "KubeResource.path: found 'pods', expected"),
}


@pytest.mark.parametrize("case", OTHERS)
def test_other_values_of_wrong_types_are_refused_where_they_are_made(case: str) -> None:
    make, message = OTHERS[case]
    with pytest.raises((TypeError, ValueError), match=message):
        make()


def test_lists_and_generators_become_tuples() -> None:
    flow = Flow(ROUTE, 1, ip(), (each for each in [Goto("SERVICE")]))
    assert flow == Flow(ROUTE, 1, ip(), [Goto("SERVICE")])
    assert hash(flow) == hash(Flow(ROUTE, 1, ip(), (Goto("SERVICE"),)))
    assert Allocation([WRITE], "why").writes == (WRITE,)
    assert table(next=["ROUTE"]).next == ("ROUTE",)
