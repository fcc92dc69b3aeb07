"""What this daemon has had no list of yet is told to the world, until it has."""

from __future__ import annotations

from k8s_ovs.model.world import CONNECTED, UNSYNCED, World
from k8s_ovs.node.records.ingest import KUBE, Ingest
from k8s_ovs.observe.watch_event import Entry, Snapshot, SourceState
from k8s_ovs.plugin import KubeResource
from k8s_ovs_testing.world import sample_config

RESOURCES = {
    "rules": KubeResource("rules", "/apis/acme.example/v1/rules", lambda _, found: dict(found)),
    "own": KubeResource("own", "/api/v1/pods", lambda _, found: dict(found), local_only=True),
    "all": KubeResource("all", "/api/v1/nodes", lambda _, found: found, for_allocation=True),
}


class Daemon:
    def __init__(self, *, watches_kube: bool = True) -> None:
        self.ingest, self.world = Ingest(watches_kube=watches_kube), World()

    def unsynced(self) -> set[str]:
        changes = self.ingest.changes(sample_config(), {}, RESOURCES)
        self.world = self.world.changed(changes)
        return set(self.world.of(UNSYNCED))

    def list(self, name: str) -> None:
        entries = {"a": Entry({"metadata": {"name": "a"}})}
        self.ingest.absorb(Snapshot(KUBE + name, entries))


def test_a_resource_is_unsynced_until_its_first_list_and_not_when_it_is_lost_later() -> None:
    daemon = Daemon()
    assert daemon.unsynced() == {"rules", "own"}
    daemon.ingest.absorb(SourceState(KUBE + "rules", connected=True))
    assert daemon.unsynced() == {"rules", "own"}
    daemon.list("rules")
    assert daemon.unsynced() == {"own"}
    assert daemon.world.settled("rules").keys() == {"a"}
    daemon.ingest.absorb(SourceState(KUBE + "rules", connected=False, detail="refused"))
    assert daemon.unsynced() == {"own"}
    assert daemon.world.settled(CONNECTED) == {"rules": False}


def test_an_empty_list_is_one() -> None:
    daemon = Daemon()
    daemon.ingest.absorb(Snapshot(KUBE + "rules", {}))
    assert daemon.unsynced() == {"own"}


def test_what_another_plugin_reads_now_is_to_be_listed_again() -> None:
    daemon = Daemon()
    for name in ("rules", "own"):
        daemon.list(name)
    assert daemon.unsynced() == set()
    daemon.ingest.restart(kept=["own"])
    daemon.world = World()
    assert daemon.unsynced() == {"rules"}
    daemon.ingest.forget(KUBE + "own")
    assert daemon.unsynced() == {"rules", "own"}


def test_where_no_api_server_is_configured_nothing_is_awaited() -> None:
    assert Daemon(watches_kube=False).unsynced() == set()
