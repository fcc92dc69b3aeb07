"""What does a daemon do with etcd? Many at once in one process, with the daemon's own classes.

    python -m tests.bench.scale.simulated --endpoint URL --first 0 --count 50

Each watches the records, takes part in leader election, says which subnet its pods are in, and
publishes its status: that it has applied what it has seen. They run until they are ended.
"""

from __future__ import annotations

import argparse
import os
import signal
from ipaddress import IPv4Address, IPv4Network

from attrs import evolve
from tests.bench.scale.cluster import CONFIG

from k8s_ovs.allocate.succession import Succession
from k8s_ovs.model.codec import decode
from k8s_ovs.model.subnet_use import SubnetUse
from k8s_ovs.model.world import USED
from k8s_ovs.node.records.ingest import ETCD
from k8s_ovs.node.records.left_out import LEFT_OUT
from k8s_ovs.node.tell.status_publisher import StatusPublisher
from k8s_ovs.observe.etcd.client import Etcd, EtcdSettings
from k8s_ovs.observe.etcd.watch import PrefixWatch
from k8s_ovs.observe.watch_event import Entry, RecordChange, SourceState, WatchEvent
from k8s_ovs_lab.layout import ETCD_PREFIX
from k8s_ovs_testing.node_state import sample_state

__all__ = ["WORKER", "SimulatedDaemon"]

#: What the nodes' names begin with, before their numbers.
WORKER = "worker"
_FIRST_SUBNET = IPv4Address("10.128.0.0")
_NAME = str(CONFIG["Name"])
_LEADER_TTL = 10


class SimulatedDaemon:
    """The part of a daemon that etcd meets."""

    def __init__(self, endpoint: str, host: str, subnet: IPv4Network) -> None:
        self._etcd = Etcd(EtcdSettings((endpoint,)))
        use = SubnetUse(host, subnet)
        base = f"{ETCD_PREFIX}/{_NAME}"
        self._use_path = f"{_NAME}/{USED}/{host}"
        self._state = sample_state(hostname=host, subnet_use=use, problems=())
        self._succession = Succession(self._etcd, base, host, _LEADER_TTL)
        self._status = StatusPublisher(self._etcd, base, host, external=False)
        self._watch = PrefixWatch(self._etcd, f"{ETCD_PREFIX}/", ETCD, self._see, LEFT_OUT)

    def start(self) -> None:
        """As a daemon does, once it has read the configuration."""
        for part in (self._watch, self._status, self._succession):
            part.start()

    def _see(self, event: WatchEvent) -> None:
        if isinstance(event, SourceState):
            return
        if isinstance(event, RecordChange):
            self._take(event.key, event.entry)
        else:
            offices = (key.removeprefix(f"{ETCD_PREFIX}/") for key in self._succession.keys)
            for path in (*offices, self._use_path):
                self._take(path, event.entries.get(path))
        self._state = evolve(self._state, applied_revision=event.revision)
        self._status.offer(self._state)

    def _take(self, path: str, entry: Entry | None) -> None:
        self._succession.saw(f"{ETCD_PREFIX}/{path}", entry is not None)
        if path == self._use_path:
            told = None if entry is None else decode(SubnetUse, path, entry.value)
            self._state = evolve(self._state, told_use=told)


def main() -> None:
    """Run them until SIGTERM."""
    parser = argparse.ArgumentParser(prog="tests.bench.scale.simulated", description=__doc__)
    parser.add_argument("--endpoint", required=True, metavar="URL")
    parser.add_argument("--first", type=int, required=True, help="number of the first one")
    parser.add_argument("--count", type=int, required=True)
    wanted = parser.parse_args()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    for number in range(wanted.first, wanted.first + wanted.count):
        subnet = IPv4Network((_FIRST_SUBNET + 256 * number, 24))
        SimulatedDaemon(wanted.endpoint, f"{WORKER}{number}", subnet).start()
    signal.sigwait({signal.SIGTERM})
    # Nobody waits for some hundred threads to end.
    os._exit(0)


if __name__ == "__main__":
    main()
