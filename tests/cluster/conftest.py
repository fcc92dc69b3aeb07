"""A cluster for all tests of this directory: bare at first, then with the network installed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from attrs import frozen
from tests.cluster.cluster import MANIFEST, Cluster
from tests.cluster.lifecycle import tear_down, up
from tests.cluster.place import Place

NAME = "kct"


@frozen
class Installed:
    """A cluster with the network. bare: what each node said of itself before, by its name."""

    cluster: Cluster
    bare: dict[str, tuple[str, str]]


@pytest.fixture(scope="session")
def bare_cluster() -> Iterator[Cluster]:
    """Two nodes without a network."""
    place = Place(NAME, 2)
    tear_down(place)
    up(place)
    yield Cluster(place)
    tear_down(place)


@pytest.fixture(scope="session")
def installed(bare_cluster: Cluster) -> Installed:
    """The network, installed as a user does."""
    bare = {node.name: bare_cluster.ready(node.name) for node in bare_cluster.place.nodes}
    bare_cluster.install(MANIFEST.read_text())
    return Installed(bare_cluster, bare)


@pytest.fixture(scope="session")
def cluster(installed: Installed) -> Cluster:
    """Two nodes with the network, and DNS."""
    installed.cluster.await_rollout("deployment/coredns")
    return installed.cluster
