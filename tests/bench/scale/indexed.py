"""What does a pod anywhere in the cluster cost a plugin that reads all pods by an index?

No daemon: the parts of one that a watch event of a pod goes through, in this process.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from statistics import median
from typing import Any

from attrs import frozen
from tests.bench.scale.cluster import Size, make_cluster, network_config, records
from tests.bench.scale.objects import Json, pod_object

from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.model.world import CONFIG, LOCAL_NODE, PODS, Slot
from k8s_ovs.node.records.ingest import ETCD, KUBE, Ingest
from k8s_ovs.observe.watch_event import Entry, RecordChange, Snapshot
from k8s_ovs.plugin import (
    Flow,
    Goto,
    KubeResource,
    Pod,
    Table,
    View,
    hook,
    ip,
)
from k8s_ovs.reconcile.reconciler import Reconciler
from k8s_ovs_multitenant import MultiTenant
from k8s_ovs_testing.world import sample_local_node, sample_pod

__all__ = ["measure"]

Progress = Callable[[str], None]

_NODES, _PODS_EACH, _NAMESPACES, _LOCAL_PODS = 5000, 10, 1000, 10
_ROUNDS = 200
#: Of the pods, one in so many is selected by the plugin.
_SELECTED_IN = 1000
_PEERS = "peers"
_TABLE = Table("PEERS", "Is this pod one of the peers?", between=("POD_IN", "ROUTE"))


@frozen
class Peer:
    """What the plugin reads of a pod."""

    app: str
    address: str


class Peers:
    """Has a flow for each pod of one app in the whole cluster, for each pod of this node."""

    @hook
    def resources(self) -> Iterable[KubeResource]:
        return [KubeResource(_PEERS, "/api/v1/pods", _peer, indexes={"app": _app})]

    @hook
    def tables(self) -> Iterable[Table]:
        return [_TABLE]

    @hook
    def pod_flows(self, view: View, pod: Pod) -> Iterable[Flow]:
        for peer in view.having(_PEERS, "app", "wanted").values():
            yield Flow(_TABLE, 100, ip(ip_src=pod.ip, ip_dst=peer.address), [Goto("ROUTE")])


def measure(progress: Progress) -> dict[str, Any]:
    """{"pods", "selected": how many of them the plugin's flows are about, "list_s": processor
    seconds for all at once, and milliseconds of processor, medians: "status_ms" of a change of a
    pod's status, "other_ms" of a new pod that is not selected, "selected_ms" of one that is}."""
    count = _NODES * _PODS_EACH
    progress(f"a plugin that reads {count} pods by an index")
    config = network_config()
    manager = PluginManager({config.plugin_name: MultiTenant(), _PEERS: Peers()})
    cluster = make_cluster(Size(_NODES, _NAMESPACES, _NAMESPACES * 9 // 10, count), 1, {})
    node = _Node(manager, config, records(cluster))
    pods = {f"{each.namespace}/{each.name}": pod_object(each) for each in cluster.pods}
    for place, pod in enumerate(pods.values()):
        pod["metadata"]["labels"]["app"] = "other" if place % _SELECTED_IN else "wanted"
    began = time.process_time()
    node.take(Snapshot(KUBE + _PEERS, {key: Entry(pod) for key, pod in pods.items()}))
    listed = time.process_time() - began
    key, pod = next((k, p) for k, p in pods.items() if p["metadata"]["labels"]["app"] == "other")
    ready = {"status": pod["status"] | {"startTime": "2026-01-05T08:00:00Z"}}
    return {
        "pods": len(pods),
        "selected": sum(p["metadata"]["labels"]["app"] == "wanted" for p in pods.values()),
        "list_s": round(listed, 2),
        "status_ms": _median_ms(node, lambda place: (key, pod | ready)),
        "other_ms": _median_ms(node, lambda place: (f"x/other{place}", _like(pod, place, "other"))),
        "selected_ms": _median_ms(
            node, lambda place: (f"x/wanted{place}", _like(pod, place, "wanted"))
        ),
    }


class _Node:
    """The way of a watch event to the flows of this node's pods."""

    def __init__(self, manager: PluginManager, config: Any, of_etcd: Mapping[str, bytes]) -> None:
        self._ingest, self._reconciler = Ingest(), Reconciler(manager)
        self._config = config
        pods = [sample_pod(number) for number in range(1, _LOCAL_PODS + 1)]
        local = {(PODS, pod.port): Slot(pod) for pod in pods}
        alone = {(CONFIG, ""): Slot(config), (LOCAL_NODE, ""): Slot(sample_local_node())}
        self._reconciler.update({**alone, **local})
        self.take(Snapshot(ETCD, {key: Entry(value, 1) for key, value in of_etcd.items()}, 1))

    def take(self, event: Snapshot | RecordChange) -> None:
        manager = self._reconciler.manager
        self._ingest.absorb(event)
        changes = self._ingest.changes(self._config, manager.kinds, manager.resources)
        self._reconciler.update(changes, self._ingest.revision)
        self._reconciler.compute()


def _median_ms(node: _Node, event: Callable[[int], tuple[str, Json]]) -> float:
    spent = []
    for place in range(_ROUNDS):
        key, pod = event(place)
        began = time.process_time()
        node.take(RecordChange(KUBE + _PEERS, key, Entry(pod)))
        spent.append(time.process_time() - began)
    return round(median(spent) * 1e3, 3)


def _like(pod: Json, place: int, app: str) -> Json:
    metadata = pod["metadata"] | {"labels": {"app": app}, "name": f"{app}{place}"}
    address = f"10.250.{place // 200}.{place % 200 + 1}"
    return pod | {"metadata": metadata, "status": pod["status"] | {"podIP": address}}


def _peer(_: str, pod: Mapping[str, Any]) -> Peer:
    return Peer(pod["metadata"]["labels"].get("app", ""), pod["status"]["podIP"])


def _app(peer: Peer) -> tuple[str]:
    return (peer.app,)
