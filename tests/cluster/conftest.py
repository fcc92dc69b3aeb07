"""A cluster for all tests of this directory: bare at first, then with the network installed."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from attrs import frozen
from tests.cluster.cluster import MANIFEST, Cluster
from tests.cluster.lifecycle import tear_down, up
from tests.cluster.place import Place

# NAME: one machine can run the tests of several trees at a time.
NAME = os.environ.get("K8S_OVS_TEST_CLUSTER", "kct")


@frozen
class Installed:
    """A cluster with the network. bare: what each node said of itself before, by its name.
    without_switch: what node1 told when the daemon looked for Open vSwitch where there is none.
    """

    cluster: Cluster
    bare: dict[str, tuple[str, str]]
    without_switch: str


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
    """The network, installed as a user does, at first on nodes where no Open vSwitch is found."""
    manifest = MANIFEST.read_text()
    elsewhere = manifest.replace("path: /var/run/openvswitch", "path: /var/run/no-openvswitch")
    assert elsewhere != manifest
    bare_cluster.kubectl("apply", "-f", "-", text=elsewhere)
    message = bare_cluster.await_event("Node", "node1", "NetworkNotReady")
    bare = {node.name: bare_cluster.ready(node.name) for node in bare_cluster.place.nodes}
    bare_cluster.install(manifest)
    return Installed(bare_cluster, bare, message)


@pytest.fixture(scope="session")
def cluster(installed: Installed) -> Cluster:
    """Two nodes with the network, and DNS."""
    installed.cluster.await_rollout("deployment/coredns")
    return installed.cluster
