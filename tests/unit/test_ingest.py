"""Watch events become records; an invalid one is quarantined, and its last valid value stays."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import combinations
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from k8s_ovs.errors import InvalidRecord
from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.model.codec import encode
from k8s_ovs.model.node import KubeNode
from k8s_ovs.model.subnet import HostSubnet
from k8s_ovs.model.world import NODES, SUBNETS, Slot, Tag, World
from k8s_ovs.node.records.ingest import ETCD, KUBE, Changes, Ingest
from k8s_ovs.node.records.left_out import LEFT_OUT
from k8s_ovs.observe.watch_event import Entry, RecordChange, Snapshot, SourceState, WatchEvent
from k8s_ovs.plugin import KubeResource, RecordKind
from k8s_ovs.plugin.records import tags_of
from k8s_ovs_subnet import SingleTenant
from k8s_ovs_testing.world import sample_config, sample_host

CONFIG = sample_config()
MANAGER = PluginManager({"k8s-ovs-subnet": SingleTenant()})
KUBE_NODES = KUBE + NODES


def path(host: HostSubnet) -> str:
    return f"k8ssdn/subnets/{host.host_ip}"


def entry(host: HostSubnet, revision: int) -> Entry:
    return Entry(encode(host), revision)


def put(host: HostSubnet, revision: int) -> RecordChange:
    return RecordChange(ETCD, path(host), entry(host, revision), revision)


def write(key: str, data: bytes, revision: int) -> RecordChange:
    return RecordChange(ETCD, key, Entry(data, revision), revision)


def delete(key: str, revision: int) -> RecordChange:
    return RecordChange(ETCD, key, None, revision)


def changes(ingest: Ingest, *events: WatchEvent) -> Changes:
    for event in events:
        ingest.absorb(event)
    return ingest.changes(CONFIG, MANAGER.kinds, MANAGER.resources)


def slot(
    settled: HostSubnet,
    *,
    revision: int,
    asked: HostSubnet | None = None,
    problem: str | None = None,
) -> Slot:
    """Of a host's record, found by what it holds."""
    indexes = MANAGER.kinds[SUBNETS].indexes
    asked_tags = tags_of(indexes, asked) if asked else ()
    return Slot(
        settled,
        asked=asked,
        problem=problem,
        revision=revision,
        tags=tags_of(indexes, settled),
        asked_tags=asked_tags,
    )


ONE, TWO, THREE = map(sample_host, (1, 2, 3))
KEY = "192.168.0.11"


@pytest.fixture
def ingest() -> Ingest:
    """An ingest that has seen etcd with the records of two hosts."""
    ingest = Ingest()
    found = changes(ingest, Snapshot(ETCD, {path(ONE): entry(ONE, 3), path(TWO): entry(TWO, 4)}, 4))
    assert found == {
        (SUBNETS, "192.168.0.11"): slot(ONE, revision=3),
        (SUBNETS, "192.168.0.12"): slot(TWO, revision=4),
    }
    return ingest


def test_a_change_is_told_once(ingest: Ingest) -> None:
    assert changes(ingest) == {}
    assert changes(ingest, put(THREE, 5)) == {(SUBNETS, "192.168.0.13"): slot(THREE, revision=5)}
    assert changes(ingest) == {}
    assert ingest.revision == 5


def test_what_is_gone_after_a_gap_is_told_as_gone(ingest: Ingest) -> None:
    snapshot = Snapshot(ETCD, {path(TWO): entry(TWO, 4), path(THREE): entry(THREE, 8)}, 9)
    assert changes(ingest, snapshot) == {
        (SUBNETS, "192.168.0.11"): None,
        (SUBNETS, "192.168.0.13"): slot(THREE, revision=8),
    }
    assert ingest.revision == 9


def quarantined(found: Changes) -> set[str]:
    """Keys of the records that are quarantined now."""
    return {key for (_, key), slot in found.items() if slot is not None and slot.problem}


def test_several_watch_events_fold_into_the_last_state(ingest: Ingest) -> None:
    moved = evolve(ONE, host="renamed")
    found = changes(
        ingest, delete(path(ONE), 5), put(moved, 6), put(THREE, 7), delete(path(THREE), 8)
    )
    assert found == {(SUBNETS, KEY): slot(moved, revision=6)}


