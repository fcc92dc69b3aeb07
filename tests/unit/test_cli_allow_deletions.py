"""A person's word to the leader: what is written, and what the person is told of its end."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from tests.unit.fake_etcd import CONFIG, PREFIX, FakeEtcd
from typer.testing import Result

from k8s_ovs.cli.cluster import snapshot

Cli = Callable[..., Result]

KEY = f"{PREFIX}/k8ssdn/deletions/allowed"


class WritableEtcd(FakeEtcd):
    """Keeps what was written; None: it was deleted."""

    written: dict[str, bytes | None] = {}  # noqa: RUF012 - each test has its own

    def put(self, key: str, value: bytes) -> None:
        self.written[key] = value

    def delete(self, key: str) -> None:
        self.written[key] = None


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes | None]:
    """What the command has written."""
    monkeypatch.setattr(snapshot, "Etcd", WritableEtcd)
    FakeEtcd.records = {"config": json.dumps(CONFIG).encode()}
    WritableEtcd.written = {}
    return WritableEtcd.written


def test_it_says_how_much_and_that_it_ends_by_itself(
    k8s_ovs: Cli, written: dict[str, bytes | None]
) -> None:
    told = k8s_ovs("allow-deletions", "60").stdout
    assert written == {KEY: b'{"Most":60}'}
    assert told == (
        "the leader may delete 60 records of one kind at once; this ends by itself when nothing "
        "waits any more, so at once if nothing waits now\n"
    )
    assert k8s_ovs("allow-deletions", "0").stdout == "nothing is allowed any more\n"
    assert written == {KEY: None}


def test_help_names_both_limits(k8s_ovs: Cli) -> None:
    shown = " ".join(k8s_ovs("allow-deletions", "--help", COLUMNS="100").stdout.split())
    assert "RECORDS" in shown
    assert "all of two or more" in shown
    assert "more than half of four or more" in shown
