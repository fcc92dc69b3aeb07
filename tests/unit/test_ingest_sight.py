"""What this daemon does not watch or read now is not known, and is when it does again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from k8s_ovs.model.codec import encode
from k8s_ovs.model.world import CONNECTED, NODES, World
from k8s_ovs.node.records.ingest import ETCD, KUBE, Ingest
from k8s_ovs.observe.watch_event import Entry, RecordChange, Snapshot, SourceState
from k8s_ovs.plugin import KubeResource, RecordKind
from k8s_ovs_testing.world import sample_config


def write(key: str, data: bytes, revision: int) -> RecordChange:
    return RecordChange(ETCD, key, Entry(data, revision), revision)


def test_a_resource_that_is_watched_no_more_is_not_known_until_it_is_again() -> None:
    source, node = KUBE + NODES, {"metadata": {"name": "node1"}}
    resources = {NODES: KubeResource(NODES, "/api/v1/nodes", lambda _, found: dict(found))}
    ingest, world = Ingest(), World()

    def look() -> World:
        nonlocal world
        world = world.changed(ingest.changes(sample_config(), {}, resources), 1)
        return world

    ingest.absorb(Snapshot(source, {"node1": Entry(node)}))
    ingest.absorb(SourceState(source, connected=True, detail=""))
    assert look().settled(NODES) == {"node1": node}
    assert look().settled(CONNECTED) == {NODES: True}
    ingest.forget(source)
    ingest.absorb(RecordChange(source, "node2", Entry(node)))  # was on its way
    ingest.absorb(SourceState(source, connected=True, detail=""))
    assert not look().of(NODES)
    assert not look().of(CONNECTED)
    assert not ingest.synced(source)
    assert source not in ingest.sources
    ingest.expect(source)
    ingest.absorb(Snapshot(source, {"node2": Entry(node)}))
    assert look().settled(NODES) == {"node2": node}


def test_what_only_allocations_look_at_is_read_while_this_daemon_sees_all() -> None:
    kinds = {
        name: RecordKind(name, lambda _, data: json.loads(data), encode, for_allocation=alone)
        for name, alone in {"rents": True, "guests": False}.items()
    }
    ingest, world = Ingest(), World()

    def look() -> dict[str, Mapping[str, Any]]:
        nonlocal world
        world = world.changed(ingest.changes(sample_config(), kinds, {}), 1)
        return {name: dict(world.settled(name)) for name in kinds}

    ingest.see(all_kinds=False)
    entries = {f"k8ssdn/{name}/{key}": Entry(b"1", 1) for name in kinds for key in "ab"}
    ingest.absorb(Snapshot(ETCD, entries, 1))
    assert look() == {"rents": {}, "guests": {"a": 1, "b": 1}}
    ingest.see(all_kinds=True)
    ingest.absorb(write("k8ssdn/rents/a", b"2", 2))
    assert look() == {"rents": {"a": 2, "b": 1}, "guests": {"a": 1, "b": 1}}
    ingest.absorb(write("k8ssdn/rents/b", b"no json", 3))
    look()
    assert world.slot("rents", "b").problem is not None
    ingest.see(all_kinds=False)
    assert look() == {"rents": {}, "guests": {"a": 1, "b": 1}}
    assert not world.problems
    record = ingest.record("k8ssdn/rents/a")
    assert record is not None
    assert record.value == b"2"


def test_the_cluster_is_seen_without_what_is_watched_of_this_node_alone() -> None:
    resources = [
        KubeResource(NODES, "/api/v1/nodes", dict),
        KubeResource("own", "/api/v1/pods", dict, local_only=True),
    ]
    ingest = Ingest()
    for source in (ETCD, f"{KUBE}{NODES}"):
        assert not ingest.cluster_connected(resources)
        ingest.absorb(Snapshot(source, {}, 1))
        ingest.absorb(SourceState(source, connected=True, detail=""))
    assert ingest.cluster_connected(resources)
    ingest.absorb(SourceState(f"{KUBE}own", connected=False, detail="403"))
    assert ingest.cluster_connected(resources)
    ingest.absorb(SourceState(f"{KUBE}{NODES}", connected=False, detail="no route"))
    assert not ingest.cluster_connected(resources)
    ingest.absorb(SourceState(f"{KUBE}{NODES}", connected=False, detail="403", refused=True))
    assert ingest.cluster_connected(resources)