def test_other_networks_and_kinds_that_nobody_reads_are_passed_over(ingest: Ingest) -> None:
    events = [
        write("other/subnets/192.168.0.77", b"{", 5),
        write("k8ssdn/unheard-of/x", b"{", 6),
        write("k8ssdn/subnets/", b"{", 7),
        write("k8ssdn", b"{", 8),
        write("k8ssdn/allocator", b"{", 9),
    ]
    assert changes(ingest, *events) == {}


def test_a_malformed_record_is_set_aside_and_its_last_valid_value_stays(ingest: Ingest) -> None:
    found = changes(ingest, write(path(ONE), b'{"Host":1}', 5), put(THREE, 6))
    reason = f"{path(ONE)}: Host: found 1, expected a string"
    assert found == {
        (SUBNETS, KEY): slot(ONE, problem=reason, revision=5),
        (SUBNETS, "192.168.0.13"): slot(THREE, revision=6),
    }
    assert changes(ingest) == {}
    # Who repairs it must know which one is there now.
    again = changes(ingest, write(path(ONE), b'{"Host":1}', 7))
    assert again == {(SUBNETS, KEY): slot(ONE, problem=reason, revision=7)}
    repaired = changes(ingest, put(ONE, 8))
    assert repaired == {(SUBNETS, KEY): slot(ONE, revision=8)}


def test_a_malformed_record_that_is_deleted_is_gone_with_its_last_valid_value(
    ingest: Ingest,
) -> None:
    changes(ingest, write(path(ONE), b"", 5))
    assert changes(ingest, delete(path(ONE), 6)) == {(SUBNETS, KEY): None}


@pytest.mark.parametrize("data", [b"[" * 100_000, b"\xff", b"null", b'{"Host":NaN}'])
def test_no_bytes_stop_the_others(ingest: Ingest, data: bytes) -> None:
    found = changes(ingest, write("k8ssdn/subnets/192.168.0.99", data, 5), put(THREE, 6))
    assert found[SUBNETS, "192.168.0.13"] == slot(THREE, revision=6)
    spoilt = found[SUBNETS, "192.168.0.99"]
    assert spoilt is not None
    assert spoilt.problem


def test_of_two_overlapping_subnets_the_one_that_came_second_is_set_aside(ingest: Ingest) -> None:
    twin = evolve(THREE, subnet=ONE.subnet)
    reason = (
        "subnets/192.168.0.13: Subnet: found 172.11.4.0/22, expected one that does not overlap "
        "172.11.4.0/22 of 192.168.0.11"
    )
    assert changes(ingest, put(twin, 5)) == {
        (SUBNETS, "192.168.0.13"): Slot(problem=reason, contradicts=True, revision=5)
    }
    # Writing the first one again does not make it the later one.
    assert changes(ingest, put(ONE, 6)) == {(SUBNETS, KEY): slot(ONE, revision=6)}
    assert changes(ingest, delete(path(ONE), 7)) == {
        (SUBNETS, KEY): None,
        (SUBNETS, "192.168.0.13"): slot(twin, revision=5),
    }


def test_a_subnet_is_not_given_away_while_its_last_valid_record_counts(ingest: Ingest) -> None:
    spoilt = evolve(ONE, subnet=TWO.subnet)
    heir = evolve(THREE, subnet=ONE.subnet)
    found = changes(ingest, put(spoilt, 5), put(heir, 6))
    assert quarantined(found) == {KEY, "192.168.0.13"}
    repaired = evolve(ONE, subnet=THREE.subnet)
    found = changes(ingest, put(repaired, 7))
    assert found[SUBNETS, KEY] == slot(repaired, revision=7)
    # Its old subnet is free by now, and the host whose record asks for it gets it with the next
    # change.
    assert changes(ingest, put(heir, 8))[SUBNETS, "192.168.0.13"] == slot(heir, revision=8)


def test_a_subnet_is_not_given_away_while_its_host_asks_for_another_one(ingest: Ingest) -> None:
    asks, heir = evolve(ONE, subnet=None, assign=True), evolve(THREE, subnet=ONE.subnet)
    found = changes(ingest, put(asks, 5), put(heir, 6))
    assert quarantined(found) == {"192.168.0.13"}
    assert found[SUBNETS, KEY] == slot(ONE, asked=asks, revision=5)
    answer = evolve(ONE, subnet=THREE.subnet)
    found = changes(ingest, put(answer, 7))
    assert found[SUBNETS, KEY] == slot(answer, revision=7)


