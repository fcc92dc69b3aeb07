"""Which resources of Kubernetes does this daemon watch? Those that its plugins read here.

What only allocations read, the leader watches and its successor: an object of the whole cluster
that each node watched would be as many messages as nodes.
"""

from __future__ import annotations

from attrs import frozen

from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.node.inbox import Inbox
from k8s_ovs.node.records.ingest import KUBE, Ingest
from k8s_ovs.observe.kube import Kube, ResourceWatch, WatchedResource

__all__ = ["KubeWatches"]


@frozen
class _Watched:
    """reader: the plugin, since what it has read, no other one has."""

    reader: str
    watch: ResourceWatch


class KubeWatches:
    """kube None: an external host, which watches nothing. Events come through the inbox."""

    def __init__(self, kube: Kube | None, hostname: str, inbox: Inbox, ingest: Ingest) -> None:
        self._kube = kube
        self._hostname = hostname
        self._inbox = inbox
        self._ingest = ingest
        self._watches: dict[str, _Watched] = {}
        ingest.see(all_kinds=False)

    def follow(self, manager: PluginManager, *, sees_all: bool) -> None:
        """Watch what is needed now, and nothing else. sees_all: this daemon leads or is to follow.

        Called by the daemon's own thread.
        """
        if self._kube is None:
            return
        self._ingest.see(all_kinds=sees_all)
        wanted = {
            name: resource
            for name, resource in manager.resources.items()
            if sees_all or not resource.for_allocation
        }
        for name, known in tuple(self._watches.items()):
            if name not in wanted or manager.readers[name] != known.reader:
                known.watch.stop(wait=False)
                del self._watches[name]
                self._ingest.forget(KUBE + name)
        for name in wanted.keys() - self._watches.keys():
            selector = wanted[name].field_selector(self._hostname)
            source = KUBE + name
            watch = ResourceWatch(
                self._kube, WatchedResource(wanted[name].path, source, selector), self._inbox.put
            )
            self._watches[name] = _Watched(manager.readers[name], watch)
            self._ingest.expect(source)
            watch.start()

    def stop(self) -> None:
        """All at once, without waiting for them."""
        for each in self._watches.values():
            each.watch.stop(wait=False)
