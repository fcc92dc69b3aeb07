"""No packet crosses tenants: a real Open vSwitch and a plain model agree on every packet.

Nodes, namespaces and pods are generated, and what happens to them: some steps find the allocator
away, or a node late. The long run has more and longer ones (K8S_OVS_LONG=1). Mutants of the plugin
show that a wrong flow would be noticed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator

import pytest
from attrs import evolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.pipeline.tables import VERDICT
from k8s_ovs.plugin import Flow, Goto, SetField, View, hook, register
from k8s_ovs_multitenant import TENANT, MultiTenant
from k8s_ovs_testing.fabric import Fabric
from k8s_ovs_testing.model.tenants import Cluster, Step
from k8s_ovs_testing.ovs import OvsProcess

pytest_plugins = ["k8s_ovs_testing.fixtures"]

MODE = "k8s-ovs-multitenant"
MANAGER = PluginManager({MODE: MultiTenant()})
NODES, SLOTS = 3, 3
LONG = os.environ.get("K8S_OVS_LONG") == "1"

NAMES = ("red", "green", "blue", "kube-system")
names = st.sampled_from(NAMES)
pod_steps = st.tuples(st.just("pod"), st.integers(0, NODES - 1), st.integers(0, SLOTS - 1), names)
steps: st.SearchStrategy[Step] = st.one_of(
    st.tuples(st.just("join"), names, names),
    st.tuples(st.sampled_from(("isolate", "global")), names),
    st.tuples(st.just("join"), names, names),
    st.tuples(st.sampled_from(("create", "delete")), names),
    st.tuples(st.just("restart"), st.integers(0, NODES - 1)),
    pod_steps,
)
rounds = st.tuples(steps, st.booleans(), st.none() | st.integers(0, NODES - 1))


@pytest.fixture(scope="module")
def fabric(ovs_dummy_module: OvsProcess) -> Fabric:
    return Fabric(ovs_dummy_module, MANAGER.pipeline, NODES, SLOTS)


@settings(
    max_examples=1200 if LONG else 60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    size=st.integers(2, NODES),
    pods=st.lists(pod_steps, min_size=3, max_size=7),
    sequence=st.lists(rounds, min_size=1, max_size=6 if LONG else 4),
)
@pytest.mark.timeout(3600 if LONG else 120)
def test_open_vswitch_and_the_model_agree(
    fabric: Fabric, size: int, pods: list[Step], sequence: list[tuple[Step, bool, int | None]]
) -> None:
    cluster = Cluster(fabric, MANAGER, size)
    for step in pods:
        cluster.take(step)
    assert cluster.disagreements() == []
    for step, answered, behind in sequence:
        cluster.take(step, answered=answered, behind=behind)
        assert cluster.disagreements() == [], step


RecordChange = Callable[[Flow], Flow | None]


class Mutant(MultiTenant):
    """The plugin with a fault: each of its flows is as `change` makes it, or missing."""

    def __init__(self, change: RecordChange) -> None:
        self.change = change

    @hook
    def network_flows(self, view: View) -> Iterable[Flow]:
        return self._changed(super().network_flows(view))

    @hook
    def tenant_flows(self, view: View, tenant: int) -> Iterable[Flow]:
        return self._changed(super().tenant_flows(view, tenant))

    def _changed(self, flows: Iterable[Flow]) -> Iterator[Flow]:
        return (flow for flow in map(self.change, flows) if flow is not None)


def without(table: object, priority: int, **registers: int) -> RecordChange:
    """Drops flows of this place, all or those that match on these registers alone."""

    def change(flow: Flow) -> Flow | None:
        if (flow.table, flow.priority) != (table, priority):
            return flow
        found = {term.field.name: term.value for term in flow.match.terms}
        return None if registers.items() <= found.items() else flow

    return change


def writes_the_destination(flow: Flow) -> Flow:
    """The sender's tenant id is written into the register of the destination's."""
    actions = tuple(
        evolve(each, field=register("DST_TENANT")) if isinstance(each, SetField) else each
        for each in flow.actions
    )
    return evolve(flow, actions=actions)


def lets_all_pass(flow: Flow) -> Flow:
    """Who is apart is let through instead of dropped."""
    return evolve(flow, actions=(Goto("RETURN"),)) if flow.table is VERDICT else flow


def drops_all(flow: Flow) -> Flow:
    """Who is together is dropped instead of let through."""
    return evolve(flow, actions=()) if flow.table is VERDICT else flow


MUTANTS: dict[str, RecordChange] = {
    "VNIs are not translated into tenant ids": without(TENANT, 100),
    "numbers of strangers are taken for networks": without(TENANT, 1),
    "the node and the outside are strangers": without(TENANT, 200, reg0=0),
    "global ones reach nobody": without(VERDICT, 200, reg0=0),
    "global ones are reached by nobody": without(VERDICT, 200, reg1=0),
    "nobody reaches its own network": without(VERDICT, 100),
    "a register is another one": writes_the_destination,
    "a verdict lets all pass": lets_all_pass,
    "a verdict drops all": drops_all,
}

#: Two nodes; each namespace has pods on both, red on the first one alone.
STORY: tuple[Step, ...] = (
    *(("create", name) for name in NAMES),
    ("pod", 0, 0, "red"),
    ("pod", 0, 1, "green"),
    ("pod", 1, 0, "green"),
    ("pod", 1, 1, "blue"),
    ("pod", 0, 2, "kube-system"),
    ("join", "green", "red"),
    # Green is alone now in the network that has red's number.
    ("isolate", "red"),
    ("join", "blue", "red"),
    ("global", "green"),
)


def noticed(fabric: Fabric, manager: PluginManager) -> list[str]:
    """The first disagreements in the story."""
    cluster = Cluster(fabric, manager, 2)
    for step in STORY:
        cluster.take(step)
        if found := cluster.disagreements():
            return found
    return []


def test_of_the_plugin_itself_the_story_shows_no_disagreement(fabric: Fabric) -> None:
    assert noticed(fabric, MANAGER) == []


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_noticed(fabric: Fabric, name: str) -> None:
    found = noticed(fabric, PluginManager({MODE: Mutant(MUTANTS[name])}))
    assert found
    assert all("the model says" in text for text in found), "by its packets, not by a failure"


def test_a_restart_changes_no_flow(fabric: Fabric) -> None:
    cluster = Cluster(fabric, MANAGER, 2)
    for step in STORY:
        cluster.take(step)
    for number, node in enumerate(fabric.nodes[:2]):
        node.restart()
        local_node = {pod.port: pod for (at, _), pod in cluster.pods.items() if at == number}
        assert node.show(MANAGER, cluster.fake.snapshots(), local_node) == 0


def test_a_node_that_restarts_before_an_action_is_answered_keeps_tenants_as_they_were(
    fabric: Fabric,
) -> None:
    cluster = Cluster(fabric, MANAGER, 2)
    cluster.take(("pod", 0, 0, "red"))
    cluster.take(("pod", 1, 0, "red"))
    cluster.take(("isolate", "red"), answered=False)
    for node in (0, 1):
        cluster.take(("restart", node), answered=False)
        assert cluster.disagreements() == []
    cluster.take(("restart", 0))
    assert cluster.disagreements() == []
