"""Subnets on a real etcd: no subnet is given twice, however many write or become the leader."""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address

import pytest
from attrs import define, field

from k8s_ovs.allocate.allocator import Allocator
from k8s_ovs.allocate.election import LeaderElection, LeaderToken
from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.model.codec import decode
from k8s_ovs.model.network import NetworkConfig
from k8s_ovs.model.node import KubeNode
from k8s_ovs.model.subnet import HostSubnet
from k8s_ovs.model.world import CONFIG, NODES, Slot, World
from k8s_ovs.node.records.ingest import ETCD, Ingest
from k8s_ovs.observe.etcd.client import Etcd
from k8s_ovs.observe.etcd.watch import PrefixWatch
from k8s_ovs.observe.watch_event import Entry, RecordChange, Snapshot, WatchEvent
from k8s_ovs_subnet import SingleTenant
from k8s_ovs_testing.servers.etcd import EtcdProcess
from k8s_ovs_testing.world import sample_config

MANAGER = PluginManager({"k8s-ovs-subnet": SingleTenant()})
#: Room for 256 nodes.
CONFIG_256 = sample_config(host_subnet_length=8)
TIMEOUT = 60.0

MakeClient = Callable[..., Etcd]
Nodes = dict[str, KubeNode]


def nodes(count: int, first: int = 0) -> Nodes:
    return {
        f"node{number:03}": KubeNode(f"node{number:03}", (IPv4Address("192.168.0.1") + number,))
        for number in range(first, first + count)
    }


def snapshot(ingest: Ingest, kube: Nodes, config: NetworkConfig = CONFIG_256) -> World:
    """The world as these watch events and these nodes of Kubernetes make it."""
    ingest.restart()
    changes = ingest.changes(config, MANAGER.kinds, MANAGER.resources)
    changes[CONFIG, ""] = Slot(config)
    changes |= {(NODES, name): Slot(node) for name, node in kube.items()}
    return World().changed(changes, ingest.revision)


class Daemon:
    """The part of a daemon that allocates: it watches etcd, runs for leader, and hears of nodes."""

    def __init__(
        self, etcd: Etcd, prefix: str, name: str, kube: Nodes, hold_down: float = 3600.0
    ) -> None:
        base = f"{prefix}/k8ssdn"
        self.kube = kube
        self.stopped = False
        self.events: queue.SimpleQueue[WatchEvent | None] = queue.SimpleQueue()
        self.election = LeaderElection(etcd, f"{base}/allocator", name, 2, lambda _: self.look())
        self.allocator = Allocator(etcd, base, self.election, hold_down=hold_down, grace=0.0)
        self.watch = PrefixWatch(etcd, f"{prefix}/", ETCD, self.events.put)
        self.thread = threading.Thread(target=self.follow, daemon=True)
        self.election.start()
        self.allocator.start()
        self.watch.start()
        self.thread.start()

    def follow(self) -> None:
        ingest = Ingest()
        while not self.stopped:
            event = self.events.get()
            while event is not None:
                ingest.absorb(event)
                try:
                    event = self.events.get_nowait()
                except queue.Empty:
                    break
            if ingest.synced(ETCD):
                self.allocator.offer(snapshot(ingest, self.kube), MANAGER)

    def stop(self) -> None:
        self.stopped = True
        self.events.put(None)
        self.thread.join(10)
        self.watch.stop()
        self.allocator.stop()
        self.election.stop()

    def look(self) -> None:
        """Have a look at the nodes of Kubernetes, which have changed."""
        self.events.put(None)


@define
class History:
    """All that etcd ever held below the prefix, change by change."""

    events: queue.SimpleQueue[WatchEvent] = field(factory=queue.SimpleQueue)
    subnets: dict[str, HostSubnet] = field(factory=dict)
    changes: int = 0

    def until(self, done: Callable[[dict[str, HostSubnet]], bool]) -> dict[str, HostSubnet]:
        """Follow until it is `done`. On the way no two subnets overlap."""
        while not done(self.subnets):
            event = self.events.get(timeout=TIMEOUT)
            if isinstance(event, Snapshot):
                assert not self.subnets, "no gap in the history"
                for key, entry in event.entries.items():
                    self._note(key, entry)
            elif isinstance(event, RecordChange):
                self._note(event.key, event.entry)
        return self.subnets

    def _note(self, path: str, entry: Entry | None) -> None:
        network, _, rest = path.partition("/")
        kind, _, key = rest.partition("/")
        if (network, kind) != ("k8ssdn", "subnets"):
            return
        self.changes += 1
        self.subnets.pop(key, None)
        if entry is not None:
            new = decode(HostSubnet, path, entry.value)
            assert new.subnet is not None
            for other in self.subnets.values():
                assert other.subnet != new.subnet, f"{new} has the subnet of {other}"
            self.subnets[key] = new


