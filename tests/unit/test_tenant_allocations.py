"""Tenants' numbers as values: what is given, answered, repaired and taken back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from k8s_ovs.allocate.brake import held_back
from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.hooks.result import Failure
from k8s_ovs.model.tenant import GLOBAL_TENANT, MAX_TENANT_ID
from k8s_ovs.model.world import DELETED, Slot, World
from k8s_ovs.plugin import Allocation, Deleted, Event
from k8s_ovs_multitenant import MultiTenant
from k8s_ovs_multitenant.records import (
    CURSOR,
    FIRST_TENANT_ID,
    NAMESPACE_VNIS,
    NETNAMESPACES,
    Cursor,
)
from k8s_ovs_testing.model.fake_cluster import FakeCluster

MANAGER = PluginManager({"k8s-ovs-multitenant": MultiTenant()})


@pytest.fixture
def fake() -> FakeCluster:
    """Three namespaces and kube-system, each with its record."""
    fake = FakeCluster(MANAGER)
    fake.create("red", "green", "blue", "kube-system")
    fake.settle()
    return fake


def test_each_namespace_gets_a_record_of_its_own_and_kube_system_is_global(
    fake: FakeCluster,
) -> None:
    assert fake.record("red") == {"NetName": "red", "NetID": 13, "Action": "", "Namespace": ""}
    assert fake.net_ids() == {"blue": 10, "green": 11, "kube-system": 0, "red": 13}
    assert fake.vnis() == {"blue": 10, "green": 11, "kube-system": 12, "red": 13}


def test_new_namespaces_come_in_batches_that_one_transaction_takes() -> None:
    fake = FakeCluster(MANAGER)
    names = [f"ns{number:03}" for number in range(120)]
    fake.create(*names)
    sizes = []
    while wanted := fake.wanted():
        assert len(wanted) == 1, "the next batch depends on where the cursor is then"
        sizes.append(len(wanted[0].writes))
        assert fake.write(wanted[0])
    assert sizes == [101, 101, 41]
    assert max(sizes) < 128, "etcd's limit, --max-txn-ops"
    assert sorted(fake.net_ids().values()) == list(range(FIRST_TENANT_ID, FIRST_TENANT_ID + 120))


@pytest.mark.parametrize(
    ("extra", "everyone"),
    [
        ({"GlobalNamespaces": ["red", "blue"]}, {"red", "blue"}),
        ({"GlobalNamespaces": []}, set()),
        ({"GlobalNamespaces": "red"}, {"kube-system"}),
        ({}, {"kube-system"}),
    ],
)
def test_the_configuration_says_who_begins_global(
    extra: Mapping[str, Any], everyone: set[str]
) -> None:
    fake = FakeCluster(MANAGER, extra=extra)
    fake.create("red", "blue", "kube-system")
    fake.settle()
    assert {name for name, number in fake.net_ids().items() if number == 0} == everyone


def test_join_isolate_and_global_are_answered_by_the_number_and_a_cleared_action(
    fake: FakeCluster,
) -> None:
    fake.ask("red", "join", "blue")
    fake.settle()
    assert fake.record("red") == {"NetName": "red", "NetID": 10, "Action": "", "Namespace": ""}
    fake.ask("red", "isolate")
    fake.settle()
    assert fake.record("red") == {"NetName": "red", "NetID": 14, "Action": "", "Namespace": ""}
    fake.ask("red", "global")
    fake.settle()
    assert fake.record("red")["NetID"] == GLOBAL_TENANT
    assert fake.vnis()["red"] == 13, "the number on the wire never changes"
    assert fake.events == []


def test_what_a_person_adds_to_a_record_stays_in_it(fake: FakeCluster) -> None:
    fake.ask("red", "global", Owner="team 7")
    fake.settle()
    assert fake.record("red")["Owner"] == "team 7"


def test_a_number_that_a_person_writes_is_honoured(fake: FakeCluster) -> None:
    fake.ask("red", "", NetID=300924)
    assert fake.settle() == 0
    fake.ask("blue", "join", "red")
    fake.settle()
    assert fake.net_ids()["blue"] == fake.net_ids()["red"] == 300924


@pytest.mark.parametrize(
    ("action", "namespace", "reason"),
    [
        ("join", "", "join: Namespace: missing, expected the namespace to join"),
        ("join", "red", 'join: Namespace: found "red", expected another one than itself'),
        ("join", "pink", 'join: Namespace: found "pink", expected one that exists'),
        ("merge", "", 'Action: found "merge", expected join, isolate or global'),
    ],
)
def test_what_cannot_be_done_is_answered_with_the_reason(
    fake: FakeCluster, action: str, namespace: str, reason: str
) -> None:
    before = fake.net_ids()
    # The number beside an action is no request for it.
    fake.ask("red", action, namespace, NetID=77)
    assert fake.settle() == 1
    assert fake.net_ids() == before
    assert fake.record("red") == {
        "NetName": "red",
        "NetID": 13,
        "Action": "",
        "Namespace": "",
        "Reason": reason,
    }
    assert fake.events == [Event("Namespace", "red", "TenantActionRefused", reason)]
    fake.ask("red", "join", "blue")
    fake.settle()
    assert "Reason" not in fake.record("red")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"{", "not JSON"),
        (b'{"NetName":"red"}', "NetID: found nothing, expected a whole number"),
        (b'{"NetName":"red","NetID":16777216}', "NetID: found 16777216, expected 0 to 16777215"),
        (b'{"NetName":"red","NetID":9}', "NetID: found 9, expected 0 or 10 to 16777215"),
        (b'{"NetName":"blue","NetID":99}', 'found "blue", expected "red" as in the key'),
        (b'{"NetName":"red","NetID":-1,"Action":"join"}', "NetID: found -1, expected 0"),
    ],
)
def test_a_record_that_cannot_be_read_is_put_back_with_the_reason(
    fake: FakeCluster, data: bytes, reason: str
) -> None:
    fake.ask("red", "join", "blue")
    fake.settle()
    fake.put(NETNAMESPACES, "red", data)
    assert fake.settle() == 1
    assert fake.record("red")["NetID"] == 10
    assert reason in fake.record("red")["Reason"]
    assert [event.reason for event in fake.events] == ["TenantRecordInvalid"]


def test_a_deleted_record_comes_again_but_not_in_a_tenant_that_another_has_joined(
    fake: FakeCluster,
) -> None:
    fake.ask("green", "join", "blue")
    fake.ask("red", "isolate")
    fake.settle()
    for name in ("red", "blue", "kube-system"):
        fake.put(NETNAMESPACES, name, None)
    fake.settle()
    assert fake.net_ids() == {"red": 13, "green": 10, "blue": 15, "kube-system": 0}


def test_an_invalid_record_that_was_never_valid_does_not_bring_others_into_its_tenant(
    fake: FakeCluster,
) -> None:
    fake.ask("green", "join", "blue")
    fake.settle()
    for name in ("blue", "kube-system"):
        fake.put(NETNAMESPACES, name, b"?")
    fake.restart()
    fake.settle()
    assert fake.net_ids() == {"red": 13, "green": 10, "blue": 14, "kube-system": 0}


@pytest.mark.parametrize("data", [None, b"?", b'{"VNID":0}', b'{"VNID":16777216}'])
def test_a_number_on_the_wire_that_is_lost_is_put_back(
    fake: FakeCluster, data: bytes | None
) -> None:
    fake.put(NAMESPACE_VNIS, "red", data)
    fake.settle()
    if data is not None:
        assert fake.vnis()["red"] == 13
    fake.put(NAMESPACE_VNIS, "blue", data)
    fake.restart()
    fake.settle()
    assert len(set(fake.vnis().values())) == 4, "never known good: a new one"
    assert fake.net_ids()["blue"] == 10, "the record stays"


def test_a_missing_record_does_not_hold_up_new_namespaces(fake: FakeCluster) -> None:
    fake.put(NETNAMESPACES, "red", None)
    fake.create("pink")
    (new, repaired) = fake.wanted()
    assert {each.key for each in new.writes} == {"pink", "last"}
    assert [each.key for each in repaired.writes] == ["red"]


def test_a_request_waits_while_new_namespaces_take_the_next_numbers(fake: FakeCluster) -> None:
    fake.create("pink")
    fake.ask("red", "isolate")
    fake.ask("blue", "isolate")
    fake.ask("green", "global")
    assert [each.reason.split(",")[0] for each in fake.wanted()] == [
        "1 new namespaces",
        "global of green: tenant id 11 -> 0",
    ]
    assert fake.settle() == 3
    assert fake.net_ids() == {"pink": 14, "blue": 15, "red": 16, "green": 0, "kube-system": 0}


def test_two_that_join_each_other_are_one(fake: FakeCluster) -> None:
    fake.ask("red", "join", "blue")
    fake.ask("blue", "join", "red")
    fake.settle()
    assert fake.net_ids()["red"] == fake.net_ids()["blue"] == 13


def test_who_joins_one_that_is_to_be_isolated_meets_it_where_it_was_or_where_it_is(
    fake: FakeCluster,
) -> None:
    fake.create("pink")
    fake.ask("blue", "join", "red")
    fake.ask("red", "isolate")
    fake.settle()
    assert fake.net_ids()["blue"] == 13
    assert fake.net_ids()["red"] > 13


def test_a_request_that_a_new_daemon_finds_counts_from_the_number_that_is_written(
    fake: FakeCluster,
) -> None:
    fake.ask("red", "join", "blue")
    fake.settle()
    fake.ask("red", "merge")
    fake.ask("green", "join", "red")
    fake.restart()
    fake.settle()
    assert fake.net_ids()["red"] == fake.net_ids()["green"] == 10


def test_who_joins_one_whose_record_is_missing_waits_until_it_is_there(fake: FakeCluster) -> None:
    fake.put(NETNAMESPACES, "blue", None)
    fake.ask("red", "join", "blue")
    fake.settle()
    assert fake.net_ids()["red"] == fake.net_ids()["blue"]
    assert fake.events == []


def test_all_that_is_written_of_a_deleted_namespace_goes(fake: FakeCluster) -> None:
    fake.ask("green", "join", "red")
    fake.ask("blue", "merge")
    fake.put(NAMESPACE_VNIS, "red", b"?")
    for name in ("red", "green", "blue"):
        fake.delete(name)
    fake.put(NETNAMESPACES, "ghost", b"{")
    fake.put(NETNAMESPACES, "spectre", b'{"NetName":"spectre","NetID":99,"Action":"join"}')
    fake.settle()
    assert fake.net_ids().keys() == fake.vnis().keys() == {"kube-system"}
    assert not fake.look().problems


def tenancy_wants(world: World) -> list[Allocation]:
    found = MANAGER.allocations(MANAGER.allocators[-1], MANAGER.view(world))
    assert not isinstance(found, Failure)
    return [each for each in found if isinstance(each, Allocation)]


def test_a_record_that_somebody_deleted_holds_up_no_other_namespace(fake: FakeCluster) -> None:
    for kind in (NETNAMESPACES, NAMESPACE_VNIS):
        fake.put(kind, "red", None)
    fake.create("new")
    by_hand = Slot({"red": Deleted(None, by_leader=False)})
    world = fake.look().changed({(DELETED, NETNAMESPACES): by_hand})
    (wanted,) = tenancy_wants(world)
    assert {write.key for write in wanted.writes} == {"new", "last"}


def test_a_namespace_made_anew_is_another_one(fake: FakeCluster) -> None:
    fake.ask("red", "global")
    fake.ask("green", "join", "blue")
    fake.settle()
    old = fake.vnis()
    for name in ("red", "blue"):
        fake.delete(name)
        fake.create(name)
    # Nobody has seen that it was gone in between.
    fake.ask("red", "join", "green")
    fake.settle()
    assert len({*fake.vnis().values(), old["red"], old["blue"]}) == 6
    assert fake.net_ids() == {
        "kube-system": 0,
        "red": fake.vnis()["red"],
        "blue": fake.vnis()["blue"],
        # It has joined another namespace, which is gone.
        "green": old["blue"],
    }
    assert fake.record("red")["Reason"] == (
        "the namespace was deleted and made anew meanwhile; ask again"
    )


def test_namespaces_that_are_all_new_wait_for_a_person(fake: FakeCluster) -> None:
    """An API server that was made anew has namespaces of the same names."""
    names = [f"ns{number}" for number in range(120)]
    fake.create(*names)
    fake.settle()
    for name in names:
        fake.delete(name)
        fake.create(name)
    asked = tenancy_wants(fake.look())
    (held,), (told,) = held_back(fake.world, asked)
    assert len(held.writes) == 101
    assert told.subject.startswith("120 of 124 netnamespaces, 120 of 124 vnids")


def test_who_joins_one_that_is_being_made_anew_joins_the_new_one(fake: FakeCluster) -> None:
    fake.delete("blue")
    fake.create("blue")
    fake.ask("red", "join", "blue")
    fake.settle()
    assert fake.net_ids()["red"] == fake.net_ids()["blue"] == fake.vnis()["blue"]


def test_numbers_of_which_nobody_knows_whose_they_are_belong_to_who_is_there(
    fake: FakeCluster,
) -> None:
    before = fake.net_ids()
    for name, number in fake.vnis().items():
        fake.put(NAMESPACE_VNIS, name, b'{"VNID":%d}' % number)
    fake.settle()
    assert fake.net_ids() == before
    noted = {name: json.loads(fake.keys[NAMESPACE_VNIS, name][0])["UID"] for name in before}
    assert noted == fake.namespaces
    fake.delete("red")
    fake.create("red")
    fake.settle()
    assert fake.net_ids()["red"] != before["red"]


def test_a_number_that_was_given_back_is_not_given_again_soon(fake: FakeCluster) -> None:
    fake.delete("red")
    fake.settle()
    fake.create("red")
    fake.settle()
    assert fake.net_ids()["red"] == fake.vnis()["red"] == 14


@pytest.mark.parametrize("last", [MAX_TENANT_ID - 1, MAX_TENANT_ID, MAX_TENANT_ID + 5, -3])
def test_behind_the_last_number_the_cursor_begins_again_and_passes_over_those_in_use(
    fake: FakeCluster, last: int
) -> None:
    fake.ask("blue", "", NetID=14)
    fake.put(CURSOR, "last", MANAGER.kinds[CURSOR].encode(Cursor(last)))
    fake.create("pink", "cyan")
    fake.settle()
    expected = {MAX_TENANT_ID, 15} if last == MAX_TENANT_ID - 1 else {15, 16}
    assert {fake.net_ids()["pink"], fake.net_ids()["cyan"]} == expected


def test_a_cursor_that_cannot_be_read_is_written_anew(fake: FakeCluster) -> None:
    fake.put(CURSOR, "last", b"?")
    fake.restart()
    fake.create("pink")
    fake.settle()
    assert fake.net_ids()["pink"] == 14
    assert fake.keys[CURSOR, "last"][0] == b'{"Last":14}'


def test_a_hand_that_is_late_writes_nothing(fake: FakeCluster) -> None:
    fake.ask("red", "isolate")
    (late,) = fake.wanted()
    fake.ask("red", "global")
    assert not fake.write(late)
    fake.settle()
    assert fake.net_ids()["red"] == GLOBAL_TENANT
