"""A cluster for all tests of this directory: bare at first, then with the network installed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest
from attrs import frozen
from tests.cluster.binaries import helm, kubernetes
from tests.cluster.cluster import MANIFEST, Cluster
from tests.cluster.images import all_images
from tests.cluster.lifecycle import tear_down, up
from tests.cluster.place import Place

# NAME: one machine can run the tests of several trees at a time.
NAME = os.environ.get("K8S_OVS_TEST_CLUSTER", "kct")


@frozen
class Installed:
    """A cluster with the network. bare: what each node said of itself before, by its name.
    without_switch: what node1 told when the daemon looked for Open vSwitch where there is none.
    up_s: how long it took to bring the cluster up; ready_s: to install the network on it.
    """

    cluster: Cluster
    bare: dict[str, tuple[str, str]]
    without_switch: str
    up_s: float
    ready_s: float


@pytest.fixture(scope="session")
def bare_cluster() -> Iterator[tuple[Cluster, float]]:
    """Two nodes without a network, and the seconds that it took to bring them up."""
    place = Place(NAME, 2)
    tear_down(place)
    # What is made once is no part of the time.
    for make in (kubernetes, helm, all_images):
        make()
    up_s = seconds(partial(up, place))
    yield Cluster(place), up_s
    tear_down(place)


@pytest.fixture(scope="session")
def installed(bare_cluster: tuple[Cluster, float]) -> Installed:
    """The network, installed as a user does, at first on nodes where no Open vSwitch is found."""
    cluster, up_s = bare_cluster
    manifest = MANIFEST.read_text()
    elsewhere = manifest.replace("path: /var/run/openvswitch", "path: /var/run/no-openvswitch")
    assert elsewhere != manifest
    cluster.kubectl("apply", "-f", "-", text=elsewhere)
    message = cluster.await_event("Node", "node1", "NetworkNotReady")
    cluster.remove_manifest()
    bare = {node.name: cluster.ready(node.name) for node in cluster.place.nodes}
    ready_s = seconds(cluster.install_manifest)
    return Installed(cluster, bare, message, up_s, ready_s)


def seconds(work: Callable[[], None]) -> float:
    """How long it takes."""
    began = time.monotonic()
    work()
    return time.monotonic() - began


@pytest.fixture(scope="session")
def cluster(installed: Installed) -> Cluster:
    """Two nodes with the network, and DNS."""
    installed.cluster.await_rollout("deployment/coredns")
    return installed.cluster
