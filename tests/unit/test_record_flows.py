"""Records and objects that have flows of their own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import pytest
from attrs import field, frozen
from hypothesis import given
from hypothesis import strategies as st

from k8s_ovs.errors import PluginError
from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.model.world import UNSYNCED, Slot
from k8s_ovs.plugin import (
    VERDICT,
    Flow,
    Goto,
    KubeResource,
    RecordKind,
    View,
    decode,
    encode,
    hook,
    ip,
    named,
)
from k8s_ovs.reconcile.reconciler import Reconciler
from k8s_ovs_subnet import SingleTenant
from k8s_ovs_testing.sample_node import SampleNode
from k8s_ovs_testing.world import sample_world

DOORS, RULES = "doors", "rules"


@frozen
class Door:
    """Who may pass."""

    source: str = named("Source")
    extra: Mapping[str, Any] = field(factory=dict)


class Doors:
    """Each record has a flow. asked: how often, by record."""

    def __init__(self) -> None:
        self.asked = Counter[str]()

    @hook
    def kinds(self) -> Iterable[RecordKind]:
        yield RecordKind(DOORS, partial(decode, Door), encode, is_subject=True)
        yield RecordKind("others", partial(decode, Door), encode)

    @hook
    def record_flows(self, view: View, kind: str, key: str) -> Iterable[Flow]:
        assert kind == DOORS
        self.asked[key] += 1
        door: Door = view.get(kind, key)
        yield Flow(VERDICT, 200, ip(ip_src=door.source), [Goto("RETURN")])


class Rules:
    """The same of objects."""

    @hook
    def resources(self) -> Iterable[KubeResource]:
        yield KubeResource(RULES, "/apis/x/v1/rules", lambda _, found: found["n"], is_subject=True)

    @hook
    def record_flows(self, view: View, kind: str, key: str) -> Iterable[Flow]:
        yield Flow(VERDICT, 200, ip(ip_src=f"10.0.0.{view.get(kind, key)}"), [Goto("RETURN")])


STEPS = st.lists(st.tuples(st.sampled_from("abc"), st.none() | st.integers(1, 3)), max_size=20)


@given(STEPS)
def test_each_record_has_its_flows_and_nobody_elses_are_asked_for(
    steps: list[tuple[str, int | None]],
) -> None:
    plugin = Doors()
    node = SampleNode(plugin, records={"others/a": '{"Source":"10.0.0.9"}'})
    there: dict[str, int] = {}
    for key, number in steps:
        plugin.asked.clear()
        if number is not None:
            there[key] = number
            node.put(f"{DOORS}/{key}", f'{{"Source":"10.0.0.{number}"}}')
        elif there.pop(key, None) is not None:
            node.delete(f"{DOORS}/{key}")
        flows = {each for each in node.flows("Doors") if "priority=200" in each}
        expected = {f"nw_src=10.0.0.{number} " for number in there.values()}
        assert len(flows) == len(expected)
        assert all(any(each in flow for flow in flows) for each in expected)
        assert plugin.asked == ({key: 1} if number is not None else {})
    assert node.failures == []


def test_a_record_that_is_invalid_keeps_its_last_valid_flows() -> None:
    node = SampleNode(Doors(), records={f"{DOORS}/a": '{"Source":"10.0.0.1"}'})
    before = node.flows("Doors")
    node.put(f"{DOORS}/a", '{"Source":1}')
    assert node.flows("Doors") == before
    node.delete(f"{DOORS}/a")
    assert node.flows("Doors") == []


def test_a_hook_that_raises_is_named_with_its_record() -> None:
    node = SampleNode(Doors(), records={f"{DOORS}/a": '{"Source":"nowhere"}'})
    (text,) = node.failures
    assert text.startswith("plugin Doors: record_flows of doors a: ")


def test_flows_of_objects_stay_until_these_have_been_listed() -> None:
    manager = PluginManager({"k8s-ovs-subnet": SingleTenant(), "rules": Rules()})
    world = sample_world(records={RULES: {"red/a": 1, "red/b": 2}})
    first = Reconciler(manager, world)
    first.compute()
    installed = [flow.cookie for flow, _ in first.desired.flows()]

    again = Reconciler(manager, sample_world(unsynced=[RULES]))
    again.compute()
    again.desired.found(installed)
    assert again.held == {"rules": {RULES}}
    assert not again.desired.delta()

    # It has been listed, and one of them is gone.
    again.update({(UNSYNCED, RULES): None, (RULES, "red/b"): Slot(2)})
    again.compute()
    assert again.held == {}
    assert (len(again.desired.delta().adds), len(again.desired.delta().deletes)) == (0, 1)


def test_flows_of_objects_go_once_none_is_listed() -> None:
    manager = PluginManager({"k8s-ovs-subnet": SingleTenant(), "rules": Rules()})
    reconciler = Reconciler(manager, sample_world(records={RULES: {"red/a": 1}}))
    reconciler.compute()
    installed = [flow.cookie for flow, _ in reconciler.desired.flows()]
    again = Reconciler(manager, sample_world(unsynced=[RULES]))
    again.compute()
    again.desired.found(installed)
    again.update({(UNSYNCED, RULES): None})
    again.compute()
    assert len(again.desired.delta().deletes) == 1


class Mute:
    @hook
    def kinds(self) -> Iterable[RecordKind]:
        yield RecordKind(DOORS, partial(decode, Door), encode, is_subject=True)


class NeverCalled:
    @hook
    def record_flows(self, view: View, kind: str, key: str) -> Iterable[Flow]:
        return []


@pytest.mark.parametrize(
    ("plugin", "said"),
    [
        (Mute(), r'"doors" has is_subject, expected the hook record_flows'),
        (NeverCalled(), r"record_flows is never called, expected a kind or a resource with is_sub"),
    ],
)
def test_a_hook_without_records_and_records_without_a_hook_are_refused(
    plugin: object, said: str
) -> None:
    with pytest.raises(PluginError, match=f"plugin acme: {said}"):
        PluginManager({"acme": plugin})


def test_what_not_each_node_sees_has_no_flows() -> None:
    with pytest.raises(ValueError, match=r"found is_subject and for_allocation, expected one"):
        RecordKind(DOORS, partial(decode, Door), encode, is_subject=True, for_allocation=True)
