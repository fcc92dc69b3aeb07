"""`kubectl apply -f deploy/k8s-ovs.yaml`: nodes become ready; pods, services and DNS work."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest
from tests.cluster.cluster import SYSTEM, Cluster
from tests.cluster.conftest import Installed
from tests.cluster.node import WITH_PORTMAP, WITHOUT_PYTHON, in_box

from k8s_ovs_lab.command import run
from k8s_ovs_lab.process import await_that

WITHIN_S = 60.0
HELLO = ("socat", "-t3", "TCP-LISTEN:8080,reuseaddr,fork", "SYSTEM:cat /etc/hostname")


def test_a_node_without_open_vswitch_says_so(installed: Installed) -> None:
    assert "/var/run/openvswitch" in installed.without_switch
    assert "/var/run/openvswitch" in installed.status_without_switch["WaitingFor"]
    assert installed.status_without_switch["Ready"] is False


def test_nodes_turn_ready_when_the_network_is_installed(
    installed: Installed, report: Callable[[str], None]
) -> None:
    for node, (ready, why) in installed.bare.items():
        assert ready == "False"
        assert "cni plugin not initialized" in why
        assert installed.cluster.ready(node)[0] == "True"
    report(f"a cluster of two nodes is up, without a network: {installed.up_s:.1f} s")
    report(f"kubectl apply until both nodes are ready: {installed.ready_s:.1f} s")


def test_what_the_runtime_needs_is_on_the_node(installed: Installed) -> None:
    for node in installed.cluster.place.nodes:
        run(in_box(node, ["test", "-x", "/opt/cni/bin/k8s-ovs"]))
        (name,) = run(in_box(node, ["ls", "/etc/cni/net.d"])).stdout.split()
        config = json.loads(run(in_box(node, ["cat", f"/etc/cni/net.d/{name}"])).stdout)
        types = [each["type"] for each in config.get("plugins", [config])]
        if node.name == WITH_PORTMAP:
            assert (name, types) == ("80-k8s-ovs.conflist", ["k8s-ovs", "portmap"])
        else:
            assert (name, types) == ("80-k8s-ovs.conf", ["k8s-ovs"])


def test_a_node_without_python_is_ready_too(installed: Installed) -> None:
    place = installed.cluster.place
    (node,) = (each for each in place.nodes if each.name == WITHOUT_PYTHON)
    refused = run(in_box(node, ["/usr/bin/python3", "--version"]), check=False)
    assert "Permission denied" in refused.stderr
    assert installed.cluster.ready(node.name)[0] == "True"
    # It does not like this cluster's etcd, which has no TLS.
    doctor = ["sh", "-c", "k8s-ovs doctor || true"]
    said = installed.cluster.exec(installed.cluster.daemon_on(node.name), *doctor, namespace=SYSTEM)
    assert "speaks CNI 1.1.0, standalone" in said
    assert [line.split()[1] for line in said.splitlines() if line.startswith("WRONG")] == ["etcd"]


def test_the_daemon_has_no_more_rights_than_it_was_given(installed: Installed) -> None:
    pod = installed.cluster.daemon_on("node1")
    status = installed.cluster.exec(pod, "cat", "/proc/1/status", namespace=SYSTEM)
    (effective,) = (line.split()[1] for line in status.splitlines() if line.startswith("CapEff:"))
    net_admin, sys_admin = 12, 21  # capability.h
    assert int(effective, 16) == 1 << net_admin | 1 << sys_admin


@pytest.fixture(scope="module")
def pair(cluster: Cluster) -> Iterator[tuple[str, str]]:
    """Addresses of the pods `near` on node1 and `far` on node2, which serves its name as `web`."""
    near = cluster.run_pod("node1", "near")
    far = cluster.run_pod("node2", "far", command=HELLO)
    cluster.service("web", "far")
    yield near, far
    cluster.kubectl("delete", "pod/near", "pod/far", "service/web")


def test_pods_on_two_nodes_ping_each_other(cluster: Cluster, pair: tuple[str, str]) -> None:
    near, far = pair
    assert cluster.reaches("near", far)
    assert cluster.reaches("far", near)


@pytest.mark.parametrize("name", ["web", "web.default.svc.cluster.local"])
def test_a_service_is_reached_by_its_name(
    cluster: Cluster, pair: tuple[str, str], name: str
) -> None:
    ask = ("socat", "-T5", "-t3", "-", f"TCP:{name}:80")
    await_that("its answer", lambda: cluster.exec("near", *ask) == "far\n", WITHIN_S)


def test_a_pod_reaches_the_api_server(cluster: Cluster, pair: tuple[str, str]) -> None:
    ca = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"
    url = "https://kubernetes.default.svc/version"
    said = cluster.exec("near", "curl", "-sS", "-m", "10", "--cacert", ca, url)
    assert json.loads(said)["major"] == "1"


def test_a_daemon_that_ends_is_started_again_and_pods_stay(
    cluster: Cluster, pair: tuple[str, str]
) -> None:
    _, far = pair
    pod = cluster.daemon_on("node1")

    def restarts() -> int:
        (state,) = cluster.get("pod", pod, SYSTEM)["status"]["containerStatuses"]
        return int(state["restartCount"]) if state["ready"] else -1

    before = restarts()
    cluster.exec(pod, "python3", "-c", "import os; os.kill(1, 15)", namespace=SYSTEM)
    await_that("the daemon's restart", lambda: restarts() > before, WITHIN_S)
    assert cluster.reaches("near", far)
