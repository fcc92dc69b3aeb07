"""Who sees the whole cluster where etcd refuses something, or is away?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from k8s_ovs.allocate import election
from k8s_ovs.allocate.succession import Succession
from k8s_ovs.backoff import Backoff
from k8s_ovs.errors import K8sOvsError, Unavailable
from k8s_ovs.observe.etcd.errors import Forbidden
from k8s_ovs.observe.etcd.settings import EtcdSettings
from k8s_ovs_lab.process import await_that


class Refusing:
    """An etcd in which nobody holds a key, and of which each write fails in the same way."""

    settings = EtcdSettings(("http://127.0.0.1:1",), timeout=1.0)

    def __init__(self, error: K8sOvsError) -> None:
        self.error = error
        self.leases: set[int] = set()
        self.asked = 0

    def get(self, _: str) -> None:
        if isinstance(self.error, Unavailable):
            raise self.error

    def lease(self, _: int) -> int:
        self.asked += 1
        self.leases.add(self.asked)
        return self.asked

    def revoke(self, lease: int) -> None:
        self.leases.remove(lease)

    def txn(self, *_: Any) -> None:
        raise self.error


@pytest.fixture
def succession_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[Refusing], Succession]:
    monkeypatch.setattr(election, "Backoff", lambda cap: Backoff(first=0.01, cap=0.05))
    return lambda etcd: Succession(etcd, "/net/k8ssdn", "node1", 2)  # type: ignore[arg-type]


def test_roles_without_the_successors_key_let_all_daemons_see_all(
    succession_at: Callable[[Refusing], Succession],
) -> None:
    etcd = Refusing(Forbidden("permission denied"))
    succession = succession_at(etcd)
    succession.start()
    try:
        await_that("it to see all", lambda: succession.sees_all, 10)
        assert "permission denied" in succession.problem
        etcd.error = Unavailable("away")
        await_that("etcd to be away", lambda: not succession.problem, 10)
        assert succession.sees_all, "what etcd has said of the roles counts until it says otherwise"
    finally:
        succession.stop()
    assert etcd.asked > 0
    assert not etcd.leases, "a lease that is of no use is given back"


def test_an_etcd_that_takes_no_writes_makes_nobody_see_all(
    succession_at: Callable[[Refusing], Succession],
) -> None:
    succession = succession_at(Refusing(K8sOvsError("its database is full")))
    succession.start()
    try:
        await_that("the refusal", lambda: bool(succession.problem), 10)
        assert not succession.sees_all
    finally:
        succession.stop()