@pytest.fixture
def prefix(request: pytest.FixtureRequest) -> str:
    return f"/{request.node.name}"


@pytest.fixture
def history(shared: EtcdProcess, client: MakeClient, prefix: str) -> Iterator[History]:
    history = History()
    watch = PrefixWatch(client(shared.endpoint), f"{prefix}/", "history", history.events.put)
    watch.start()
    yield history
    watch.stop()


@pytest.fixture
def daemon(shared: EtcdProcess, client: MakeClient, prefix: str) -> Iterator[Callable[..., Daemon]]:
    made: list[Daemon] = []

    def make(name: str, kube: Nodes, hold_down: float = 3600.0) -> Daemon:
        made.append(Daemon(client(shared.endpoint), prefix, name, kube, hold_down))
        return made[-1]

    yield make
    for each in made:
        each.stop()


MakeDaemon = Callable[..., Daemon]


def test_two_hundred_nodes_get_two_hundred_subnets_from_two_daemons(
    daemon: MakeDaemon, history: History
) -> None:
    kube = nodes(200)
    daemon("one", kube)
    daemon("two", kube)
    found = history.until(lambda subnets: len(subnets) == 200)
    assert {record.host for record in found.values()} == set(kube)
    assert not any(
        one.subnet.overlaps(other.subnet)
        for one, other in itertools.combinations(found.values(), 2)
        if one.subnet and other.subnet
    )
    assert history.changes == 200, "each record was written once"


def test_the_next_leader_continues_where_the_first_one_ended(
    daemon: MakeDaemon, history: History
) -> None:
    kube = nodes(5)
    first = daemon("one", kube)
    history.until(lambda subnets: len(subnets) == 5)
    second = daemon("two", kube)
    first.stop()
    kube.update(nodes(5, first=5))
    del kube["node001"]
    second.look()
    found = history.until(lambda subnets: len(subnets) == 9 and "192.168.0.2" not in subnets)
    assert {record.host for record in found.values()} == set(kube)


def test_a_record_that_a_person_deletes_stays_away_and_then_comes_again(
    daemon: MakeDaemon, history: History, shared: EtcdProcess, prefix: str
) -> None:
    kube = nodes(2)
    daemon("one", kube, hold_down=2.0)
    history.until(lambda subnets: len(subnets) == 2)
    shared.ctl("del", f"{prefix}/k8ssdn/subnets/192.168.0.1")
    history.until(lambda subnets: len(subnets) == 1)
    found = history.until(lambda subnets: len(subnets) == 2)
    assert {record.host for record in found.values()} == set(kube)


@define
class Believer:
    """Believes to be the leader, whatever has happened since."""

    token: LeaderToken | None = None


def test_of_many_who_believe_to_be_the_leader_only_the_last_one_writes(
    shared: EtcdProcess, client: MakeClient, prefix: str, history: History
) -> None:
    """The leader changes faster than anybody notices, and all go on writing.

    Each has heard of other nodes, so that without the election's compare the same subnet would go
    to different nodes, by transactions that know nothing of each other.
    """
    base, kube = f"{prefix}/k8ssdn", nodes(30)
    believers = [Believer() for _ in range(3)]
    full = threading.Event()

    def work(number: int) -> None:
        etcd = client(shared.endpoint)
        believer = believers[number]
        allocator = Allocator(etcd, base, believer, hold_down=0.0, grace=TIMEOUT)
        heard_of = {name: node for name, node in kube.items() if int(name[4:]) % 3 != number}
        while not full.is_set():
            found, revision = etcd.list(f"{prefix}/")
            ingest = Ingest()
            entries = {
                key.removeprefix(f"{prefix}/"): Entry(each.value, each.mod_revision)
                for key, each in found.items()
            }
            ingest.absorb(Snapshot(ETCD, entries, revision))
            allocator.offer(snapshot(ingest, heard_of), MANAGER)
            allocator.reconcile()

    def depose() -> None:
        etcd = client(shared.endpoint)
        for believer in itertools.cycle(believers):
            etcd.delete(f"{base}/allocator")
            revision = etcd.put(f"{base}/allocator", b"{}")
            believer.token = LeaderToken(f"{base}/allocator", revision)
            if full.wait(0.02):
                return

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(3)]
    threads.append(threading.Thread(target=depose, daemon=True))
    for thread in threads:
        thread.start()
    try:
        found = history.until(lambda subnets: len(subnets) == len(kube))
    finally:
        full.set()
        for thread in threads:
            thread.join(TIMEOUT)
    assert {record.host for record in found.values()} == set(kube)
    assert len({record.subnet for record in found.values()}) == len(kube)
