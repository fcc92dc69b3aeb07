"""A node of a small network that runs plugins, without a daemon: what would they do?

node = SampleNode(Audit(), pods=["red/web"], records={"audits/red": '{"Silent":true}'})
assert node.flows("Audit") == ["table=AUDIT,priority=100,ip,in_port=101 actions=drop"]
node.delete("audits/red")
assert node.delta() == ["- table=AUDIT,priority=100,...", "+ table=AUDIT,priority=100,..."]

Records and objects of Kubernetes come as etcd and the API server have them, and are read, found by
their indexes and quarantined by the code of the daemon.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from attrs import evolve

from k8s_ovs.errors import PluginError
from k8s_ovs.hooks.find import has_hook
from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.hooks.merge import merged_choices
from k8s_ovs.hooks.result import Failure, Held, Judged
from k8s_ovs.model.network import NetworkConfig
from k8s_ovs.model.world import PODS, Slot, World
from k8s_ovs.node.records.ingest import ETCD, KUBE, Ingest
from k8s_ovs.observe.watch_event import Entry, RecordChange, Snapshot, SourceState
from k8s_ovs.pipeline.text import flow_text
from k8s_ovs.plugin import (
    AddressChoice,
    Allocation,
    LinkSettings,
    Pod,
    PodRequest,
    Problem,
    Refuse,
    View,
    Wait,
)
from k8s_ovs.reconcile.reconciler import Reconciler
from k8s_ovs_subnet import SingleTenant
from k8s_ovs_testing.bridge import TracedBridge
from k8s_ovs_testing.ovs import OvsProcess
from k8s_ovs_testing.world import sample_config, sample_host, sample_pod, sample_world

__all__ = ["SampleNode"]

T = TypeVar("T")

_MODE = "k8s-ovs-subnet"


class SampleNode:
    """Node 1 of `sample_world`, with the pods that are named.

    manager: the plugins that run. failures: what they failed at, as `k8s-ovs status` shows it.
    """

    def __init__(
        self,
        *plugins: object,
        nodes: int = 3,
        pods: Iterable[str] = ("default/pod1", "default/pod2"),
        records: Mapping[str, str | bytes] | None = None,
        objects: Mapping[str, Mapping[str, Any]] | None = None,
        config: NetworkConfig | None = None,
        named: Mapping[str, object] | None = None,
    ) -> None:
        """plugins: called by the names of their classes. named: more, by the names of their entry
        points. Without a mode among them k8s-ovs-subnet runs. nodes: 1 to 63, this one among them.
        pods: as namespace/name. records: JSON by kind/key. objects: of resources, by resource/key.

        Raises PluginError as a daemon does.
        """
        running = {type(each).__name__: each for each in plugins} | dict(named or {})
        if not any(has_hook(each, "tenant_of") for each in running.values()):
            running = {_MODE: SingleTenant(), **running}
        self.manager = PluginManager(running)
        self.config = config or sample_config()
        self._records: dict[str, Entry] = {}
        self._objects: dict[str, dict[str, Entry]] = {each: {} for each in self.manager.resources}
        self._revision = 1
        for path, text in (records or {}).items():
            self._records[self._path(path)] = self._entry(text)
        for path, found in (objects or {}).items():
            resource, _, key = path.partition("/")
            self._objects_of(resource)[key] = Entry(found)
        hosts = [sample_host(number) for number in range(1, nodes + 1)]
        self._started = sample_world(hosts, [], config=self.config)
        self._pods: dict[str, Pod] = {}
        self._serial = 0
        self.restart()
        for identity in pods:
            self.attach(identity)
        self._told = self._flows()

    @property
    def world(self) -> World:
        return self._reconciler.world

    @property
    def failures(self) -> list[str]:
        self._reconciler.compute()
        return self._reconciler.failures

    def pod(self, identity: str) -> Pod:
        """A pod that is attached. Raises KeyError."""
        return self._pods[identity]

    def attach(self, identity: str) -> Pod:
        """A pod comes, as namespace/name; no hook is asked whether it may."""
        namespace, _, name = identity.partition("/")
        self._serial += 1
        pod = evolve(sample_pod(self._serial, namespace), name=name)
        self._pods[identity] = pod
        self._reconciler.update({(PODS, pod.port): Slot(pod)})
        return pod

    def detach(self, identity: str) -> None:
        """A pod goes."""
        self._reconciler.update({(PODS, self._pods.pop(identity).port): None})

    def put(self, path: str, text: str | bytes) -> None:
        """Somebody writes the record kind/key; it is JSON, or what else the kind reads."""
        self._records[self._path(path)] = entry = self._entry(text)
        self._absorb(RecordChange(ETCD, self._path(path), entry, self._revision))

    def delete(self, path: str) -> None:
        """Somebody deletes the record kind/key."""
        self._revision += 1
        del self._records[self._path(path)]
        self._absorb(RecordChange(ETCD, self._path(path), None, self._revision))

    def put_object(self, path: str, found: Mapping[str, Any]) -> None:
        """An object of Kubernetes is as `found` now. path: resource/key."""
        resource, _, key = path.partition("/")
        self._objects_of(resource)[key] = entry = Entry(found)
        self._absorb(RecordChange(KUBE + resource, key, entry))

    def delete_object(self, path: str) -> None:
        """An object of Kubernetes is gone. path: resource/key."""
        resource, _, key = path.partition("/")
        del self._objects_of(resource)[key]
        self._absorb(RecordChange(KUBE + resource, key, None))

    def restart(self) -> None:
        """The daemon starts anew: it knows its pods, and lists everything else."""
        self._ingest = Ingest()
        self._reconciler = Reconciler(self.manager, self._started)
        self._reconciler.update({(PODS, pod.port): Slot(pod) for pod in self._pods.values()})
        self._ingest.absorb(Snapshot(ETCD, dict(self._records), self._revision))
        for resource, entries in self._objects.items():
            self._ingest.absorb(Snapshot(KUBE + resource, dict(entries)))
            self._ingest.absorb(SourceState(KUBE + resource, connected=True))
        self._take()

    def flows(self, plugin: str | None = None) -> list[str]:
        """The node's flows as text, in order: those of one plugin, or all."""
        found = self._flows()
        return sorted(text for text, owners in found.items() if plugin is None or plugin in owners)

    def delta(self) -> list[str]:
        """What has changed since the last call: "- FLOW" for each that is gone, "+ FLOW" for each
        that is new."""
        before, self._told = self._told, self._flows()
        gone = sorted(before.keys() - self._told.keys())
        return [f"- {text}" for text in gone] + [
            f"+ {text}" for text in sorted(self._told.keys() - before.keys())
        ]

    def view(self) -> View:
        """A view of all, as `allocations` gets it."""
        return self.manager.view(self.world)

    def admission(self, identity: str) -> Refuse | Wait | None:
        """What the plugins say to a pod that is to be attached; the first that objects counts.

        Raises PluginError where one fails.
        """
        view = self.manager.node_view(self.world)
        return next(iter(_sound(self.manager.admit_pod(view, _request(identity)))), None)

    def address(self, identity: str) -> AddressChoice:
        """Which addresses the plugins allow a pod that is to be attached. Raises PluginError where
        one fails, InvalidRecord where they allow none."""
        view = self.manager.node_view(self.world)
        return merged_choices(_sound(self.manager.pod_address(view, _request(identity))))

    def link(self, identity: str) -> list[LinkSettings]:
        """What the plugins want of a pod's interface. Raises PluginError where one fails."""
        view = self.manager.node_view(self.world)
        return _sound(self.manager.pod_link(view, self.pod(identity)))

    def allocations(self) -> list[Allocation | Problem]:
        """What the plugins, and not the core, would write. Raises PluginError where one fails."""
        own = [name for name in self.manager.allocators if name not in PluginManager({}).names]
        return _sound([(name, self.manager.allocations(name, self.view())) for name in own])

    def bridge(self, ovs: OvsProcess) -> TracedBridge:
        """A bridge of a real Open vSwitch that has the node's flows as they are now."""
        bridge = TracedBridge(ovs, self.manager)
        bridge.show(self.world)
        return bridge

    def _flows(self) -> dict[str, set[str]]:
        """By text, the plugins that want a flow."""
        self._reconciler.compute()
        return {
            flow_text(flow.flow, self.manager.pipeline, human=True): {o.plugin for o in owners}
            for flow, owners in self._reconciler.desired.flows()
        }

    def _absorb(self, change: RecordChange) -> None:
        self._ingest.absorb(change)
        self._take()

    def _take(self) -> None:
        changes = self._ingest.changes(self.config, self.manager.kinds, self.manager.resources)
        self._reconciler.update(changes, self._revision)

    def _path(self, path: str) -> str:
        kind, _, key = path.partition("/")
        if kind not in self.manager.kinds or not key:
            known = ", ".join(sorted(self.manager.kinds))
            raise PluginError(f"record {path}: expected KIND/KEY, kinds are {known}")
        return f"{self.config.name}/{path}"

    def _entry(self, text: str | bytes) -> Entry:
        self._revision += 1
        return Entry(text.encode() if isinstance(text, str) else text, self._revision)

    def _objects_of(self, resource: str) -> dict[str, Entry]:
        if resource not in self._objects:
            known = ", ".join(sorted(self._objects)) or "none"
            raise PluginError(f"object of {resource}: expected RESOURCE/KEY, resources are {known}")
        return self._objects[resource]


def _request(identity: str) -> PodRequest:
    namespace, _, name = identity.partition("/")
    return PodRequest(namespace, name, f"uid-{name}", f"container-{name}", "eth0")


def _sound(results: Judged[T]) -> list[T]:
    found: list[T] = []
    for _, each in results:
        if isinstance(each, Failure | Held):
            raise PluginError(str(each))
        found += each
    return found
