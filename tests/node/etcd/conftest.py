"""A real etcd, and clients of it that are closed after the test."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.node.etcd.watching import Events, MakeWatch

from k8s_ovs.observe.etcd.client import Etcd, EtcdSettings
from k8s_ovs.observe.etcd.watch import LeftOut, PrefixWatch
from k8s_ovs.observe.watch_event import Sink, WatchEvent
from k8s_ovs_testing.servers.etcd import EtcdProcess

MakeClient = Callable[..., Etcd]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdProcess]:
    """An etcd that no test stops or fills; each test has a prefix of its own."""
    with EtcdProcess(tmp_path_factory.mktemp("etcd")) as process:
        yield process


@pytest.fixture
def own(tmp_path: Path) -> Iterator[EtcdProcess]:
    """An etcd that the test may stop."""
    with EtcdProcess(tmp_path / "etcd") as process:
        yield process


@pytest.fixture
def client() -> Iterator[MakeClient]:
    made: list[Etcd] = []

    def make(*endpoints: str, **settings: object) -> Etcd:
        made.append(Etcd(EtcdSettings(endpoints, **settings)))  # type: ignore[arg-type]  # kwargs
        return made[-1]

    yield make
    for etcd in made:
        etcd.close()


@pytest.fixture
def watch() -> Iterator[MakeWatch]:
    made: list[PrefixWatch] = []

    def make(
        etcd: Etcd,
        prefix: str,
        also: Sink = lambda event: None,
        left_out: LeftOut | None = None,
    ) -> Events:
        events: Events = queue.SimpleQueue()

        def sink(event: WatchEvent) -> None:
            events.put(event)
            also(event)

        made.append(PrefixWatch(etcd, prefix, "test", sink, left_out))
        made[-1].start()
        return events

    yield make
    for each in made:
        each.stop()
