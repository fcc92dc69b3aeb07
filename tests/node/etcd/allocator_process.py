"""As much of a daemon as allocates, as a process of its own: ENDPOINT PREFIX NAME.

SIGUSR1 has it stopped (SIGSTOP) at the worst of moments: when it has decided what to write next,
and has not written it. What Kubernetes would tell is read from etcd too, below
`<PREFIX>-kube/<resource>/<name>`.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
from collections.abc import Callable, Iterable

from k8s_ovs.allocate.allocator import Allocator
from k8s_ovs.allocate.election import LeaderElection
from k8s_ovs.hooks.load import load_plugins
from k8s_ovs.model.world import CONFIG, Slot, World
from k8s_ovs.node.records.ingest import ETCD, KUBE, Ingest
from k8s_ovs.observe.etcd.client import Compare, Etcd, EtcdSettings, Operation, TxnResult
from k8s_ovs.observe.etcd.watch import PrefixWatch
from k8s_ovs.observe.watch_event import Entry, RecordChange, Snapshot, WatchEvent

CLUSTER = "cluster"


class PausingEtcd(Etcd):
    """Stops this process before an allocation is written, once after each SIGUSR1."""

    pause = False

    def txn(
        self,
        compares: Iterable[Compare],
        then: Iterable[Operation],
        otherwise: Iterable[Operation] = (),
    ) -> TxnResult:
        compares = tuple(compares)
        is_allocation = len(compares) > 1
        if is_allocation and self.pause:
            self.pause = False
            os.kill(os.getpid(), signal.SIGSTOP)
        return super().txn(compares, then, otherwise)

    def pause_next(self, _number: int, _frame: object) -> None:
        self.pause = True


def main(endpoint: str, prefix: str, name: str) -> None:
    etcd = PausingEtcd(EtcdSettings((endpoint,)))
    signal.signal(signal.SIGUSR1, etcd.pause_next)
    events: queue.SimpleQueue[WatchEvent | None] = queue.SimpleQueue()
    base = f"{prefix}/k8ssdn"
    election = LeaderElection(etcd, f"{base}/allocator", name, 2, lambda _: events.put(None))
    allocator = Allocator(etcd, base, election)
    watches = [
        PrefixWatch(etcd, f"{prefix}/", ETCD, events.put),
        PrefixWatch(etcd, f"{prefix}-kube/", CLUSTER, tell_as_kubernetes(events.put)),
    ]
    election.start()
    allocator.start()
    for watch in watches:
        watch.start()
    follow(events, allocator)


def tell_as_kubernetes(sink: Callable[[WatchEvent], None]) -> Callable[[WatchEvent], None]:
    def tell(event: WatchEvent) -> None:
        if isinstance(event, RecordChange):
            resource, _, key = event.key.partition("/")
            assert event.entry is not None, "nothing is deleted"
            sink(RecordChange(KUBE + resource, key, Entry(json.loads(event.entry.value))))
        elif isinstance(event, Snapshot):
            for resource in ("namespaces", "nodes"):
                found = {
                    key.removeprefix(f"{resource}/"): Entry(json.loads(entry.value))
                    for key, entry in event.entries.items()
                    if key.startswith(f"{resource}/")
                }
                sink(Snapshot(KUBE + resource, found))

    return tell


def follow(events: queue.SimpleQueue[WatchEvent | None], allocator: Allocator) -> None:
    """Each snapshot to the allocator, with all that has come meanwhile merged."""
    ingest, world, manager = Ingest(), World(), None
    while True:
        some = [events.get(), *(events.get_nowait() for _ in range(events.qsize()))]
        for event in some:
            if event is not None:
                ingest.absorb(event)
        config, _ = ingest.config()
        if config is None or not (ingest.synced(KUBE + "nodes") and ingest.synced(ETCD)):
            continue
        manager = manager or load_plugins(config.plugin_name)
        changes = ingest.changes(config, manager.kinds, manager.resources)
        world = world.changed({**changes, (CONFIG, ""): Slot(config)}, ingest.revision)
        allocator.offer(world, manager)


if __name__ == "__main__":
    main(*sys.argv[1:])
