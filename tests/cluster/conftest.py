"""A cluster for all tests of this directory: bare at first, then with the network installed."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from attrs import frozen
from tests.cluster.binaries import helm, kubernetes
from tests.cluster.cluster import MANIFEST, Cluster
from tests.cluster.images import all_images
from tests.cluster.lifecycle import tear_down, up
from tests.cluster.node import snapshot
from tests.cluster.place import Place
from tests.cluster.plain_etcd import with_plain_etcd

from k8s_ovs_lab.layout import ETCD_PREFIX

STATUS_IN_ETCD = f"{ETCD_PREFIX}/k8ssdn/status"
# NAME: one machine can run the tests of several trees at a time.
NAME = os.environ.get("K8S_OVS_TEST_CLUSTER", "kct")


@frozen
class Installed:
    """A cluster with the network. Of the time before, by the node's name: bare: what it said of
    itself, hosts: how it was. Of node1 when its daemon looked for Open vSwitch where there is none:
    without_switch: its event, status_without_switch: its record in etcd. up_s: how long it took to
    bring the cluster up; ready_s: to install the network on it.
    """

    cluster: Cluster
    hosts: dict[str, Any]
    bare: dict[str, tuple[str, str]]
    without_switch: str
    status_without_switch: dict[str, Any]
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
    manifest = with_plain_etcd(MANIFEST.read_text())
    elsewhere = manifest.replace("path: /var/run/openvswitch", "path: /var/run/lock")
    assert elsewhere != manifest
    nodes = cluster.place.nodes
    hosts = {node.name: snapshot(node) for node in nodes}
    cluster.kubectl("apply", "-f", "-", text=elsewhere)
    message = cluster.await_event("Node", "node1", "NetworkNotReady")
    status = cluster.etcdctl("get", "--print-value-only", f"{STATUS_IN_ETCD}/node1")
    cluster.remove_manifest()
    bare = {node.name: cluster.ready(node.name) for node in nodes}
    ready_s = seconds(cluster.install_manifest)
    return Installed(cluster, hosts, bare, message, dict(json.loads(status)), up_s, ready_s)


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


@pytest.fixture
def restored(cluster: Cluster) -> Iterator[None]:
    """Afterwards, whatever a test has done, nodes have the network and take pods, and there is
    DNS."""
    yield
    cluster.install_manifest()
    cluster.kubectl("uncordon", *(node.name for node in cluster.place.nodes))
    cluster.await_rollout("deployment/coredns")


@pytest.fixture
def ways(cluster: Cluster) -> Iterator[dict[str, str]]:
    """Pods `left` on node1 and `right` on node2: each one's name with the address of the other."""
    left, right = cluster.run_pod("node1", "left"), cluster.run_pod("node2", "right")
    yield {"left": right, "right": left}
    cluster.kubectl("delete", "pod", "left", "right", "--ignore-not-found", timeout=120)
