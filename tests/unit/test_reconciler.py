"""A record changes: just its subjects are computed again, the result is that of a fresh start."""

from __future__ import annotations

from ipaddress import IPv4Network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.reconciling import (
    NOTES,
    TENANTS,
    Changes,
    Noting,
    held,
    host_change,
    pod_change,
    record_change,
    started,
)

from k8s_ovs.builtin import CORE
from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.model.world import CONFIG, LOCAL_NODE, PODS, SUBNETS, Slot
from k8s_ovs.reconcile.reconciler import Reconciler
from k8s_ovs.reconcile.subject import NETWORK, NODE, POD, TENANT, FlowOwner, Subject
from k8s_ovs_subnet import SingleTenant
from k8s_ovs_testing.world import sample_config, sample_world


def config_change(services: str, port: int) -> Changes:
    config = sample_config(service_network=IPv4Network(services), vxlan_port=port)
    return {(CONFIG, ""): Slot(config)}


change = st.one_of(
    st.builds(pod_change, st.integers(1, 3), st.sampled_from([None, "a", "b"])),
    st.builds(host_change, st.integers(1, 4), st.sampled_from([None, "none", "own", "moved"])),
    st.builds(
        record_change, st.just(TENANTS), st.sampled_from("ab"), st.sampled_from([None, 0, 7])
    ),
    st.builds(
        record_change,
        st.just(NOTES),
        st.sampled_from(["pod1", "pod2", "tenant7"]),
        st.sampled_from([None, "10.1.0.0/16", "10.2.0.0/16"]),
    ),
    st.builds(config_change, st.sampled_from(["10.96.0.0/12", "10.0.0.0/12"]), st.just(8472)),
)


@settings(max_examples=150)
@given(rounds=st.lists(st.lists(change, max_size=4), max_size=6))
def test_after_any_changes_the_flows_are_those_of_a_fresh_start(
    rounds: list[list[Changes]],
) -> None:
    reconciler = started(Noting(), sample_world(records={TENANTS: {"a": 7, "b": 0}}))
    for each_round in rounds:
        for changes in each_round:
            reconciler.update(changes)
        assert reconciler.compute() == []
        fresh = started(Noting(), reconciler.world)
        assert held(reconciler) == held(fresh)


def test_nothing_is_computed_before_configuration_and_subnet_are_known() -> None:
    reconciler = Reconciler(PluginManager({"k8s-ovs-subnet": SingleTenant()}))
    world = sample_world()
    for kind in (PODS, SUBNETS, CONFIG):
        reconciler.update({(kind, key): record for key, record in world.of(kind).items()})
        assert reconciler.compute() == []
        assert len(reconciler.desired) == 0
    reconciler.update({(LOCAL_NODE, ""): world.of(LOCAL_NODE)[""]})
    reconciler.compute()
    fresh = Reconciler(reconciler.manager, world)
    fresh.compute()
    assert held(reconciler) == held(fresh)
    assert FlowOwner(CORE, Subject(POD, "veth1")) in held(reconciler)


def test_nothing_new_computes_nothing() -> None:
    noting = Noting()
    reconciler = started(noting)
    reconciler.update({})
    reconciler.update({("unread", "key"): Slot("value")}, revision=9)
    assert reconciler.compute() == []
    assert noting.calls == []
    assert reconciler.world.revision == 9


@pytest.mark.parametrize(
    ("changes", "computed"),
    [
        (pod_change(3, "default"), {Subject(POD, "veth3")}),
        (pod_change(2, None), set()),
        (host_change(3, "moved"), {Subject(NODE, "192.168.0.13")}),
        (host_change(3, None), set()),
        (
            record_change(NOTES, "pod1", "10.1.0.0/16"),
            {Subject(POD, "veth1"), Subject(NETWORK, "")},
        ),
        (record_change(NOTES, "nobody", "x"), {Subject(NETWORK, "")}),
        (record_change(NOTES, "tenant7", "x"), {Subject(TENANT, "7"), Subject(NETWORK, "")}),
        (
            record_change(NOTES, "nobody", "10.2.0.0/16"),
            {Subject(TENANT, "7"), Subject(NETWORK, "")},
        ),
        (record_change(TENANTS, "elsewhere", 9), set()),
        (
            record_change(TENANTS, "default", 9),
            {Subject(POD, "veth1"), Subject(POD, "veth2"), Subject(TENANT, "9")},
        ),
    ],
)
def test_only_the_subjects_that_a_change_concerns_are_asked(
    changes: Changes, computed: set[Subject]
) -> None:
    noting = Noting()
    reconciler = started(noting)
    reconciler.update(changes)
    assert reconciler.compute() == []
    assert set(noting.calls) == computed
    assert len(noting.calls) == len(computed)


def test_a_record_that_was_looked_for_in_vain_counts_when_it_comes() -> None:
    noting = Noting()
    reconciler = started(noting, namespaces={})
    assert FlowOwner(CORE, Subject(POD, "veth1")) not in held(reconciler)
    reconciler.update(record_change(TENANTS, "default", 7))
    reconciler.compute()
    assert held(reconciler) == held(started(Noting()))


def test_a_pod_whose_tenant_is_no_longer_known_has_no_flows() -> None:
    reconciler = started(Noting())
    reconciler.update(record_change(TENANTS, "default", None))
    reconciler.compute()
    assert {owner.subject.kind for owner in held(reconciler)} == {NETWORK, NODE}


def test_a_tenants_flows_go_with_its_last_pod() -> None:
    reconciler = started(Noting())
    tenant = FlowOwner("mode", Subject(TENANT, "7"))
    reconciler.update(pod_change(1, None))
    reconciler.compute()
    assert tenant in held(reconciler)
    reconciler.update(pod_change(2, None))
    reconciler.compute()
    assert tenant not in held(reconciler)
