"""The other ways to install the network, by hand and with Helm: nodes become ready, pods go on."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.cluster.chart import CHART
from tests.cluster.cluster import SYSTEM, Cluster
from tests.cluster.conftest import seconds
from tests.cluster.node import WITHOUT_PYTHON, in_box
from tests.cluster.pings import pinging
from tests.cluster.plain_etcd import VALUES as PLAIN_ETCD

from k8s_ovs_lab.command import run
from k8s_ovs_lab.layout import ETCD_PREFIX, LabNode
from k8s_ovs_lab.process import LabProcess, await_that

PROGRAM = Path(sys.executable).with_name("k8s-ovs")
CONFIG = (
    '{"Name":"k8ssdn","Network":"172.11.0.0/16","HostSubnetLength":10,'
    '"ServiceNetwork":"10.96.0.0/12","PluginName":"k8s-ovs-multitenant"}'
)
ADMIN = "/etc/kubernetes/admin.conf"
RELEASE = ("k8s-ovs", str(CHART), f"--namespace={SYSTEM}", *PLAIN_ETCD)
WITHIN_S = 60.0


@pytest.fixture(scope="module")
def other(cluster: Cluster) -> Iterator[str]:
    """The manifest is removed while pods run, `one` on node1 and `other` on node2, and comes back
    in the end; the address of the latter."""
    cluster.run_pod("node1", "one")
    address = cluster.run_pod("node2", "other")
    cluster.remove_manifest()
    yield address
    cluster.install_manifest()
    cluster.kubectl("delete", "pod/one", "pod/other")


def bare(cluster: Cluster) -> None:
    """Take the network's configuration from the runtimes, and wait until nodes are not ready."""
    for node in cluster.place.nodes:
        # As `k8s-ovs uninstall` does; the rest of what that removes, pods are still using.
        run(in_box(node, ["sh", "-c", "rm -f /etc/cni/net.d/80-k8s-ovs.*"]))
    names = [node.name for node in cluster.place.nodes]

    def without() -> bool:
        return all("cni plugin not initialized" in cluster.ready(name)[1] for name in names)

    await_that("nodes without a network", without, WITHIN_S)


def start_daemon(cluster: Cluster, node: LabNode) -> LabProcess:
    """`k8s-ovs node` as a person starts it on a node."""
    shutil.copy(cluster.place.kubeconfig, f"{node.directory}{ADMIN}")
    endpoints = f"--etcd-endpoints={cluster.place.layout.etcd_url}"
    command = f"{PROGRAM} node {endpoints} --etcd-prefix={ETCD_PREFIX}"
    process = LabProcess(node.directory, "by-hand")
    noting = f"echo $$ >/run/by-hand.pid; exec {command}"
    process.start(in_box(node, ["sh", "-c", noting]), environment={"KUBECONFIG": ADMIN})
    return process


def pods_go_on(cluster: Cluster, other: str) -> bool:
    """Whether pods of before reach each other, and one that comes to node1 now."""
    cluster.run_pod("node1", "new")
    found = cluster.reaches("one", other) and cluster.reaches("new", other)
    cluster.kubectl("delete", "pod/new")
    return found


def test_by_hand(cluster: Cluster, other: str, report: Callable[[str], None]) -> None:
    bare(cluster)
    # A daemon by hand needs a node with Python.
    node, without_python = cluster.place.nodes
    assert without_python.name == WITHOUT_PYTHON
    cluster.etcdctl("del", f"{ETCD_PREFIX}/config")
    daemons = []

    def install() -> None:
        run(in_box(node, [str(PROGRAM), "install-cni"]))
        cluster.etcdctl("put", f"{ETCD_PREFIX}/config", CONFIG)
        daemons.append(start_daemon(cluster, node))
        ready = f"{node.name} to be ready"
        await_that(ready, lambda: cluster.ready(node.name)[0] == "True", WITHIN_S)

    report(f"by hand until a node is ready: {seconds(install):.1f} s")
    assert pods_go_on(cluster, other)
    assert cluster.ready(without_python.name)[0] == "False"
    (daemon,) = daemons
    run(in_box(node, ["sh", "-c", "kill $(cat /run/by-hand.pid)"]))
    await_that("the daemon to end", lambda: not daemon.running(), WITHIN_S)


@pytest.fixture(scope="module")
def helm_s(cluster: Cluster, other: str) -> Iterator[float]:
    """The network as Helm installs it on nodes without one, until it is uninstalled; how long it
    took."""
    bare(cluster)

    def install() -> None:
        cluster.helm("install", *RELEASE)
        cluster.await_network()

    yield seconds(install)
    cluster.helm("uninstall", "k8s-ovs", f"--namespace={SYSTEM}")
    cluster.await_no_daemons()
    assert cluster.reaches("one", other)


def test_helm_install(
    cluster: Cluster, other: str, helm_s: float, report: Callable[[str], None]
) -> None:
    report(f"helm install until both nodes are ready: {helm_s:.1f} s")
    assert pods_go_on(cluster, other)


def test_helm_upgrade_with_another_value_loses_no_packet(
    cluster: Cluster, other: str, helm_s: float
) -> None:
    before = [cluster.daemon_on(node.name) for node in cluster.place.nodes]
    with pinging(cluster, {"one": other}) as counts:
        cluster.helm("upgrade", *RELEASE, "--set=extraArgs={--log-format=json}")
        cluster.await_network()
    assert not set(before) & {cluster.daemon_on(node.name) for node in cluster.place.nodes}
    assert counts["one"].lost == ()
    line, *_ = cluster.kubectl("logs", cluster.daemon_on("node1"), "-n", SYSTEM).splitlines()
    assert "event" in json.loads(line)