etcd_changes = st.one_of(
    st.builds(
        lambda number, block, assign: evolve(
            sample_host(number), subnet=sample_host(block).subnet if block else None, assign=assign
        ),
        st.integers(1, 4),
        st.integers(0, 5),
        st.booleans(),
    ),
    st.builds(path, st.integers(1, 4).map(sample_host)),
    st.builds(lambda host: (path(host), b"{"), st.integers(1, 4).map(sample_host)),
)


@settings(max_examples=200)
@given(rounds=st.lists(st.lists(etcd_changes, max_size=4), max_size=8))
def test_no_two_subnets_in_force_overlap_and_none_is_refused_in_vain(
    rounds: list[list[object]],
) -> None:
    ingest, world, revision = Ingest(), World(), 0
    written: dict[str, HostSubnet] = {}
    for changes_of_round in rounds:
        for drawn in changes_of_round:
            revision += 1
            if isinstance(drawn, HostSubnet):
                written[str(drawn.host_ip)] = drawn
                ingest.absorb(put(drawn, revision))
            elif isinstance(drawn, tuple):
                ingest.absorb(write(drawn[0], drawn[1], revision))
            else:
                ingest.absorb(delete(str(drawn), revision))
        world = world.changed(changes(ingest), revision)
        subnets = [record.subnet for record in world.settled(SUBNETS).values()]
        standing = [subnet for subnet in subnets if subnet is not None]
        assert not any(one.overlaps(other) for one, other in combinations(standing, 2))
        assert all(
            is_refused_for_another(world, key, written[key])
            for key, slot in world.of(SUBNETS).items()
            if slot.contradicts
        )


def is_refused_for_another(world: World, key: str, record: HostSubnet) -> bool:
    """Whether what a record asks for is another one's, as it is in force."""
    others = [each.subnet for at, each in world.settled(SUBNETS).items() if at != key]
    wanted = record.subnet
    return wanted is not None and any(each and each.overlaps(wanted) for each in others)


def node(address: str | None) -> dict[str, object]:
    addresses = [{"type": "InternalIP", "address": address}] if address else []
    return {"metadata": {"name": "n"}, "status": {"addresses": addresses}}


def test_kubernetes_nodes_are_read_by_the_resource_that_names_them() -> None:
    ingest = Ingest()
    found = changes(
        ingest, Snapshot(KUBE_NODES, {"n1": Entry(node("192.168.0.11")), "n2": Entry(node("x"))})
    )
    assert found == {
        (NODES, "n1"): Slot(
            KubeNode("n1", (sample_host(1).host_ip,)),
            tags=(Tag("address", "192.168.0.11"),),
        ),
        (NODES, "n2"): Slot(problem='node n2: InternalIP: found "x", expected an IPv4 address'),
    }
    assert changes(ingest, RecordChange(KUBE_NODES, "n1", None)) == {(NODES, "n1"): None}


def test_an_object_with_a_field_of_another_type_is_set_aside_without_a_traceback() -> None:
    wrong = {"status": {"addresses": [{"type": "InternalIP", "address": 5}]}}
    with capture_logs() as logs:
        found = changes(Ingest(), Snapshot(KUBE_NODES, {"n1": Entry(wrong)}))
    (text,) = [slot.problem for slot in found.values() if slot]
    assert text == "node n1: status.addresses[0]: address: found 5, expected a string"
    assert [each for each in logs if "exc_info" in each] == []


CONFIG_DATA = encode(CONFIG)


def test_the_configuration_is_absent_wrong_or_there() -> None:
    ingest = Ingest()
    assert ingest.config() == (None, 'the key "config" does not exist')
    ingest.absorb(write("config", b"{}", 1))
    assert ingest.config() == (None, "config: Name: found nothing, expected a string")
    ingest.absorb(write("config", CONFIG_DATA, 2))
    assert ingest.config() == (CONFIG, "")


def test_after_a_restart_all_that_is_known_is_told_again(ingest: Ingest) -> None:
    changes(ingest, write(path(TWO), b"{", 5))
    ingest.restart()
    found = changes(ingest)
    assert found[SUBNETS, KEY] == slot(ONE, revision=3)
    assert found.keys() == {(SUBNETS, KEY), (SUBNETS, "192.168.0.12")}


