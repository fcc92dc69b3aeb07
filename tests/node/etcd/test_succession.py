"""One daemon leads, one is ready to follow it, and no other one runs for leader."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from k8s_ovs.allocate.succession import Succession
from k8s_ovs.model.node_status import LEADER_KEY, SUCCESSOR_KEY
from k8s_ovs.observe.etcd.client import Delete, Etcd, EtcdSettings
from k8s_ovs_lab.process import await_that
from k8s_ovs_testing.servers.etcd import EtcdProcess

TTL = 2
BASE = "/net/k8ssdn"


@pytest.fixture
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    with EtcdProcess(tmp_path_factory.mktemp("etcd")) as running:
        client = Etcd(EtcdSettings((running.endpoint,)))
        yield client
        client.close()


@pytest.fixture
def four(etcd: Etcd) -> Iterator[dict[str, Succession]]:
    names = ("node1", "node2", "node3", "node4")
    made = {name: Succession(etcd, BASE, name, TTL, watched=False) for name in names}
    for each in made.values():
        each.start()
    yield made
    for each in made.values():
        each.stop()


def offices(four: dict[str, Succession]) -> tuple[list[str], list[str]]:
    """Who leads, and who sees all that a leader sees."""
    leading = [name for name, each in four.items() if each.token is not None]
    return leading, [name for name, each in four.items() if each.sees_all]


def settled(four: dict[str, Succession], without: str = "") -> tuple[str, str]:
    """The leader and its successor, once there are both."""

    found: list[tuple[list[str], list[str]]] = []

    def are_there() -> bool:
        leading, seeing = offices(four)
        found.append((leading, seeing))
        return without not in seeing and (len(leading), len(seeing)) == (1, 2)

    await_that("a leader and a successor", are_there, 20)
    leading, seeing = found[-1]
    (successor,) = set(seeing) - set(leading)
    return leading[0], successor


def test_two_of_them_see_all_and_the_successor_leads_next(
    etcd: Etcd, four: dict[str, Succession]
) -> None:
    first, second = settled(four)
    four[first].stop()
    leader, third = settled(four, without=first)
    assert leader == second
    four[leader].stop()
    four[third].stop()
    (last,) = four.keys() - {first, leader, third}
    await_that("the last one to lead", lambda: four[last].token is not None, 20)
    assert etcd.get(f"{BASE}/{SUCCESSOR_KEY}") is None


@pytest.mark.parametrize("key", [LEADER_KEY, SUCCESSOR_KEY])
def test_a_key_that_somebody_has_deleted_has_an_owner_again(
    etcd: Etcd, four: dict[str, Succession], key: str
) -> None:
    settled(four)
    etcd.txn([], [Delete(f"{BASE}/{key}")])
    await_that("the key to be there", lambda: etcd.get(f"{BASE}/{key}") is not None, 20)
    settled(four)
