"""What a plugin has on the switch stays there until it can know what it wants.

Generated histories of a daemon that was started again are checked against a plain model: what is
said of each pod's port, and whether its hook looks at what has not been listed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.model.world import PODS, UNSYNCED, Changes, Slot, Tag, World
from k8s_ovs.pipeline.action import Meter
from k8s_ovs.pipeline.wire import WireFlow, owner_of
from k8s_ovs.plugin import (
    Flow,
    Goto,
    KubeResource,
    LinkSettings,
    Note,
    Pod,
    Rates,
    Table,
    View,
    hook,
    ip,
)
from k8s_ovs.reconcile.reconciler import Reconciler
from k8s_ovs_subnet import SingleTenant
from k8s_ovs_testing.world import sample_pod, sample_world

#: Of Kubernetes: what is said of a namespace. Of etcd: by which way a pod's hook finds that.
RULES, WAYS = "rules", "ways"
DOORS = Table("DOORS", "May this pod speak?", between=("POD_IN", "ROUTE"))


def rule_of(view: View, namespace: str) -> int:
    return int(view.get(RULES, namespace) or 0)


def indirectly(view: View, namespace: str) -> int:
    return view.ask(rule_of, namespace) % 2


def of_way(view: View, key: str) -> int:
    return rule_of(view, view.get(WAYS, key).partition(" ")[2])


def in_tag(view: View, namespace: str) -> int:
    return sum(view.having(RULES, "namespace", namespace).values())


LOOKS: Mapping[str, Callable[[View, str], int]] = {
    "get": rule_of,
    "all": lambda view, namespace: view.all(RULES).get(namespace, 0),
    "slots": lambda view, namespace: view.slots(RULES).get(namespace, Slot(0)).settled,
    "having": in_tag,
    "ask": lambda view, namespace: view.ask(rule_of, namespace),
    "deep": lambda view, namespace: view.ask(indirectly, namespace),
    "each": lambda view, namespace: view.each(rule_of, RULES).get(namespace, 0),
    "over": lambda view, namespace: sum(view.each(of_way, WAYS).values()),
}
#: These look at nothing that is to be listed, or know that it is.
OTHERS: Mapping[str, Callable[[View, str], int]] = {
    "": lambda view, namespace: 7,
    "closed": lambda view, namespace: 0,
    "minds": lambda view, namespace: rule_of(view, namespace) if view.synced(RULES) else 8,
    "connected": lambda view, namespace: rule_of(view, namespace) or view.connected(RULES) or 9,
}


class Doors:
    """A flow for each pod whose rule is not 0."""

    @hook
    def tables(self) -> Iterable[Table]:
        return [DOORS]

    @hook
    def resources(self) -> Iterable[KubeResource]:
        return [KubeResource(RULES, "/apis/acme.example/v1/rules", lambda _, found: found)]

    @hook
    def pod_flows(self, view: View, pod: Pod) -> Iterable[Flow]:
        way = (view.get(WAYS, pod.name) or "").partition(" ")[0]
        if rule := (LOOKS | OTHERS)[way](view, pod.namespace):
            actions = [Note(bytes([rule])), Goto("ROUTE")]
            yield Flow(DOORS, 100, ip(in_port=pod.ofport), actions)


MANAGER = PluginManager({"mode": SingleTenant(), "doors": Doors()})


class Switch:
    """A switch that does what it is told, flows by their match, and the daemon that tells it."""

    def __init__(self) -> None:
        self.flows: dict[bytes, WireFlow] = {}

    def start(self, manager: PluginManager, world: World) -> Reconciler:
        self.reconciler = Reconciler(manager, world)
        self.look()
        return self.reconciler

    def look(self) -> None:
        self.reconciler.desired.found([each.cookie for each in self.flows.values()])

    def commit(self) -> None:
        self.reconciler.compute()
        delta = self.reconciler.desired.delta()
        self.reconciler.desired.committed(delta)
        self.flows = {k: f for k, f in self.flows.items() if f.cookie not in delta.deletes}
        self.flows |= {flow.key: flow for flow in delta.adds}


def told(flows: Iterable[WireFlow]) -> set[str]:
    return {str(flow.flow) for flow in flows}


def doors(switch: Switch) -> dict[int, int]:
    """What is said of which port, by the flows on the switch."""
    found = {}
    for each in switch.flows.values():
        match each.flow:
            case Flow(table, 100, match, (Note(data), _)) if table == DOORS:
                found[match.terms[0].value] = data[0]
    return found


def of_others(flows: Iterable[WireFlow]) -> set[str]:
    return told(flow for flow in flows if owner_of(flow.cookie) != MANAGER.owner_bits("doors"))


def anew(world: World) -> set[str]:
    """What the others' flows are, where all is listed that ever will be."""
    reconciler = Reconciler(MANAGER, world.changed({(UNSYNCED, RULES): None}))
    reconciler.compute()
    return of_others(flow for flow, _ in reconciler.desired.flows())


