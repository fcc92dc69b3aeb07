"""Which resources of Kubernetes does this daemon watch? Those that its plugins read here.

What only allocations read, the leader watches and its successor: an object of the whole cluster
that each node watched would be as many messages as nodes. Plugins that read the same objects share
one watch; what each makes of an object is its own.
"""

from __future__ import annotations

from copy import deepcopy

from attrs import evolve, frozen

from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.node.inbox import Inbox
from k8s_ovs.node.records.ingest import KUBE, Ingest
from k8s_ovs.observe.kube import Kube, ResourceWatch, WatchedResource
from k8s_ovs.observe.watch_event import Entry, RecordChange, WatchEvent
from k8s_ovs.plugin.records import KubeResource

__all__ = ["KubeWatches", "watched_as"]

#: The name of a resource, and the plugin that reads it: what it has read, no other one has.
_Reader = tuple[str, str]


def watched_as(resource: KubeResource, hostname: str) -> WatchedResource:
    """What a daemon on this node watches for a plugin's resource."""
    return WatchedResource(
        resource.path,
        KUBE + resource.name,
        resource.fields_on(hostname),
        resource.label_selector,
        resource.optional,
    )


@frozen
class _Watched:
    readers: tuple[_Reader, ...]
    watch: ResourceWatch


class KubeWatches:
    """kube None: an external host, which watches nothing. Events come through the inbox."""

    def __init__(self, kube: Kube | None, hostname: str, inbox: Inbox, ingest: Ingest) -> None:
        self._kube = kube
        self._hostname = hostname
        self._inbox = inbox
        self._ingest = ingest
        # By the objects, whatever their source is called.
        self._watches: dict[WatchedResource, _Watched] = {}
        ingest.see(all_kinds=False)

    def follow(self, manager: PluginManager, *, sees_all: bool) -> None:
        """Watch what is needed now, and nothing else. sees_all: this daemon leads or is to follow.

        Called by the daemon's own thread.
        """
        if self._kube is None:
            return
        self._ingest.see(all_kinds=sees_all)
        wanted = self._wanted(manager, sees_all)
        before = {reader for each in self._watches.values() for reader in each.readers}
        for objects, known in tuple(self._watches.items()):
            if wanted.get(objects) != known.readers:
                known.watch.stop(wait=False)
                del self._watches[objects]
        for name, _ in before - {reader for readers in wanted.values() for reader in readers}:
            self._ingest.forget(KUBE + name)
        for objects in wanted.keys() - self._watches.keys():
            self._watches[objects] = self._start(self._kube, objects, wanted[objects])

    def _wanted(
        self, manager: PluginManager, sees_all: bool
    ) -> dict[WatchedResource, tuple[_Reader, ...]]:
        """Who reads which objects."""
        found: dict[WatchedResource, tuple[_Reader, ...]] = {}
        for name, resource in manager.resources.items():
            if sees_all or not resource.for_allocation:
                objects = evolve(watched_as(resource, self._hostname), source="")
                found[objects] = (*found.get(objects, ()), (name, manager.readers[name]))
        return found

    def _start(
        self, kube: Kube, objects: WatchedResource, readers: tuple[_Reader, ...]
    ) -> _Watched:
        sources = [KUBE + name for name, _ in readers]

        def tell_each(event: WatchEvent) -> None:
            # All copies before the first one is read: its reader may change it.
            copies = [_copied(event, source) for source in sources[1:]]
            for each in (evolve(event, source=sources[0]), *copies):
                self._inbox.put(each)

        named = ", ".join(dict.fromkeys(plugin for _, plugin in readers))
        resource = evolve(objects, source=", ".join(sources), reader=named)
        for source in sources:
            self._ingest.expect(source)
        watch = ResourceWatch(kube, resource, tell_each)
        watch.start()
        return _Watched(readers, watch)

    def stop(self) -> None:
        """All at once, without waiting for them."""
        for each in self._watches.values():
            each.watch.stop(wait=False)


def _copied(event: WatchEvent, source: str) -> WatchEvent:
    """The event for another reader: what one plugin does to an object, no other one sees."""
    if isinstance(event, RecordChange) and isinstance(event.entry, Entry):
        return evolve(event, source=source, entry=deepcopy(event.entry))
    return evolve(event, source=source)
