"""A record changes: just its subjects are computed again, the result is that of a fresh start."""

from __future__ import annotations

import time
from collections.abc import Iterable
from ipaddress import IPv4Network

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from k8s_ovs.builtin import CORE
from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.model.subnet import HostSubnet
from k8s_ovs.model.world import CONFIG, LOCAL_NODE, PODS, SUBNETS, Slot, Tag, World
from k8s_ovs.pipeline.field import register
from k8s_ovs.pipeline.tables import EXTERNAL, REMOTE, ROUTE, VERDICT
from k8s_ovs.plugin import Flow, Goto, Pod, Table, View, any_packet, hook, ip
from k8s_ovs.reconcile.reconciler import Reconciler
from k8s_ovs.reconcile.subject import NETWORK, NODE, POD, TENANT, FlowOwner, Subject
from k8s_ovs_subnet import SingleTenant
from k8s_ovs_testing.world import sample_config, sample_host, sample_pod, sample_world

Changes = dict[tuple[str, str], Slot | None]
Held = dict[FlowOwner, set[int]]

TENANTS = "tenants"
NOTES = "notes"


class ByNamespace:
    """A mode that finds a pod's tenant in a record of its namespace."""

    @hook
    def tenant_of(self, view: View, pod: Pod) -> int | None:
        tenant: int | None = view.get(TENANTS, pod.namespace)
        if tenant == 13:
            raise ValueError("13 is no good number")
        return tenant

    @hook
    def tenant_flows(self, view: View, tenant: int) -> Iterable[Flow]:
        match = any_packet(**{register("SRC_TENANT").name: tenant})
        return [Flow(VERDICT, 100, match, [Goto("RETURN")])]


class Noting:
    """A plugin that reads what the core does not, and counts how often each hook is asked.

    A note "raise" makes it raise; notes of a pod's address bar the pod from them, by a flow that
    pods of one note share.
    """

    def __init__(self) -> None:
        self.calls: list[Subject] = []

    @hook
    def pod_flows(self, view: View, pod: Pod) -> Iterable[Flow]:
        self.calls.append(Subject(POD, pod.port))
        note: str | None = view.get(NOTES, pod.name)
        if note == "raise":
            raise RuntimeError("cannot read this note")
        if note:
            yield Flow(EXTERNAL, 300, ip(ip_dst=note))

    @hook
    def node_flows(self, view: View, node: HostSubnet) -> Iterable[Flow]:
        self.calls.append(Subject(NODE, str(node.host_ip)))
        return ()

    @hook
    def network_flows(self, view: View) -> Iterable[Flow]:
        self.calls.append(Subject(NETWORK, ""))
        for place, _ in enumerate(view.all(NOTES)):
            yield Flow(EXTERNAL, 1000 + place, any_packet())

    @hook
    def tenant_flows(self, view: View, tenant: int) -> Iterable[Flow]:
        self.calls.append(Subject(TENANT, str(tenant)))
        if view.get(NOTES, f"tenant{tenant}"):
            yield Flow(VERDICT, 200, any_packet(reg1=tenant))
        for place, _ in enumerate(view.having(NOTES, "10.2.0.0/16")):
            yield Flow(VERDICT, 300 + place, any_packet(reg1=tenant))


def started(
    noting: Noting, world: World | None = None, namespaces: dict[str, int] | None = None
) -> Reconciler:
    """A reconciler that has computed a world in which namespaces have tenants."""
    tenants = {"default": 7} if namespaces is None else namespaces
    manager = PluginManager({"mode": ByNamespace(), "noting": noting})
    world = world or sample_world(records={TENANTS: tenants})
    reconciler = Reconciler(manager, world)
    assert reconciler.compute() == []
    noting.calls.clear()
    return reconciler


def held(reconciler: Reconciler) -> Held:
    found: Held = {}
    for flow, owners in reconciler.desired.flows():
        for owner in owners:
            found.setdefault(owner, set()).add(flow.cookie)
    return found


def pod_change(number: int, namespace: str | None) -> Changes:
    pod = sample_pod(number, namespace) if namespace else None
    return {(PODS, sample_pod(number).port): Slot(pod) if pod else None}


def host_change(number: int, subnet: str | None) -> Changes:
    """A host that is gone, has no subnet, its own or another one that is nobody's."""
    host = sample_host(number)
    subnets = {
        "none": None,
        "own": host.subnet,
        "moved": IPv4Network(f"172.11.{4 * (number + 10)}.0/22"),
    }
    record = Slot(evolve(host, subnet=subnets[subnet])) if subnet else None
    return {(SUBNETS, str(host.host_ip)): record}


def record_change(kind: str, key: str, value: object) -> Changes:
    return {(kind, key): Slot(value, tag=Tag(value)) if value is not None else None}


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
    assert text == (
        "plugin noting: pod_flows of pod default/pod1: RuntimeError('cannot read this note')"
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
    assert reconciler.compute() == [
        f"plugin strange: pod_flows of pod default/{pod}: no table named NOWHERE is in the pipeline"
        for pod in ("pod1", "pod2")
    ]
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
    assert text == (
        "plugin diverting: node 192.168.0.12: a flow has the same table, priority and match as "
        "one of core for node 192.168.0.12: the latter is kept"
    )
    assert len(held(reconciler)[FlowOwner("diverting", Subject(NODE, "192.168.0.12"))]) == 1
    reconciler.update({(NOTES, "divert"): None})
    assert reconciler.compute() == []
    assert reconciler.failures == []


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
    assert reconciler.note_refused() == ["plugin core: pod default/pod1: OFPBAC_BAD_OUT_PORT"]
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
