"""When a daemon writes which subnet its pods are in, beside an etcd of a dictionary."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network
from typing import Any

from attrs import define, field

from k8s_ovs.model.subnet_use import SubnetUse
from k8s_ovs.node.tell.subnet_use_writer import SubnetUseWriter
from k8s_ovs.observe.etcd.client import Operation, Put

USE = SubnetUse("node1", IPv4Network("172.11.4.0/22"))


@define
class FakeEtcd:
    """What was done, and whether leases live."""

    done: list[str] = field(factory=list)
    lives: int = 600

    def txn(self, _: Iterable[Any], then: Iterable[Operation]) -> None:
        self.done += ["put" if isinstance(each, Put) else "delete" for each in then]

    def lease_of(self, _: str, ttl: int) -> int:
        return ttl

    def keep_alive(self, _: int) -> int:
        return self.lives


def make_writer() -> tuple[FakeEtcd, SubnetUseWriter]:
    etcd = FakeEtcd()
    return etcd, SubnetUseWriter(etcd, "/net", "node1")  # type: ignore[arg-type]  # a stand-in


def offered(writer: SubnetUseWriter, wanted: SubnetUse | None, shown: SubnetUse | None) -> bool:
    due = writer.offer(wanted, shown)
    if due:
        writer.step()
    return due


def test_it_is_written_once_and_deleted_when_the_last_pod_is_gone() -> None:
    etcd, writer = make_writer()
    offered(writer, None, None)
    assert etcd.done == []
    offered(writer, USE, None)
    assert not offered(writer, USE, None), "the watch shows it in a moment"
    offered(writer, USE, USE)
    assert etcd.done == ["put"]
    offered(writer, None, USE)
    offered(writer, None, None)
    assert etcd.done == ["put", "delete"]


def test_what_somebody_took_away_is_written_again_at_once() -> None:
    etcd, writer = make_writer()
    offered(writer, USE, None)
    offered(writer, USE, USE)
    assert offered(writer, USE, None)
    assert etcd.done == ["put", "put"]


def test_a_lease_that_has_expired_is_another_record() -> None:
    etcd, writer = make_writer()
    offered(writer, USE, None)
    offered(writer, USE, USE)
    etcd.lives = 0
    writer.due_at = 0.0
    writer.step()
    assert writer.due_at == 0.0
    offered(writer, USE, None)
    assert etcd.done == ["put", "put"]


def test_pods_that_went_last_leave_nothing_behind() -> None:
    etcd, writer = make_writer()
    offered(writer, USE, None)
    offered(writer, USE, USE)
    writer.offer(None, USE)
    writer.end()
    assert etcd.done == ["put", "delete"]
