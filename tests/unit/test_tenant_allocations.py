"""Tenants' numbers as values: what is given, answered, mended and taken back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.model.tenant import GLOBAL_TENANT, MAX_NETID
from k8s_ovs.plugin import Event
from k8s_ovs.plugin.view import QUARANTINE
from k8s_ovs_multitenant import MultiTenant
from k8s_ovs_multitenant.records import CURSOR, FIRST_NETID, NETNAMESPACES, VNIDS, Cursor
from k8s_ovs_testing.model.fake_cluster import Town

MANAGER = PluginManager({"k8s-ovs-multitenant": MultiTenant()})


@pytest.fixture
def town() -> Town:
    """Three namespaces and kube-system, each with its record."""
    town = Town(MANAGER)
    town.create("red", "green", "blue", "kube-system")
    town.settle()
    return town


def test_each_namespace_gets_a_record_of_its_own_and_kube_system_is_global(town: Town) -> None:
    assert town.record("red") == {"NetName": "red", "NetID": 13, "Action": "", "Namespace": ""}
    assert town.net_ids() == {"blue": 10, "green": 11, "kube-system": 0, "red": 13}
    assert town.vnids() == {"blue": 10, "green": 11, "kube-system": 12, "red": 13}


def test_new_namespaces_come_in_batches_that_one_transaction_takes() -> None:
    town = Town(MANAGER)
    names = [f"ns{number:03}" for number in range(120)]
    town.create(*names)
    sizes = []
    while wanted := town.wanted():
        assert len(wanted) == 1, "the next batch depends on where the cursor is then"
        sizes.append(len(wanted[0].writes))
        assert town.write(wanted[0])
    assert sizes == [101, 101, 41]
    assert max(sizes) < 128, "etcd's limit, --max-txn-ops"
    assert sorted(town.net_ids().values()) == list(range(FIRST_NETID, FIRST_NETID + 120))


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
    town = Town(MANAGER, extra=extra)
    town.create("red", "blue", "kube-system")
    town.settle()
    assert {name for name, number in town.net_ids().items() if number == 0} == everyone


def test_join_isolate_and_global_are_answered_by_the_number_and_a_cleared_action(
    town: Town,
) -> None:
    town.ask("red", "join", "blue")
    town.settle()
    assert town.record("red") == {"NetName": "red", "NetID": 10, "Action": "", "Namespace": ""}
    town.ask("red", "isolate")
    town.settle()
    assert town.record("red") == {"NetName": "red", "NetID": 14, "Action": "", "Namespace": ""}
    town.ask("red", "global")
    town.settle()
    assert town.record("red")["NetID"] == GLOBAL_TENANT
    assert town.vnids()["red"] == 13, "the number on the wire never changes"
    assert town.events == []


def test_what_a_person_adds_to_a_record_stays_in_it(town: Town) -> None:
    town.ask("red", "global", Owner="team 7")
    town.settle()
    assert town.record("red")["Owner"] == "team 7"


def test_a_number_that_a_person_writes_is_honoured(town: Town) -> None:
    town.ask("red", "", NetID=300924)
    assert town.settle() == 0
    town.ask("blue", "join", "red")
    town.settle()
    assert town.net_ids()["blue"] == town.net_ids()["red"] == 300924


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
    town: Town, action: str, namespace: str, reason: str
) -> None:
    before = town.net_ids()
    # The number beside an action is no request for it.
    town.ask("red", action, namespace, NetID=77)
    assert town.settle() == 1
    assert town.net_ids() == before
    assert town.record("red") == {
        "NetName": "red",
        "NetID": 13,
        "Action": "",
        "Namespace": "",
        "Reason": reason,
    }
    assert town.events == [Event("Namespace", "red", "TenantActionRefused", reason)]
    town.ask("red", "join", "blue")
    town.settle()
    assert "Reason" not in town.record("red")


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
    town: Town, data: bytes, reason: str
) -> None:
    town.ask("red", "join", "blue")
    town.settle()
    town.put(NETNAMESPACES, "red", data)
    assert town.settle() == 1
    assert town.record("red")["NetID"] == 10
    assert reason in town.record("red")["Reason"]
    assert [event.reason for event in town.events] == ["TenantRecordInvalid"]


def test_a_deleted_record_comes_again_but_not_in_a_network_that_another_has_joined(
    town: Town,
) -> None:
    town.ask("green", "join", "blue")
    town.ask("red", "isolate")
    town.settle()
    for name in ("red", "blue", "kube-system"):
        town.put(NETNAMESPACES, name, None)
    town.settle()
    assert town.net_ids() == {"red": 13, "green": 10, "blue": 15, "kube-system": 0}


def test_a_spoiled_record_that_was_never_read_good_does_not_bring_others_into_its_network(
    town: Town,
) -> None:
    town.ask("green", "join", "blue")
    town.settle()
    for name in ("blue", "kube-system"):
        town.put(NETNAMESPACES, name, b"?")
    town.restart()
    town.settle()
    assert town.net_ids() == {"red": 13, "green": 10, "blue": 14, "kube-system": 0}


@pytest.mark.parametrize("data", [None, b"?", b'{"VNID":0}', b'{"VNID":16777216}'])
def test_a_number_on_the_wire_that_is_lost_is_put_back(town: Town, data: bytes | None) -> None:
    town.put(VNIDS, "red", data)
    town.settle()
    if data is not None:
        assert town.vnids()["red"] == 13
    town.put(VNIDS, "blue", data)
    town.restart()
    town.settle()
    assert len(set(town.vnids().values())) == 4, "never known good: a new one"
    assert town.net_ids()["blue"] == 10, "the record stands"


def test_a_missing_record_does_not_hold_up_new_namespaces(town: Town) -> None:
    town.put(NETNAMESPACES, "red", None)
    town.create("pink")
    (new, mended) = town.wanted()
    assert {each.key for each in new.writes} == {"pink", "last"}
    assert [each.key for each in mended.writes] == ["red"]


def test_a_request_waits_while_new_namespaces_take_the_next_numbers(town: Town) -> None:
    town.create("pink")
    town.ask("red", "isolate")
    town.ask("blue", "isolate")
    town.ask("green", "global")
    assert [each.reason.split(",")[0] for each in town.wanted()] == [
        "1 new namespaces",
        "global of green: NetID 11 is 0 now",
    ]
    assert town.settle() == 3
    assert town.net_ids() == {"pink": 14, "blue": 15, "red": 16, "green": 0, "kube-system": 0}


def test_two_that_join_each_other_are_one(town: Town) -> None:
    town.ask("red", "join", "blue")
    town.ask("blue", "join", "red")
    town.settle()
    assert town.net_ids()["red"] == town.net_ids()["blue"] == 13


def test_who_joins_one_that_is_to_be_isolated_meets_it_where_it_was_or_where_it_is(
    town: Town,
) -> None:
    town.create("pink")
    town.ask("blue", "join", "red")
    town.ask("red", "isolate")
    town.settle()
    assert town.net_ids()["blue"] == 13
    assert town.net_ids()["red"] > 13


def test_a_request_that_a_new_daemon_finds_counts_from_the_number_that_is_written(
    town: Town,
) -> None:
    town.ask("red", "join", "blue")
    town.settle()
    town.ask("red", "merge")
    town.ask("green", "join", "red")
    town.restart()
    town.settle()
    assert town.net_ids()["red"] == town.net_ids()["green"] == 10


def test_who_joins_one_whose_record_is_missing_waits_until_it_is_there(town: Town) -> None:
    town.put(NETNAMESPACES, "blue", None)
    town.ask("red", "join", "blue")
    town.settle()
    assert town.net_ids()["red"] == town.net_ids()["blue"]
    assert town.events == []


def test_all_that_is_written_of_a_deleted_namespace_goes(town: Town) -> None:
    town.ask("green", "join", "red")
    town.ask("blue", "merge")
    town.put(VNIDS, "red", b"?")
    for name in ("red", "green", "blue"):
        town.delete(name)
    town.put(NETNAMESPACES, "ghost", b"{")
    town.put(NETNAMESPACES, "spectre", b'{"NetName":"spectre","NetID":99,"Action":"join"}')
    town.settle()
    assert town.net_ids().keys() == town.vnids().keys() == {"kube-system"}
    assert not town.look().of(QUARANTINE)


def test_a_number_that_was_given_back_is_not_given_again_soon(town: Town) -> None:
    town.delete("red")
    town.settle()
    town.create("red")
    town.settle()
    assert town.net_ids()["red"] == town.vnids()["red"] == 14


@pytest.mark.parametrize("last", [MAX_NETID - 1, MAX_NETID, MAX_NETID + 5, -3])
def test_behind_the_last_number_the_cursor_begins_again_and_passes_over_those_in_use(
    town: Town, last: int
) -> None:
    town.ask("blue", "", NetID=14)
    town.put(CURSOR, "last", MANAGER.kinds[CURSOR].encode(Cursor(last)))
    town.create("pink", "cyan")
    town.settle()
    expected = {MAX_NETID, 15} if last == MAX_NETID - 1 else {15, 16}
    assert {town.net_ids()["pink"], town.net_ids()["cyan"]} == expected


def test_a_cursor_that_cannot_be_read_is_written_anew(town: Town) -> None:
    town.put(CURSOR, "last", b"?")
    town.restart()
    town.create("pink")
    town.settle()
    assert town.net_ids()["pink"] == 14
    assert town.keys[CURSOR, "last"][0] == b'{"Last":14}'


def test_a_hand_that_is_late_writes_nothing(town: Town) -> None:
    town.ask("red", "isolate")
    (late,) = town.wanted()
    town.ask("red", "global")
    assert not town.write(late)
    town.settle()
    assert town.net_ids()["red"] == GLOBAL_TENANT
