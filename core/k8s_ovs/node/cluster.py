"""What of this daemon the others in the cluster see: its status, its part in leader election, the
allocations that it makes as leader, and events. All of it runs in threads of its own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Literal

from k8s_ovs.allocate.allocator import Allocator
from k8s_ovs.allocate.succession import Succession
from k8s_ovs.model.network import NetworkConfig
from k8s_ovs.node.inbox import Inbox
from k8s_ovs.node.settings import NodeSettings
from k8s_ovs.node.tell.event_recorder import PodEvent
from k8s_ovs.node.tell.node_state import NodeState
from k8s_ovs.node.tell.status_publisher import StatusPublisher
from k8s_ovs.observe.etcd.client import Etcd
from k8s_ovs.observe.kube import Involved, Kube, post_event
from k8s_ovs.observe.watch_event import RecordChange, Snapshot, WatchEvent
from k8s_ovs.plugin.values import Event
from k8s_ovs.reconcile.reconciler import Reconciler

__all__ = ["ClusterParts"]

_LEADER_TTL = 10
#: Seconds for which the end waits for etcd and the API server, and then for calls that are cut off.
_ENDS_WITHIN, _CLOSES_WITHIN = 3.0, 1.0


class ClusterParts:
    """They follow the configuration. kube None: an external host, which does not allocate."""

    def __init__(self, settings: NodeSettings, etcd: Etcd, kube: Kube | None, inbox: Inbox) -> None:
        self._settings = settings
        self._etcd = etcd
        self._kube = kube
        self._inbox = inbox
        self._allocation: tuple[str, Succession, Allocator] | None = None
        self._publisher: tuple[str, StatusPublisher] | None = None
        self._lost = 0

    @property
    def is_leader(self) -> bool:
        return self._allocation is not None and self._allocation[1].token is not None

    @property
    def sees_all(self) -> bool:
        """Whether this daemon leads, or is to follow who does."""
        return self._allocation is not None and self._allocation[1].sees_all

    @property
    def problems(self) -> tuple[str, ...]:
        """What etcd has lost, what could not be allocated, and why etcd refuses to be told."""
        told = self._publisher[1].problem if self._publisher else ""
        _, succession, allocator = self._allocation or (None, None, None)
        elected = succession.problem if succession else ""
        allocated = allocator.problems if allocator else ()
        # All of them meet the same etcd: that it refuses is one problem.
        found = (self._told_of_lost(), told, elected, *allocated)
        return tuple(dict.fromkeys(each for each in found if each))

    def _told_of_lost(self) -> str:
        if not self._lost:
            return ""
        return (
            f"etcd was restored or made anew without {self._lost} records that were in force: they "
            "stay so for a minute, and the leader puts them back"
        )

    def see(self, event: WatchEvent) -> None:
        """Whether there is a leader, so that no daemon has to ask etcd for it all the time. In the
        thread of etcd's watch."""
        if self._allocation is None:
            return
        succession, prefix = self._allocation[1], f"{self._settings.prefix}/"
        if isinstance(event, Snapshot):
            for key in succession.keys:
                succession.saw(key, key.removeprefix(prefix) in event.entries)
        elif isinstance(event, RecordChange):
            succession.saw(prefix + event.key, event.entry is not None)

    def offer_world(self, reconciler: Reconciler) -> None:
        """The newest snapshot, for the allocator."""
        if self._allocation is not None:
            touched = reconciler.take_touched("allocator")
            self._allocation[2].offer(reconciler.world, reconciler.manager, touched)

    def offer_lost(self, records: Mapping[str, bytes]) -> None:
        """What etcd has lost, for the allocator to put back: values by path below the prefix."""
        self._lost = len(records)
        if self._allocation is not None:
            prefix = self._settings.prefix
            lost = {f"{prefix}/{path}": value for path, value in records.items()}
            self._allocation[2].offer_lost(lost)

    def withdraw_world(self) -> None:
        """Not all of the cluster is seen any more: what was offered is of the past."""
        if self._allocation is not None:
            self._allocation[2].withdraw()

    def offer_state(self, state: NodeState) -> None:
        """The newest state, for the status in etcd."""
        if self._publisher is not None:
            self._publisher[1].offer(state)

    def end(self) -> None:
        """All at once, and the connection to etcd: what it has not heard of until then, it learns
        when the leases expire."""
        threads = [_started(stop) for stop in (self._end_allocation, self._end_publisher)]
        ends = time.monotonic() + _ENDS_WITHIN
        for thread in threads:
            thread.join(max(0.0, ends - time.monotonic()))
        self._etcd.close()
        for thread in threads:
            thread.join(_CLOSES_WITHIN)

    def follow(self, config: NetworkConfig) -> None:
        """Tell of this node, join this network's leader election."""
        base = f"{self._settings.prefix}/{config.name}"
        self.publish_to(base)
        if self._kube is not None:
            self._join_election(base)

    def publish_to(self, base: str) -> None:
        if self._publisher and self._publisher[0] == base:
            return
        self._end_publisher()
        hostname, external = self._settings.hostname, self._kube is None
        publisher = StatusPublisher(
            self._etcd, base, hostname, external=external, on_problem=self._inbox.wake
        )
        publisher.start()
        self._publisher = (base, publisher)

    def _end_publisher(self) -> None:
        if self._publisher:
            self._publisher[1].stop()
            self._publisher = None

    def _join_election(self, base: str) -> None:
        if self._allocation and self._allocation[0] == base:
            return
        self._end_allocation()
        succession = Succession(
            self._etcd, base, self._settings.hostname, _LEADER_TTL, self._inbox.wake
        )
        allocator = Allocator(self._etcd, base, succession, publish=self._post)
        self._allocation = (base, succession, allocator)
        succession.start()
        allocator.start()

    def _post(self, event: Event) -> None:
        """An event of an allocation, in the allocator's thread."""
        if self._kube is not None:
            about = Involved(event.kind, event.name)
            host = self._settings.hostname
            post_event(
                self._kube, about, event.reason, event.message, severity="Warning", host=host
            )

    def record_event(self, reason: str, message: str, warning: bool) -> None:
        """An event of this node, in the event recorder's thread."""
        if self._kube is not None:
            host = self._settings.hostname
            severity: Literal["Warning", "Normal"] = "Warning" if warning else "Normal"
            post_event(
                self._kube, Involved("Node", host), reason, message, severity=severity, host=host
            )

    def record_pod_event(self, event: PodEvent) -> None:
        """An event of a pod, in the event recorder's thread."""
        if self._kube is not None:
            about = Involved("Pod", event.name, event.namespace, event.uid)
            severity: Literal["Warning", "Normal"] = "Normal" if event.well else "Warning"
            reason = "NetworkConnected" if event.well else "NetworkCutOff"
            host = self._settings.hostname
            post_event(self._kube, about, reason, event.message, severity=severity, host=host)

    def _end_allocation(self) -> None:
        if self._allocation:
            _, succession, allocator = self._allocation
            allocator.stop()
            succession.stop()
            self._allocation = None


def _started(stop: Callable[[], None]) -> threading.Thread:
    """What takes its time to end does so in a thread of its own."""
    thread = threading.Thread(target=stop, name="end", daemon=True)
    thread.start()
    return thread
