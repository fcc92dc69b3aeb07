"""Each namespace a tenant: who reaches whom, by packets, before and after each action.

Three namespaces with a pod on each of two nodes and a service before both, and one that is global
from the start. K8S_OVS_TEST_DATAPATH names the datapath: the same claims hold on each.
"""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from k8s_ovs_lab.lab_net import SERVER_PORT, LabNet
from k8s_ovs_lab.tenants import Tenants
from k8s_ovs_testing.traffic.reach import Pair, reached

pytestmark = pytest.mark.datapath

NAMESPACES = ("red", "green", "blue")
GLOBAL = "kube-system"
PODS = tuple(f"{namespace}/{pod}" for namespace in NAMESPACES for pod in ("one", "two"))
PODS += (f"{GLOBAL}/dns",)

#: Asked for in order, as (namespace, action, other), and then: which namespaces are one.
STORIES: dict[str, tuple[tuple[tuple[str, str, str], ...], tuple[set[str], ...]]] = {
    "nothing": ((), ()),
    "join": ((("red", "join", "green"),), ({"red", "green"},)),
    "join, then isolate": ((("red", "join", "green"), ("red", "isolate", "")), ()),
    "join, then the other one isolates": (
        (("red", "join", "green"), ("green", "isolate", "")),
        (),
    ),
    "all join": (
        (("red", "join", "green"), ("blue", "join", "red")),
        ({"red", "green", "blue"},),
    ),
    "join, then join another": (
        (("red", "join", "green"), ("red", "join", "blue")),
        ({"red", "blue"},),
    ),
    "global": ((("blue", "global", ""),), ({"blue", "red"}, {"blue", "green"})),
    "global, then isolate": ((("blue", "global", ""), ("blue", "isolate", "")), ()),
    "join one that is global": (
        (("red", "join", GLOBAL),),
        ({"red", "green"}, {"red", "blue"}),
    ),
}


def test_each_namespace_gets_its_record_and_kube_system_is_global(tenants: Tenants) -> None:
    net_ids = tenants.net_ids()
    assert net_ids.keys() >= {*NAMESPACES, GLOBAL}
    assert net_ids[GLOBAL] == 0
    assert len(set(net_ids.values())) == len(net_ids)
    for namespace, net_id in net_ids.items():
        assert tenants.text(namespace) == record(namespace, net_id)
        assert net_id == 0 or 10 <= net_id <= 0xFFFFFF


@pytest.mark.parametrize(("actions", "one"), STORIES.values(), ids=STORIES)
def test_who_reaches_whom_after(
    tenant_world: LabNet,
    tenants: Tenants,
    actions: tuple[tuple[str, str, str], ...],
    one: tuple[set[str], ...],
) -> None:
    for namespace, action, other in actions:
        before = tenants.net_ids()
        tenants.ask(namespace, action, other)
        after = tenants.net_ids()[namespace]
        assert tenants.text(namespace) == record(namespace, after)
        if action == "join":
            assert after == before[other]
        elif action == "global":
            assert after == 0
        else:
            assert after not in before.values()
    assert_reach(tenant_world, one)


def record(namespace: str, net_id: int) -> str:
    """A record that asks for nothing, as it is documented."""
    return f'{{"NetName":"{namespace}","NetID":{net_id},"Action":"","Namespace":""}}'


def assert_reach(world: LabNet, one: tuple[set[str], ...]) -> None:
    """Pods and services are reached within a namespace, within each of the sets `one`, by and
    from the global one, and nowhere else; and behind a service are just the pods of its own."""
    targets: dict[str, tuple[str | IPv4Address, int]] = {
        pod: (world.address(pod), SERVER_PORT) for pod in PODS
    }
    targets |= {
        f"{each.namespace}/shop": (each.address, each.port) for each in world.lab.services()
    }
    expected = {
        (client, target)
        for client in PODS
        for target in targets
        if client != target and may_reach(namespace_of(client), namespace_of(target), one)
    }
    clients = {pod: world.netns(pod) for pod in PODS}
    found = reached(clients, targets, {pod: world.server(pod) for pod in PODS}, expected)
    assert told(found.keys() - expected) == told(expected - found.keys()) == []
    behind = {target: {found[pair] for pair in found if pair[1] == target} for target in targets}
    for target, answered in behind.items():
        assert {target} == answered if target in PODS else namesakes(target) >= answered


def namesakes(service: str) -> set[str]:
    """The pods behind a service."""
    return {pod for pod in PODS if namespace_of(pod) == namespace_of(service)}


def may_reach(client: str, target: str, one: tuple[set[str], ...]) -> bool:
    return (
        GLOBAL in (client, target)
        or client == target
        or {client, target} in [{a, b} for group in one for a in group for b in group]
    )


def namespace_of(title: str) -> str:
    return title.partition("/")[0]


def told(pairs: set[Pair]) -> list[str]:
    return sorted(f"{client} to {target}" for client, target in pairs)
