"""A plugin raises, two want the same flow, or the switch refuses one: what stays and is said?"""

from __future__ import annotations

import time
from collections.abc import Iterable

import pytest
from attrs import evolve
from tests.unit.reconciling import (
    NOTES,
    TENANTS,
    Noting,
    held,
    pod_change,
    record_change,
    started,
)

from k8s_ovs.builtin import CORE
from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.model.subnet import HostSubnet
from k8s_ovs.model.world import PODS, SUBNETS, Slot
from k8s_ovs.pipeline.tables import REMOTE, ROUTE
from k8s_ovs.plugin import Conjunction, Flow, Pod, Table, View, hook, ip
from k8s_ovs.reconcile.reconciler import Reconciler
from k8s_ovs.reconcile.subject import NODE, POD, TENANT, FlowOwner, Subject
from k8s_ovs_subnet import SingleTenant
from k8s_ovs_testing.world import sample_host, sample_pod, sample_world


def test_a_plugin_that_raises_keeps_its_last_valid_flows_is_named_and_recovers() -> None:
    noting = Noting()
    reconciler = started(noting)
    reconciler.update(record_change(NOTES, "pod1", "10.1.0.0/16"))
    reconciler.compute()
    good = held(reconciler)
    own = FlowOwner("noting", Subject(POD, "veth1"))
    assert own in good

    reconciler.update(record_change(NOTES, "pod1", "raise"))
    (text,) = reconciler.compute()
    assert text.startswith(
        "plugin noting: pod_flows of pod default/pod1: RuntimeError('cannot read this note'), "
    )
    assert reconciler.failures == [text]
    assert held(reconciler)[own] == good[own]

    # It is told once, and the others follow what changes.
    reconciler.update({(PODS, "veth1"): Slot(evolve(sample_pod(1), ofport=150))})
    assert reconciler.compute() == []
    core = FlowOwner(CORE, Subject(POD, "veth1"))
    assert held(reconciler)[core] != good[core]
    assert held(reconciler)[own] == good[own]

    reconciler.update(record_change(NOTES, "pod1", "10.2.0.0/16"))
    assert reconciler.compute() == []
    assert reconciler.failures == []
    assert held(reconciler)[own] != good[own]


def test_a_pod_that_goes_takes_its_failure_and_its_flows_along() -> None:
    reconciler = started(Noting())
    reconciler.update(record_change(NOTES, "pod1", "10.1.0.0/16"))
    reconciler.compute()
    reconciler.update(record_change(NOTES, "pod1", "raise"))
    assert len(reconciler.compute()) == 1
    reconciler.update(pod_change(1, None))
    assert reconciler.compute() == []
    assert reconciler.failures == []
    assert not any(owner.subject == Subject(POD, "veth1") for owner in held(reconciler))


def test_a_mode_that_raises_leaves_the_pods_all_their_flows() -> None:
    reconciler = started(Noting())
    good = held(reconciler)
    reconciler.update(record_change(TENANTS, "default", 13))
    texts = reconciler.compute()
    assert len(texts) == 2
    assert "plugin mode: tenant_of" in texts[0]
    assert "13 is no good number" in texts[0]
    assert held(reconciler) == good
    reconciler.update(record_change(TENANTS, "default", 8))
    assert reconciler.compute() == []
    assert reconciler.failures == []
    assert FlowOwner("mode", Subject(TENANT, "8")) in held(reconciler)
    assert FlowOwner("mode", Subject(TENANT, "7")) not in held(reconciler)


class Strange:
    """Returns a flow that no table of the pipeline can take."""

    @hook
    def pod_flows(self, view: View, pod: Pod) -> Iterable[Flow]:
        nowhere = Table("NOWHERE", "Is this a table?")
        yield Flow(ROUTE, 1, ip(ip_dst=pod.ip))
        yield Flow(nowhere, 1, ip())


def test_a_flow_that_cannot_be_written_is_a_failure_of_its_plugin() -> None:
    manager = PluginManager({"k8s-ovs-subnet": SingleTenant(), "strange": Strange()})
    reconciler = Reconciler(manager, sample_world())
    told = reconciler.compute()
    for pod, text in zip(("pod1", "pod2"), told, strict=True):
        assert text.startswith(
            f"plugin strange: pod_flows of pod default/{pod}: no table named NOWHERE is in the "
            "pipeline, expected one of CLASSIFY, "
        )
    assert not any(owner.plugin == "strange" for owner in held(reconciler))


