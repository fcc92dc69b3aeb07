"""What a hook looked up is noted, found or not, and the world itself never changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import IPv4Network
from typing import Any

import pytest

from k8s_ovs.errors import PluginError
from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.model.pod import Pod
from k8s_ovs.model.world import (
    ASKED,
    CONFIG,
    LOCAL_NODE,
    PODS,
    PROBLEM,
    REVISION,
    SETTLED,
    SUBNETS,
    UNSYNCED,
    USED,
    Slot,
    Tag,
    World,
)
from k8s_ovs.pipeline.table import Pipeline
from k8s_ovs.pipeline.tables import CORE_TABLES
from k8s_ovs.plugin import KubeResource, RecordKind, hook
from k8s_ovs.plugin.view import PluginSet, View
from k8s_ovs_testing.world import (
    sample_config,
    sample_host,
    sample_local_node,
    sample_pod,
    sample_world,
)


def view_of(world: World) -> View:
    def tenant_of(view: View, pod: Pod) -> int | None:
        return 7 if view.get("netnamespaces", pod.namespace) else None

    return View(world, PluginSet(tenant_of, tenant_of, Pipeline(CORE_TABLES)))


def test_records_are_found_by_their_tag_and_only_those_are_read() -> None:
    red, blue = frozenset({Tag("colour", "red")}), frozenset({Tag("colour", "blue")})
    first, second = Slot(1, tags=red), Slot(2, tags=red | blue)
    world = World().changed({("dye", "a"): first, ("dye", "b"): second}, 1)
    assert view_of(world).having("dye", "colour", "red") == {"a": 1, "b": 2}
    world = world.changed({("dye", "b"): Slot(3, tags=blue), ("dye", "c"): None}, 2)
    view = view_of(world)
    assert view.having("dye", "colour", "red") == {"a": 1}
    assert view.having("dye", "colour", "blue") == {"b": 3}
    assert view.having("dye", "size", "blue") == {}
    tags = Tag("colour", "red"), Tag("colour", "blue"), Tag("size", "blue")
    assert view.reads == {("dye", tag, SETTLED) for tag in tags}
    assert view_of(world.changed({("dye", "a"): None}, 3)).having("dye", "colour", "red") == {}


@pytest.mark.parametrize(
    ("look", "found", "read"),
    [
        (lambda view: view.config, sample_config(), (CONFIG, "")),
        (lambda view: view.local_node, sample_local_node(), (LOCAL_NODE, "")),
        (lambda view: view.subnet("192.168.0.12"), sample_host(2), (SUBNETS, "192.168.0.12")),
        (lambda view: view.subnet("192.168.0.99"), None, (SUBNETS, "192.168.0.99")),
        (
            lambda view: view.subnets().keys() - {"192.168.0.11"},
            {"192.168.0.12", "192.168.0.13"},
            (SUBNETS, None),
        ),
        (lambda view: view.pods()["veth1"], sample_pod(1), (PODS, None)),
        (lambda view: view.nodes(), {}, ("nodes", None)),
        (lambda view: view.all("audits"), {"a": "x"}, ("audits", None)),
        (lambda view: view.get("audits", "a"), "x", ("audits", "a")),
        (lambda view: view.get("others", "b"), None, ("others", "b")),
        (lambda view: view.revision("audits", "a"), 1, ("audits", "a", REVISION)),
        (lambda view: view.revision("audits", "b"), 0, ("audits", "b", REVISION)),
        (lambda view: view.problem("audits", "a"), None, ("audits", "a", PROBLEM)),
        (lambda view: view.request("audits", "a"), None, ("audits", "a", ASKED)),
        (lambda view: view.tenant_of(sample_pod(1)), None, ("netnamespaces", "default")),
    ],
)
def test_each_look_is_noted(
    look: Callable[[View], object], found: object, read: tuple[Any, ...]
) -> None:
    view = view_of(sample_world(records={"audits": {"a": "x"}}))
    assert look(view) == found
    kind, key, *part = read
    assert view.reads == {(kind, key, *(part or [SETTLED]))}


def test_what_records_use_of_the_network_is_taken() -> None:
    manager = PluginManager({"acme": Holding()})
    world = sample_world(records={"leases": {"a": "172.11.128.0/24", "b": ""}})
    view = manager.view(world)
    hosts = {host.subnet: str(host.host_ip) for host in map(sample_host, (1, 2, 3))}
    assert view.taken() == {**hosts, IPv4Network("172.11.128.0/24"): "a"}
    assert view.reads == {(kind, None, SETTLED) for kind in (SUBNETS, USED, "leases")}
    assert view.taken(besides="a") == hosts


class Holding:
    """A plugin whose records keep parts of the network for somebody."""

    @hook
    def kinds(self) -> Iterable[RecordKind]:
        def holds(value: str) -> IPv4Network | None:
            return IPv4Network(value) if value else None

        return [RecordKind("leases", lambda _, data: data.decode(), str.encode, holds=holds)]


def test_what_is_not_known_yet_is_noted_and_says_so() -> None:
    view = view_of(World())
    with pytest.raises(LookupError, match="config of this network is not known yet"):
        _ = view.config
    with pytest.raises(LookupError, match="local-node of this network is not known yet"):
        _ = view.local_node
    assert view.reads == {(CONFIG, "", SETTLED), (LOCAL_NODE, "", SETTLED)}


UNLISTED = World().changed({(UNSYNCED, "boats"): Slot(True)})


@pytest.mark.parametrize(
    "look",
    [
        lambda view: view.get("boats", "a"),
        lambda view: view.problem("boats", "a"),
        lambda view: view.slot("boats", "a"),
        lambda view: view.all("boats"),
        lambda view: view.slots("boats"),
        lambda view: view.having("boats", "mast", "tall"),
        lambda view: view.ask(lambda of: of.get("boats", "a")),
        lambda view: view.each(lambda of, key: of.get("boats", key), "boats"),
    ],
)
def test_a_look_before_the_first_list_is_early_unless_one_asks(
    look: Callable[[View], object],
) -> None:
    view = view_of(UNLISTED)
    with view.early.apart() as found:
        look(view)
    assert found == view.early.found == {"boats"}
    view = view_of(UNLISTED)
    with view.early.apart() as found:
        assert not view.synced("boats")
        look(view)
    assert found == view.early.found == set()
    assert (UNSYNCED, "boats", SETTLED) in view.reads
    view = view_of(World())
    look(view)
    assert view.synced("boats")
    assert view.early.found == set()


def test_who_asks_whether_all_is_listed_asks_for_itself_alone() -> None:
    view = view_of(UNLISTED)
    with view.early.apart() as first:
        view.connected("boats")
        with view.early.apart() as inner:
            view.all("boats")
    with view.early.apart() as other:
        view.all("nodes")
    assert (first, inner, other) == (set(), {"boats"}, set())


def test_a_changed_world_leaves_the_old_one_as_it_was() -> None:
    first, second = Slot("x", revision=1), Slot("y", revision=2)
    old = World().changed({("audits", "a"): first, ("audits", "b"): second}, revision=2)
    new = old.changed({("audits", "a"): Slot("z", revision=3), ("audits", "b"): None}, revision=3)
    assert new.of("audits") == {"a": Slot("z", revision=3)}
    assert old.of("audits") == {"a": Slot("x", revision=1), "b": Slot("y", revision=2)}
    assert (old.revision, new.revision) == (2, 3)


def test_taking_out_what_is_not_there_changes_nothing() -> None:
    world = World().changed({("audits", "a"): Slot("x", revision=1)}, revision=9)
    after = world.changed({("audits", "b"): None, ("others", "c"): None})
    assert after.of("audits") == world.of("audits")
    assert after.of("others") == {}
    assert after.revision == 9


def test_an_etcd_that_was_restored_sets_the_revision_back() -> None:
    assert World(revision=9).changed({}, revision=4).revision == 4


@pytest.mark.parametrize(
    "look",
    [
        lambda view: view.get("boats", "a"),
        lambda view: view.request("boats", "a"),
        lambda view: view.all("boats"),
        lambda view: view.slots("boats"),
        lambda view: view.having("boats", "size", 3),
        lambda view: view.asking("boats", "size", 3),
        lambda view: view.each(lambda _, key: key, "subnets", "boats"),
        lambda view: view.ask(lambda asked: asked.all("boats")),
    ],
)
def test_what_the_leader_alone_watches_is_for_allocations(look: Callable[[View], object]) -> None:
    class Harbour:
        @hook
        def resources(self) -> Iterable[KubeResource]:
            return [KubeResource("boats", "/api/v1/boats", dict, for_allocation=True)]

    manager = PluginManager({"harbour": Harbour()})
    look(manager.view(World()))
    with pytest.raises(PluginError, match=r"boats: only allocations look at it.*for_allocation"):
        look(manager.node_view(World()))
