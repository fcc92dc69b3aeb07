"""What tests of the reconciler share: plugins that read records, and changes of those."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network

from attrs import evolve

from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.model.subnet import HostSubnet
from k8s_ovs.model.world import PODS, SUBNETS, Slot, Tag, World
from k8s_ovs.pipeline.field import register
from k8s_ovs.pipeline.tables import EXTERNAL, VERDICT
from k8s_ovs.plugin import Flow, Goto, Pod, View, any_packet, hook, ip
from k8s_ovs.reconcile.reconciler import Reconciler
from k8s_ovs.reconcile.subject import NETWORK, NODE, POD, TENANT, FlowOwner, Subject
from k8s_ovs_testing.world import sample_host, sample_pod, sample_world

__all__ = [
    "NOTES",
    "TENANTS",
    "Changes",
    "Held",
    "Noting",
    "held",
    "host_change",
    "pod_change",
    "record_change",
    "started",
]

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
        for place, _ in enumerate(view.having(NOTES, "text", "10.2.0.0/16")):
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
    tags = frozenset({Tag("text", value)})
    return {(kind, key): Slot(value, tags=tags) if value is not None else None}
