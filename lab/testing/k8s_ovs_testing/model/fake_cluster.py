"""A fake cluster, a dictionary: the result of allocations, without etcd and Kubernetes.

Namespaces and nodes come and go, people write records, and etcd's keys change by what the plugins
ask for, each by compare-and-swap::

    fake = FakeCluster(manager)
    fake.create("red", "blue")
    fake.settle()
    fake.ask("red", "join", "blue")
    fake.settle()
    assert fake.net_ids()["red"] == fake.net_ids()["blue"]
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from attrs import define, evolve, field

from k8s_ovs.errors import K8sOvsError, PluginError
from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.hooks.result import Failure, Held
from k8s_ovs.model.world import CONFIG, NODES, Slot, World
from k8s_ovs.node.records.ingest import ETCD, KUBE, Ingest
from k8s_ovs.observe.watch_event import Entry, RecordChange, Snapshot
from k8s_ovs.plugin import Allocation, Event, Problem
from k8s_ovs.reconcile.answers import Answers
from k8s_ovs_testing.world import sample_config

__all__ = ["FakeCluster"]

NAMESPACES = "namespaces"
NETNAMESPACES = "netnamespaces"

_MOST_RECONCILES = 200


@define
class FakeCluster:
    """etcd's keys, (value, mod_revision) by (kind, key), and the daemon's snapshot of them.

    manager: with the plugins whose allocations are written. namespaces, nodes: Kubernetes', the
    former with uids, the latter with addresses. made: how many namespaces were ever created.
    extra: more fields of the configuration. events: what was published.
    """

    manager: PluginManager
    keys: dict[tuple[str, str], tuple[bytes, int]] = field(factory=dict)
    namespaces: dict[str, str] = field(factory=dict)
    nodes: dict[str, str] = field(factory=dict)
    extra: Mapping[str, Any] = field(factory=dict)
    revision: int = 0
    made: int = 0
    ingest: Ingest = field(factory=Ingest)
    answers: Answers[str] = field(init=False)
    events: list[Event] = field(factory=list)

    _remembered: dict[str, Any] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.answers, self._remembered = Answers(self.manager.view), {}
        for event in self.snapshots():
            self.ingest.absorb(event)

    @property
    def world(self) -> World:
        """The last snapshot that was looked at."""
        return self.answers.world

    def create(self, *names: str) -> None:
        """Namespaces of Kubernetes come; those that are there stay the same."""
        for name in names:
            if name not in self.namespaces:
                self.made += 1
                self.namespaces[name] = f"{name}-{self.made}"
            self.ingest.absorb(RecordChange(KUBE + NAMESPACES, name, self._namespace(name)))

    def delete(self, name: str) -> None:
        """A namespace of Kubernetes goes."""
        self.namespaces.pop(name, None)
        self.ingest.absorb(RecordChange(KUBE + NAMESPACES, name, None))

    def join(self, name: str, address: str) -> None:
        """A node of Kubernetes comes, or gets another address."""
        self.nodes[name] = address
        self.ingest.absorb(RecordChange(KUBE + NODES, name, _node(address)))

    def leave(self, name: str) -> None:
        """A node of Kubernetes goes."""
        del self.nodes[name]
        self.ingest.absorb(RecordChange(KUBE + NODES, name, None))

    def put(self, kind: str, key: str, value: bytes | None) -> None:
        """Somebody writes a key; None: deletes it."""
        self.revision += 1
        self.keys.pop((kind, key), None)
        if value is not None:
            self.keys[kind, key] = (value, self.revision)
        entry = None if value is None else Entry(value, self.revision)
        self.ingest.absorb(RecordChange(ETCD, f"k8ssdn/{kind}/{key}", entry, self.revision))

    def ask(self, name: str, action: str, namespace: str = "", **changes: object) -> None:
        """What a person does: the same record with an action, and `changes`."""
        asked = {"Action": action, "Namespace": namespace, **changes}
        self.put(NETNAMESPACES, name, json.dumps(self.record(name) | asked).encode())

    def restart(self) -> None:
        """Another daemon takes over, which has seen only what exists now."""
        self.ingest = Ingest()
        self.answers, self._remembered = Answers(self.manager.view), {}
        for event in self.snapshots():
            self.ingest.absorb(event)
        self.look()

    def snapshots(self) -> list[Snapshot]:
        """All that exists now, as observers send it at their start."""
        entries = {f"k8ssdn/{kind}/{key}": Entry(*at) for (kind, key), at in self.keys.items()}
        namespaces = {name: self._namespace(name) for name in self.namespaces}
        nodes = {name: _node(address) for name, address in self.nodes.items()}
        return [
            Snapshot(ETCD, entries, self.revision),
            Snapshot(KUBE + NAMESPACES, namespaces),
            Snapshot(KUBE + NODES, nodes),
        ]

    def look(self) -> World:
        """The newest snapshot."""
        config = evolve(sample_config(plugin_name=self.manager.mode), extra=self.extra)
        changes = self.ingest.changes(config, self.manager.kinds, self.manager.resources)
        self.answers.update({**changes, (CONFIG, ""): Slot(config)}, self.revision)
        return self.world

    def wanted(self) -> list[Allocation]:
        """What should be written now."""
        return [each for wanted in self._wanted_by_plugin() for each in wanted]

    def write(self, wanted: Allocation) -> bool:
        """One transaction; False: a record is not as it was when this was decided."""
        if any(
            self.keys.get((each.kind, each.key), (b"", 0))[1] != each.revision
            for each in wanted.writes
        ):
            return False
        for each in wanted.writes:
            data = None if each.value is None else self.manager.kinds[each.kind].encode(each.value)
            self.put(each.kind, each.key, data)
        if wanted.event:
            self.events.append(wanted.event)
        return True

    def settle(self) -> int:
        """Write until nothing more is wanted; the number of reconciles that it took."""
        for number in range(_MOST_RECONCILES):
            written = [
                each
                for wanted in self._wanted_by_plugin()
                for each in wanted
                if self._written(each)
            ]
            if not written:
                return number
        raise K8sOvsError(f"not settled after {_MOST_RECONCILES} reconciles: {written[0].reason}")

    def record(self, name: str) -> dict[str, Any]:
        """A namespace's record as it is in etcd."""
        found: dict[str, Any] = json.loads(self.keys[NETNAMESPACES, name][0])
        return found

    def net_ids(self) -> dict[str, int]:
        """The tenant id of each namespace."""
        return self._numbers(NETNAMESPACES, "NetID")

    def vnis(self) -> dict[str, int]:
        """The VNI of each namespace."""
        return self._numbers("vnids", "VNID")

    def _namespace(self, name: str) -> Entry:
        """A Namespace of the API."""
        return Entry({"metadata": {"uid": self.namespaces[name]}})

    def _wanted_by_plugin(self) -> Iterator[list[Allocation]]:
        """What each plugin wants once the one before it has been served."""
        for plugin in self.manager.allocators:
            found = self.manager.allocations(plugin, self.manager.view(self.look()))
            if isinstance(found, Failure | Held):
                raise PluginError(str(found))
            self._compare_remembered(plugin, found)
            yield [each for each in found if not isinstance(each, Problem)]

    def _compare_remembered(self, plugin: str, found: tuple[Allocation | Problem, ...]) -> None:
        """Who is not told of a change would want the same as before, and so does who asks again."""
        for stale in self.answers.take_stale():
            self._remembered.pop(stale, None)
        if plugin not in self._remembered:
            view = self.answers.view()
            self._remembered[plugin] = self.manager.allocations(plugin, view)
            self.answers.remember(plugin, view)
        if self._remembered[plugin] != found:
            raise K8sOvsError(f"remembered {self._remembered[plugin]}, expected {found}")

    def _written(self, wanted: Allocation) -> bool:
        if not self.write(wanted):
            raise K8sOvsError(f"{wanted.reason}: was decided on another revision")
        return True

    def _numbers(self, wanted: str, field_name: str) -> dict[str, int]:
        return {
            key: json.loads(value)[field_name]
            for (kind, key), (value, _) in self.keys.items()
            if kind == wanted
        }


def _node(address: str) -> Entry:
    """A Node of the API."""
    return Entry({"status": {"addresses": [{"type": "InternalIP", "address": address}]}})
