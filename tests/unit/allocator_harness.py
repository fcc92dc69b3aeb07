"""An allocator's harness: an etcd of a dictionary, a fake election, and Kubernetes' nodes."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network

from attrs import define, field

from k8s_ovs.allocate.allocator import Allocator
from k8s_ovs.allocate.election import LeaderToken
from k8s_ovs.errors import K8sOvsError
from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.model.network import NetworkConfig
from k8s_ovs.model.node import KubeNode
from k8s_ovs.model.world import CONFIG, NODES, SUBNETS, Slot, World
from k8s_ovs.node.records.ingest import ETCD, Ingest
from k8s_ovs.observe.etcd.client import (
    Absent,
    Compare,
    CreatedAt,
    Delete,
    Operation,
    Put,
    TxnResult,
    Unchanged,
)
from k8s_ovs.observe.watch_event import Entry, Snapshot
from k8s_ovs.plugin import Allocation, Event, RecordKind, View, Write, hook
from k8s_ovs_subnet import SingleTenant
from k8s_ovs_testing.world import indexed, sample_config, sample_host

__all__ = [
    "BASE",
    "ELECTION",
    "FIRST",
    "SECOND",
    "AllocatorHarness",
    "Answering",
    "DictEtcd",
    "make_harness",
]

PREFIX = "/k8s.ovs.com/ovs/network/"
BASE = f"{PREFIX}k8ssdn"
ELECTION = f"{BASE}/allocator"

#: What the first two nodes get.
FIRST, SECOND = IPv4Network("172.11.0.0/22"), IPv4Network("172.11.4.0/22")


@define
class Key:
    value: bytes
    created: int
    revision: int


@define
class DictEtcd:
    """Transactions as etcd does them: all compares or nothing. fault: raised by the next one.
    refused: what a key contains that it does not take."""

    keys: dict[str, Key] = field(factory=dict)
    revision: int = 1
    transactions: int = 0
    fault: K8sOvsError | None = None
    refused: str = ""

    def txn(self, compares: Iterable[Compare], then: Iterable[Operation]) -> TxnResult:
        self.transactions += 1
        if self.fault:
            fault, self.fault = self.fault, None
            raise fault
        then = list(then)
        if self.refused and any(self.refused in each.key for each in then):
            raise K8sOvsError(f"etcd refuses: {self.refused}")
        if not all(map(self._holds, compares)):
            return TxnResult(False, self.revision)
        self.revision += 1
        for operation in then:
            if isinstance(operation, Put):
                old = self.keys.get(operation.key)
                created = old.created if old else self.revision
                self.keys[operation.key] = Key(operation.value, created, self.revision)
            elif isinstance(operation, Delete):
                del self.keys[operation.key]
        return TxnResult(True, self.revision)

    def put(self, key: str, value: bytes) -> int:
        return self.txn((), [Put(key, value)]).revision

    def delete(self, key: str) -> None:
        self.txn((), [Delete(key)])

    def _holds(self, compare: Compare) -> bool:
        found = self.keys.get(compare.key)
        match compare:
            case Absent():
                return found is None
            case Unchanged():
                return found is not None and found.revision == compare.mod_revision
            case CreatedAt():
                return found is not None and found.created == compare.create_revision


@define
class FakeElection:
    """The part of a leader election that an allocator looks at."""

    token: LeaderToken | None = None


def single_tenant(*plugins: object) -> PluginManager:
    named = {f"acme-{number}": plugin for number, plugin in enumerate(plugins)}
    return PluginManager({"k8s-ovs-subnet": SingleTenant(), **named})


@define
class AllocatorHarness:
    """An etcd, a fake election and an allocator; `nodes` are Kubernetes'."""

    etcd: DictEtcd
    election: FakeElection
    allocator: Allocator
    manager: PluginManager
    config: NetworkConfig = field(factory=sample_config)
    nodes: dict[str, KubeNode] = field(factory=dict)

    def become_leader(self) -> None:
        if ELECTION in self.etcd.keys:
            self.etcd.delete(ELECTION)
        self.election.token = LeaderToken(ELECTION, self.etcd.put(ELECTION, b"{}"))

    def snapshot(self) -> World:
        """The world as this etcd and these nodes have it now."""
        ingest = Ingest()
        entries = {
            name.removeprefix(PREFIX): Entry(key.value, key.revision)
            for name, key in self.etcd.keys.items()
        }
        ingest.absorb(Snapshot(ETCD, entries, self.etcd.revision))
        changes = ingest.changes(self.config, self.manager.kinds, self.manager.resources)
        changes[CONFIG, ""] = Slot(self.config)
        changes |= {(NODES, name): Slot(node) for name, node in self.nodes.items()}
        return indexed(World().changed(changes, self.etcd.revision), self.manager)

    def reconcile(self, snapshot: World | None = None) -> bool:
        self.allocator.offer(snapshot or self.snapshot(), self.manager)
        return self.allocator.reconcile()

    def join(self, *numbers: int) -> None:
        self.nodes |= {
            f"node{number}": KubeNode(f"node{number}", (sample_host(number).host_ip,))
            for number in numbers
        }

    def subnets(self) -> dict[str, IPv4Network | None]:
        found = self.snapshot().settled(SUBNETS).values()
        return {record.host: record.subnet for record in found}


def make_harness(
    *plugins: object,
    etcd: DictEtcd | None = None,
    config: NetworkConfig | None = None,
    hold_down: float = 3600.0,
    grace: float = 0.0,
) -> AllocatorHarness:
    """A harness that is not the leader yet, without nodes."""
    etcd, election = etcd or DictEtcd(), FakeElection()
    allocator = Allocator(etcd, BASE, election, hold_down=hold_down, grace=grace)  # type: ignore[arg-type]  # stand-ins
    return AllocatorHarness(
        etcd, election, allocator, single_tenant(*plugins), config or sample_config()
    )


class Answering:
    """A plugin that answers requests, and repairs what cannot be read."""

    @hook
    def kinds(self) -> Iterable[RecordKind]:
        return [
            RecordKind(
                "audits", lambda _, data: int(data), str.encode, asks=lambda value: value < 0
            )
        ]

    @hook
    def allocations(self, view: View) -> Iterable[Allocation]:
        if view.request("audits", "a") or view.problem("audits", "a"):
            write = Write("audits", "a", "7", view.revision("audits", "a"))
            yield Allocation((write,), "an answer", Event("Node", "a", "Answered", "with 7"))