class Diverting:
    """Wants the same match as the core."""

    @hook
    def node_flows(self, view: View, node: HostSubnet) -> Iterable[Flow]:
        if node.subnet and view.get(NOTES, "divert"):
            yield Flow(REMOTE, 100, ip(ip_dst=node.subnet))
        yield Flow(ROUTE, 1, ip(ip_src=node.host_ip))


def test_a_conflict_names_both_and_ends_when_the_other_flow_goes() -> None:
    world = sample_world(records={NOTES: {"divert": "yes"}}, hosts=[sample_host(2)])
    manager = PluginManager({"k8s-ovs-subnet": SingleTenant(), "diverting": Diverting()})
    reconciler = Reconciler(manager, world)
    (text,) = reconciler.compute()
    assert text.startswith(
        "plugin diverting: node 192.168.0.12: a flow has the same table, priority and match as "
        "one of core for node 192.168.0.12: the latter is kept, expected another priority or match"
    )
    assert len(held(reconciler)[FlowOwner("diverting", Subject(NODE, "192.168.0.12"))]) == 1
    reconciler.update({(NOTES, "divert"): None})
    assert reconciler.compute() == []
    assert reconciler.failures == []


class Counting:
    """Says another number of clauses for each pod."""

    @hook
    def pod_flows(self, view: View, pod: Pod) -> Iterable[Flow]:
        clauses = 2 if pod == sample_pod(1) else 3
        yield Flow(ROUTE, 1, ip(ip_dst=pod.ip), [Conjunction("web", 1, clauses)])


def test_a_conjunction_of_which_flows_say_different_things_is_named() -> None:
    manager = PluginManager({"k8s-ovs-subnet": SingleTenant(), "counting": Counting()})
    (text,) = Reconciler(manager, sample_world()).compute()
    assert text.startswith(
        'plugin counting: pod default/pod2: a flow names conjunction "web" of 3 clauses by the id '
        'that stands for conjunction "web" of 2 clauses in one of counting for pod default/pod1: '
        "the latter is kept"
    )


def test_a_flow_that_was_in_conflict_is_installed_once_the_other_subject_is_gone() -> None:
    manager = PluginManager({"k8s-ovs-subnet": SingleTenant()})
    twin = evolve(sample_host(3), subnet=sample_host(2).subnet)
    reconciler = Reconciler(manager, sample_world(hosts=[sample_host(2)]))
    reconciler.compute()
    reconciler.update({(SUBNETS, "192.168.0.13"): Slot(twin)})
    (text,) = reconciler.compute()
    assert "plugin core: node 192.168.0.13: a flow has the same table" in text
    reconciler.update({(SUBNETS, "192.168.0.12"): None})
    assert reconciler.compute() == []
    assert reconciler.failures == []
    fresh = Reconciler(manager, sample_world(hosts=[twin]))
    fresh.compute()
    assert held(reconciler) == held(fresh)


def test_what_the_switch_refuses_is_a_failure_until_its_subject_is_computed_again() -> None:
    reconciler = started(Noting())
    pod = FlowOwner(CORE, Subject(POD, "veth1"))
    refused = min(held(reconciler)[pod])
    reconciler.desired.refuse([refused], "OFPBAC_BAD_OUT_PORT")
    (text,) = reconciler.note_refused()
    assert text.startswith("plugin core: pod default/pod1: OFPBAC_BAD_OUT_PORT (")
    assert reconciler.note_refused() == []
    assert len(reconciler.failures) == 1
    reconciler.update({(PODS, "veth1"): Slot(sample_pod(1))})
    assert reconciler.compute() == []
    assert reconciler.failures == []
    assert refused in held(reconciler)[pod]


def test_what_the_switch_refuses_is_tried_again_later_and_told_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reconciler = started(Noting())
    pod = FlowOwner(CORE, Subject(POD, "veth1"))
    refused = min(held(reconciler)[pod])
    reconciler.desired.refuse([refused], "OFPFMFC_TABLE_FULL")
    assert len(reconciler.note_refused()) == 1
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 10)
    reconciler.compute()
    assert refused in held(reconciler)[pod]
    reconciler.desired.refuse([refused], "OFPFMFC_TABLE_FULL")
    assert reconciler.note_refused() == []
    assert len(reconciler.failures) == 1
    monkeypatch.setattr(time, "monotonic", lambda: now + 20)
    reconciler.compute()
    assert refused in held(reconciler)[pod]
    assert (reconciler.note_refused(), reconciler.failures) == ([], [])
    reconciler.desired.refuse([refused], "OFPFMFC_TABLE_FULL")
    assert len(reconciler.note_refused()) == 1