def rules(values: Mapping[str, int]) -> dict[tuple[str, str], Slot | None]:
    return {
        (RULES, name): Slot(value, tags=(Tag("namespace", name),)) for name, value in values.items()
    }


def way_of(world: World, pod: Pod) -> str:
    return str(world.settled(WAYS).get(pod.name, "")).partition(" ")[0]


def waiting(world: World) -> bool:
    """Whether there is a pod whose hook looks at what is not listed."""
    ways = {way_of(world, pod) for pod in world.settled(PODS).values()}
    return bool(world.of(UNSYNCED)) and not ways.isdisjoint(LOOKS)


def judged(world: World) -> dict[int, int]:
    """By port, what is said of the pods whose hooks know."""
    known, listed = world.settled(RULES), not world.of(UNSYNCED)
    found = {}
    for pod in world.settled(PODS).values():
        way, rule = way_of(world, pod), known.get(pod.namespace, 0)
        if way in OTHERS or listed:
            namespaces = [each.partition(" ")[2] for each in world.settled(WAYS).values()]
            said = {
                "deep": rule % 2,
                "over": sum(known.get(each, 0) for each in namespaces),
                "": 7,
                "closed": 0,
                "minds": rule if listed else 8,
                "connected": rule or 9,
            }
            found[pod.ofport] = said.get(way, rule)
    return found


NAMESPACES = ("red", "blue")
numbers = st.integers(1, 4)
namespaces = st.sampled_from(NAMESPACES)
ways = st.tuples(st.sampled_from([*LOOKS, *OTHERS]), namespaces).map(" ".join)
values = st.dictionaries(namespaces, st.integers(0, 3))
steps = st.one_of(
    st.tuples(st.just("way"), numbers, ways),
    st.tuples(st.just("pod"), numbers, st.none() | namespaces),
    st.tuples(st.just("rules"), values),
    st.tuples(st.just("list")),
    st.tuples(st.just("look")),
)


def pods_of(drawn: Mapping[int, str]) -> list[Pod]:
    return [sample_pod(number, namespace) for number, namespace in drawn.items()]


class History:
    """A daemon that was started again, and the model of what must be on its switch. rules: what
    the API server would list."""

    def __init__(
        self, before: Mapping[str, int], ways: Mapping[int, str], pods: Mapping[int, str]
    ) -> None:
        self.rules = dict(before)
        of_pods = {f"pod{number}": way for number, way in ways.items()}
        world = sample_world(pods=pods_of(pods), records={WAYS: of_pods})
        self.switch = Switch()
        self.switch.start(MANAGER, world.changed(rules(before)))
        self.switch.commit()
        self.stay = doors(self.switch)
        self.reconciler = self.switch.start(MANAGER, world.changed({(UNSYNCED, RULES): Slot(True)}))
        self.check()

    def take(self, step: tuple[Any, ...]) -> None:
        match step:
            case "way", number, way:
                self.update({(WAYS, f"pod{number}"): Slot(way)})
            case "pod", number, namespace:
                pod = sample_pod(number, namespace or "")
                self.update({(PODS, pod.port): Slot(pod) if namespace else None})
            case "rules", values:
                self.rules = values
                if not self.reconciler.world.of(UNSYNCED):
                    self.list()
            case ("list",):
                self.list()
            case _:
                self.switch.look()
        self.check()

    def update(self, changes: Changes) -> None:
        self.reconciler.update(changes)

    def list(self) -> None:
        gone: Changes = {(RULES, name): None for name in self.reconciler.world.of(RULES)}
        self.update({**gone, **rules(self.rules), (UNSYNCED, RULES): None})

    def check(self) -> None:
        self.switch.commit()
        world = self.reconciler.world
        said = {port: rule for port, rule in judged(world).items() if rule}
        self.stay = {**self.stay, **said} if waiting(world) else said
        assert doors(self.switch) == self.stay
        assert of_others(self.switch.flows.values()) == anew(world)
        held = {"doors": frozenset({RULES})} if waiting(world) else {}
        assert self.reconciler.held == held


