"""Which sources have been listed, and which are connected? What of that is new to the world?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from k8s_ovs.model.world import CONNECTED, UNSYNCED, Slot
from k8s_ovs.node.records.settled import Changes
from k8s_ovs.observe.watch_event import SourceState
from k8s_ovs.plugin.records import KubeResource

__all__ = ["ETCD", "KUBE", "Sources"]

#: Sources of watch events: etcd's prefix, and "kube:<name of the resource>".
ETCD = "etcd"
KUBE = "kube:"


class Sources:
    """states: the last state of each source, by name. watches_kube: this daemon watches resources
    of Kubernetes; where it does not, there is nothing to wait for."""

    def __init__(self, *, watches_kube: bool) -> None:
        self.states: dict[str, SourceState] = {}
        self._watches_kube = watches_kube
        self._listed: set[str] = set()
        self._told: dict[tuple[str, str], Slot | None] = {}

    def note_list(self, source: str) -> None:
        """It has sent a snapshot."""
        self._listed.add(source)

    def synced(self, source: str) -> bool:
        """Whether it has sent a snapshot at least once."""
        return source in self._listed

    def connected(self, source: str) -> bool:
        """Whether it is synced, and its watch connected now."""
        state = self.states.get(source)
        return self.synced(source) and state is not None and state.connected

    def refused(self, source: str) -> bool:
        """Whether it answers, and does not let us read it."""
        state = self.states.get(source)
        return state is not None and state.refused

    def forget(self, source: str) -> None:
        """It is watched no more."""
        self._listed.discard(source)
        self.states.pop(source, None)

    def restart(self, kept: Iterable[str]) -> set[str]:
        """Tell a new world. kept: resources of Kubernetes that are watched as before; returns the
        sources of the others, which are to be listed again."""
        gone = {source for source in self._listed if source.startswith(KUBE)}
        gone -= {KUBE + name for name in kept}
        for source in gone:
            self.forget(source)
        self._told.clear()
        return gone

    def changes(self, resources: Mapping[str, KubeResource]) -> Changes:
        """Which resources have been listed, and connected or not, since the last call."""
        now: Changes = {}
        for name, resource in resources.items():
            state = self.states.get(KUBE + name)
            now[CONNECTED, name] = None if state is None else Slot(state.connected)
            # What allocations alone look at, they look at once all of the cluster is seen.
            waits = self._watches_kube and not resource.for_allocation
            now[UNSYNCED, name] = Slot(True) if waits and not self.synced(KUBE + name) else None
        new = {which: slot for which, slot in now.items() if self._told.get(which) != slot}
        self._told |= new
        return new
