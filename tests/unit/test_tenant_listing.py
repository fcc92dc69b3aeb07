"""What people are told of tenants: where each namespace is, who reaches whom, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from attrs import evolve

from k8s_ovs.errors import K8sOvsError
from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.model.world import EMPTY
from k8s_ovs.plugin import Pod, View
from k8s_ovs.plugin.command.cluster import Counter
from k8s_ovs_multitenant import MultiTenant
from k8s_ovs_multitenant.listing import (
    Tenant,
    as_cells,
    counted_flows,
    details,
    reach,
    tenant,
    tenants,
    traffic,
)
from k8s_ovs_multitenant.records import (
    KINDS,
    NAMESPACE_VNIS,
    NETNAMESPACES,
    NamespaceVni,
    NetNamespace,
)
from k8s_ovs_testing.world import sample_pod, sample_world

MANAGER = PluginManager({"k8s-ovs-multitenant": MultiTenant()})

HW1 = Tenant("hw1", 10, (), 10)
HW2 = Tenant("hw2", 11, (), 11)
SYSTEM = Tenant("kube-system", 0, (), 12)


def seen(
    records: Iterable[NetNamespace] = (),
    requests: Iterable[NetNamespace] = (),
    quarantine: Mapping[str, str] | None = None,
    pods: Iterable[Pod] = (),
) -> View:
    """A view of these records; each namespace has a VNI, from 100 on."""
    values: dict[str, dict[str, Any]] = {
        NETNAMESPACES: {each.net_name: KINDS[0].slot(each, 1) for each in records}
    }
    slots = values[NETNAMESPACES]
    for each in requests:
        slots[each.net_name] = evolve(slots.get(each.net_name, EMPTY), asked=each, revision=2)
    for name, why in (quarantine or {}).items():
        slots[name] = evolve(slots.get(name, EMPTY), problem=why, revision=2)
    names = list(slots)
    values[NAMESPACE_VNIS] = {
        name: NamespaceVni(100 + place) for place, name in enumerate(sorted(names))
    }
    return MANAGER.view(sample_world(pods=pods, records=values))


def test_namespaces_in_one_tenant_are_joined_with_each_other() -> None:
    view = seen([NetNamespace("a", 7000), NetNamespace("b", 7000), NetNamespace("c", 7001)])
    assert tenants(view) == [
        Tenant("a", 7000, ("b",), 100),
        Tenant("b", 7000, ("a",), 101),
        Tenant("c", 7001, (), 102),
    ]


def test_global_namespaces_name_nobody_since_they_are_joined_with_all() -> None:
    found = tenants(seen([NetNamespace("a", 0), NetNamespace("b", 0)]))
    assert [each.joined for each in found] == [(), ()]
    assert [as_cells(each)[2] for each in found] == ["all (global)", "all (global)"]


def test_what_is_asked_and_not_answered_yet_is_shown() -> None:
    (found,) = tenants(seen(requests=[NetNamespace("a", 7000, "join", "b")]))
    assert (found.net_id, found.action) == (7000, "join b")
    assert as_cells(found)[-1] == "join b is not answered yet"


def test_the_reason_of_a_refusal_is_shown() -> None:
    (found,) = tenants(seen([NetNamespace("a", 7000, reason="no such namespace")]))
    assert as_cells(found) == ("a", "7000", "-", "100", "no such namespace")
    assert ("refused", "no such namespace") in details(found)


def test_a_record_that_cannot_be_read_is_listed_with_the_reason() -> None:
    (found,) = tenants(seen(quarantine={"a": "not JSON"}))
    assert as_cells(found) == ("a", "-", "-", "100", "not JSON")
    assert counted_flows(found) == {}


def test_of_many_that_are_joined_a_table_names_some_and_details_name_all() -> None:
    many = Tenant("a", 7000, tuple("bcdefg"), 100)
    assert as_cells(many)[2] == "b, c, d and 3 more"
    assert ("joined with", "b, c, d, e, f, g") in details(many)


def test_a_namespace_that_is_unknown_is_named() -> None:
    with pytest.raises(K8sOvsError, match="namespace nobody has no record"):
        tenant([HW1], "nobody")


@pytest.mark.parametrize(
    ("source", "target", "reaches", "why"),
    [
        (HW1, HW1, True, "pods of one namespace are in one tenant, here 10"),
        (HW1, evolve(HW2, net_id=10), True, "both are in tenant 10"),
        (HW1, SYSTEM, True, "kube-system is global: it reaches all, and all reach it"),
        (SYSTEM, HW1, True, "kube-system is global: it reaches all, and all reach it"),
        (HW1, HW2, False, "hw1 is in tenant 10, hw2 in 11, and neither is global"),
        (HW1, evolve(HW2, vni=None), False, "hw2 has no VNI yet"),
        (
            evolve(HW1, net_id=None, problem="not JSON"),
            HW2,
            False,
            "the tenant of hw1 is unknown: not JSON",
        ),
        (
            HW1,
            evolve(HW2, net_id=None),
            False,
            "the tenant of hw2 is unknown: it has no record yet",
        ),
    ],
)
def test_whether_one_reaches_another_is_said_with_the_reason(
    source: Tenant, target: Tenant, reaches: bool, why: str
) -> None:
    found = reach(source, target)
    assert (found.reaches, found.why) == (reaches, why)


@pytest.mark.parametrize("net_id", [7000, 0])
def test_the_counters_are_those_of_flows_that_the_mode_wants(net_id: int) -> None:
    view = seen([NetNamespace("hw1", net_id)])
    (found,) = tenants(view)
    mode = MultiTenant()
    wanted = {*mode.network_flows(view), *mode.tenant_flows(view, net_id)}
    counted = set(counted_flows(found).values())
    assert len(counted) >= 2
    assert counted <= wanted


def test_what_was_let_through_and_what_was_dropped_was_judged() -> None:
    counters = {"sent": Counter(5, 50), "let through": Counter(4, 40), "dropped": Counter(3, 30)}
    assert traffic(counters)["judged"] == Counter(7, 70)


def test_where_no_flow_is_installed_nothing_was_judged() -> None:
    assert traffic({"sent": None, "let through": None, "dropped": None}) == {}


def test_counts_count_joined_tenants_once_and_tenants_of_this_node() -> None:
    view = seen(
        [NetNamespace("a", 7000), NetNamespace("b", 7000), NetNamespace("c", 0)],
        [NetNamespace("d", 7001, "isolate")],
        pods=[sample_pod(1, "a"), sample_pod(2, "b"), sample_pod(3, "unknown")],
    )
    ((_, (said,)),) = MANAGER.status(view)  # type: ignore[misc]  # no Failure
    assert said == {"tenants": 1, "namespaces": 3, "networks": 2, "requests": 1}
    ((_, metrics),) = MANAGER.metrics(view)
    assert {each.name: each.value for each in metrics} == {  # type: ignore[union-attr]  # no Failure
        f"tenancy_{name}": value for name, value in said.items()
    }