@given(
    before=values,
    ways=st.dictionaries(numbers, ways),
    pods=st.dictionaries(numbers, namespaces),
    history=st.lists(steps, max_size=10),
)
def test_what_cannot_be_judged_stays_and_all_else_is_as_it_should_be(
    before: dict[str, int],
    ways: dict[int, str],
    pods: dict[int, str],
    history: list[tuple[Any, ...]],
) -> None:
    daemon = History(before, ways, pods)
    for step in history:
        daemon.take(step)
    daemon.take(("list",))
    assert daemon.reconciler.held == {}


@pytest.mark.parametrize("way", LOOKS)
def test_an_allowed_pod_stays_allowed_until_the_list_says_otherwise(way: str) -> None:
    daemon = History({"red": 1}, {1: f"{way} red"}, {1: "red"})
    assert doors(daemon.switch) == {101: 1}
    daemon.take(("rules", {}))
    assert doors(daemon.switch) == {101: 1}
    daemon.take(("list",))
    assert doors(daemon.switch) == {}


def test_tables_of_other_numbers_keep_nothing() -> None:
    daemon = History({"red": 1}, {1: "get red"}, {1: "red"})
    more = PluginManager({"mode": SingleTenant(), "before": OtherTable(), "doors": Doors()})
    daemon.switch.start(more, daemon.reconciler.world)
    daemon.switch.commit()
    assert doors(daemon.switch) == {}


class OtherTable:
    @hook
    def tables(self) -> Iterable[Table]:
        return [evolve(DOORS, name="OTHER")]


class ByRule:
    """A mode that finds tenants in what has to be listed."""

    @hook
    def resources(self) -> Iterable[KubeResource]:
        return [KubeResource(RULES, "/apis/acme.example/v1/rules", lambda _, found: found)]

    @hook
    def tenant_of(self, view: View, pod: Pod) -> int:
        return int(view.all(RULES)[pod.namespace])


def test_a_pod_whose_tenant_is_not_known_yet_keeps_all_its_flows() -> None:
    manager, switch = PluginManager({"mode": ByRule()}), Switch()
    world = sample_world(pods=pods_of({1: "red"}))
    switch.start(manager, world.changed(rules({"red": 3})))
    switch.commit()
    before = dict(switch.flows)
    reconciler = switch.start(manager, world.changed({(UNSYNCED, RULES): Slot(True)}))
    with capture_logs() as lines:
        switch.commit()
    assert (switch.flows, lines) == (before, [])
    assert reconciler.held.keys() == {"mode", "core", "node-subnets"}
    assert reconciler.failures == []
    reconciler.update({**rules({"red": 3}), (UNSYNCED, RULES): None})
    switch.commit()
    assert (switch.flows, reconciler.held) == (before, {})


class Limits:
    """Rates that somebody says in Kubernetes."""

    @hook
    def pod_link(self, view: View, pod: Pod) -> LinkSettings:
        return LinkSettings(rates=Rates(rule_of(view, pod.namespace) or None))


def test_a_pods_rates_stay_as_they_are_too() -> None:
    manager = PluginManager({"mode": SingleTenant(), "limits": Limits()})
    pod = evolve(sample_pod(1, "red"), rates=Rates(5_000))
    reconciler = Reconciler(manager, sample_world(pods=[pod], unsynced=[RULES]))
    reconciler.compute()
    assert reconciler.links.take_changed()[pod.port].rates == Rates(5_000)
    reconciler.update({**rules({"red": 6_000}), (UNSYNCED, RULES): None})
    reconciler.compute()
    assert reconciler.links.take_changed()[pod.port].rates == Rates(6_000)


def test_meters_stay_with_the_flows_that_may_name_them() -> None:
    reconciler = Switch().start(MANAGER, sample_world())
    reconciler.compute()
    there = [flow.cookie for flow, _ in reconciler.desired.flows()]
    kept = MANAGER.owner_bits("doors") << 48 | 5
    ends = there[:3]
    reconciler.desired.freeze([MANAGER.owner_bits("doors")], ends)
    reconciler.desired.found([*there, kept, 5], {7: Meter(7, 10, 100)})
    delta = reconciler.desired.delta()
    assert (delta.deletes, delta.old_meters) == ((5,), ())
    reconciler.desired.committed(delta)
    reconciler.desired.freeze([], [])
    delta = reconciler.desired.delta()
    assert (delta.deletes, delta.old_meters) == ((kept,), (7,))