@pytest.mark.parametrize(
    ("events", "seen", "connected"),
    [
        ([], False, False),
        ([SourceState(ETCD, True)], False, False),
        ([Snapshot(ETCD)], True, False),
        ([Snapshot(ETCD), SourceState(ETCD, True)], True, True),
        ([Snapshot(ETCD), SourceState(ETCD, True), SourceState(ETCD, False, "gone")], True, False),
    ],
)
def test_a_source_is_synced_while_its_snapshot_is_whole_and_fresh(
    events: list[WatchEvent], seen: bool, connected: bool
) -> None:
    ingest = Ingest()
    for event in events:
        ingest.absorb(event)
    assert (ingest.synced(ETCD), ingest.connected(ETCD)) == (seen, connected)


def test_a_kind_of_a_plugin_is_read_by_that_plugin() -> None:
    def decode(key: str, data: bytes) -> Mapping[str, object]:
        try:
            found: Mapping[str, object] = json.loads(data)
        except ValueError:
            raise InvalidRecord(f"{key}: not an audit") from None
        return found

    ingest = Ingest()
    kinds = MANAGER.kinds | {"audits": RecordKind("audits", decode, encode)}
    ingest.absorb(write("k8ssdn/audits/a/b", b"{}", 1))
    ingest.absorb(write("k8ssdn/audits/c", b"{", 2))
    assert ingest.changes(CONFIG, kinds, {}) == {
        ("audits", "a/b"): Slot({}, revision=1),
        ("audits", "c"): Slot(problem="k8ssdn/audits/c: not an audit", revision=2),
    }


def test_what_nodes_say_is_left_out_once_the_configuration_names_the_network() -> None:
    below = LEFT_OUT.below
    assert LEFT_OUT.key == "config"
    assert below(None) == ()
    assert below(b"no JSON") is None, "an invalid one changes nothing"
    config = {"Name": "net", "Network": "10.1.0.0/16", "HostSubnetLength": 8}
    config |= {"ServiceNetwork": "10.96.0.0/12", "PluginName": "k8s-ovs-subnet"}
    assert below(json.dumps(config).encode()) == ("net/seen/", "net/status/")


def _unless_idle(key: str, found: Any) -> Any:
    """A decoder to which "idle" is not of interest, and "bad" invalid."""
    word = found["word"] if isinstance(found, Mapping) else json.loads(found)
    if word == "bad":
        raise InvalidRecord(f"{key}: bad")
    return None if word == "idle" else word


def test_what_a_decoder_gives_none_for_is_as_if_it_did_not_exist() -> None:
    kind, resource = (
        RecordKind("words", _unless_idle, encode),
        KubeResource("said", "/api/v1/said", _unless_idle),
    )
    ingest = Ingest()

    def told(word: str, revision: int) -> Changes:
        ingest.absorb(write("k8ssdn/words/w", json.dumps(word).encode(), revision))
        ingest.absorb(RecordChange(f"{KUBE}said", "d/w", Entry({"word": word}, 0), 0))
        return ingest.changes(CONFIG, {"words": kind}, {"said": resource})

    assert told("idle", 1) == {}
    assert told("loud", 2) == {
        ("words", "w"): Slot("loud", revision=2),
        ("said", "d/w"): Slot("loud"),
    }
    assert told("idle", 3) == {("words", "w"): None, ("said", "d/w"): None}
    assert {slot and slot.problem for slot in told("bad", 4).values()} == {
        "k8ssdn/words/w: bad",
        "d/w: bad",
    }
    assert told("idle", 5) == {("words", "w"): None, ("said", "d/w"): None}


def test_a_record_that_was_not_of_interest_for_a_moment_has_no_value_left() -> None:
    kind = RecordKind("words", _unless_idle, encode)
    ingest = Ingest()
    for revision, word in enumerate(("loud", "idle", "bad"), start=1):
        ingest.absorb(write("k8ssdn/words/w", json.dumps(word).encode(), revision))
    (slot,) = ingest.changes(CONFIG, {"words": kind}, {}).values()
    assert slot == Slot(None, problem="k8ssdn/words/w: bad", revision=3)
