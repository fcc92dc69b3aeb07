"""What kubelet does all day: it looks into pods, probes them, restarts them and removes them."""

from __future__ import annotations

import os
import re
import select
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tests.cluster.cluster import Cluster
from tests.cluster.greeting import GREETER, greeting_by
from tests.cluster.images import PAUSE

from k8s_ovs_lab.command import inside, run
from k8s_ovs_lab.process import await_that
from k8s_ovs_testing.ovs import OvsProcess

TENANT = "kubelets"
SERVE = "busybox httpd -p 8080 -h /etc"
CROWD = 60
CROWD_WITHIN_S = 300.0


@pytest.fixture(scope="module")
def tenant(cluster: Cluster) -> Iterator[str]:
    """A namespace of its own, with the pod `web` on node2, which says hello, and its service."""
    cluster.kubectl("create", "namespace", TENANT)
    cluster.run_pod("node2", "web", TENANT, command=GREETER)
    cluster.service("web", "web", TENANT)
    yield TENANT
    cluster.kubectl("delete", "namespace", TENANT, timeout=120)


def test_logs_and_exec_work(cluster: Cluster, tenant: str) -> None:
    cluster.run_pod("node2", "talks", tenant, command=("sh", "-c", "echo started; sleep infinity"))
    assert cluster.kubectl("logs", "talks", "-n", tenant) == "started\n"
    assert cluster.exec("talks", "hostname", namespace=tenant) == "talks\n"


@pytest.mark.parametrize("target", ["pod/echo", "service/echo"])
def test_bytes_go_through_a_forwarded_port(cluster: Cluster, tenant: str, target: str) -> None:
    cluster.run_pod("node2", "echo", tenant, command=("socat", "TCP-LISTEN:8080,fork", "EXEC:cat"))
    cluster.service("echo", "echo", tenant)
    port = "8080" if target.startswith("pod") else "80"
    sent = os.urandom(100_000)
    with forwarded(cluster, tenant, target, port) as channel:
        channel.sendall(sent)
        channel.shutdown(socket.SHUT_WR)
        with channel.makefile("rb") as answer:
            assert answer.read() == sent


@contextmanager
def forwarded(cluster: Cluster, namespace: str, target: str, port: str) -> Iterator[socket.socket]:
    """A connection through `kubectl port-forward`."""
    command = [str(cluster.place.kubectl), "port-forward", "-n", namespace, target, f":{port}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as kubectl:
        try:
            assert kubectl.stdout is not None
            assert select.select([kubectl.stdout], (), (), 20)[0]
            told = re.match(r"Forwarding from 127\.0\.0\.1:(\d+) ", kubectl.stdout.readline())
            assert told is not None
            # kubectl listens where it runs, beside the API server.
            with inside(cluster.place.layout.fabric):
                channel = socket.create_connection(("127.0.0.1", int(told[1])), 10)
            with channel:
                yield channel
        finally:
            kubectl.terminate()


PROBES: dict[str, dict[str, Any]] = {
    "httpGet": {"httpGet": {"path": "/hostname", "port": 8080}},
    "tcpSocket": {"tcpSocket": {"port": 8080}},
    "exec": {"exec": {"command": ["curl", "-sf", "http://127.0.0.1:8080/hostname"]}},
}


@pytest.mark.parametrize("kind", PROBES)
def test_a_pod_is_ready_while_it_serves(cluster: Cluster, tenant: str, kind: str) -> None:
    probe = PROBES[kind] | {"periodSeconds": 1, "failureThreshold": 1, "timeoutSeconds": 5}
    name = f"probed-{kind.lower()}"
    serving = ("sh", "-c", f"{SERVE}; exec sleep infinity")
    cluster.run_pod("node1", name, tenant, command=serving, container={"readinessProbe": probe})
    cluster.exec(name, "pkill", "busybox", namespace=tenant)
    cluster.await_ready(name, tenant, ready=False)
    cluster.exec(name, *SERVE.split(), namespace=tenant)
    cluster.await_ready(name, tenant)


def test_a_container_that_liveness_restarts_keeps_its_address(
    cluster: Cluster, tenant: str
) -> None:
    probe = PROBES["httpGet"] | {"periodSeconds": 1, "failureThreshold": 2, "timeoutSeconds": 5}
    serving = ("sh", "-c", f"{SERVE}; exec sleep infinity")
    container = {"livenessProbe": probe}
    address = cluster.run_pod("node1", "dies", tenant, command=serving, container=container)
    cluster.exec("dies", "pkill", "busybox", namespace=tenant)

    def restarted() -> bool:
        status = cluster.get("pod", "dies", tenant)["status"]
        (state,) = status["containerStatuses"]
        return bool(state["restartCount"] > 0 and state["ready"])

    await_that("the restart of pod dies", restarted, 60)
    assert cluster.get("pod", "dies", tenant)["status"]["podIP"] == address
    url = f"http://{address}:8080/hostname"
    assert cluster.exec("web", "curl", "-sS", "-m", "5", url, namespace=tenant) == "dies\n"


def test_a_pod_of_the_nodes_network_reaches_tenants_and_is_reached(
    cluster: Cluster, tenant: str
) -> None:
    spec = {"hostNetwork": True}
    node = cluster.run_pod("node1", "host", tenant, command=GREETER, spec=spec)
    assert node == str(cluster.place.nodes[0].address)
    for where in ("node1", "node2"):
        name = f"beside-{where}"
        address = cluster.run_pod(where, name, tenant)
        assert cluster.reaches("host", address, tenant)
        assert [said.pod for said in greeting_by(cluster, name, tenant, node, 8080)] == ["node1"]
    service = cluster.get("service", "web", tenant)["spec"]["clusterIP"]
    assert [said.pod for said in greeting_by(cluster, "host", tenant, service)] == ["web"]


def test_sixty_pods_come_and_go_without_a_trace(
    cluster: Cluster, tenant: str, report: Callable[[str], None]
) -> None:
    # The tenant has a pod on each node: its own flows are there already.
    cluster.run_pod("node1", "near", tenant)
    far = cluster.run_pod("node2", "far", tenant)
    before = traces(cluster)
    begin = time.monotonic()
    cluster.apply(crowd(tenant))
    words = ["rollout", "status", "deployment/crowd", "-n", tenant]
    cluster.kubectl(*words, f"--timeout={CROWD_WITHIN_S:.0f}s", timeout=CROWD_WITHIN_S + 10)
    report(f"{CROWD} pods of a Deployment ready in {time.monotonic() - begin:.1f} s")

    pods = cluster.get("pods", namespace=tenant)
    crowded = [pod["status"] for pod in pods if pod["metadata"]["labels"]["app"] == "crowd"]
    assert {status["phase"] for status in crowded} == {"Running"}
    assert len({status["podIP"] for status in crowded}) == CROWD
    for kind, things in traces(cluster).items():
        assert len(things - before[kind]) >= CROWD, kind

    begin = time.monotonic()
    cluster.kubectl("delete", "deployment/crowd", "-n", tenant)
    await_that(
        "the end of all that the pods had",
        lambda: all(things <= before[kind] for kind, things in traces(cluster).items()),
        CROWD_WITHIN_S,
    )
    report(f"{CROWD} pods deleted, and nothing left of them, in {time.monotonic() - begin:.1f} s")
    assert cluster.reaches("near", far, tenant)


def crowd(namespace: str) -> dict[str, Any]:
    """A Deployment of many pods that do nothing."""
    container = {"name": "pause", "image": PAUSE, "imagePullPolicy": "Never"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "crowd", "namespace": namespace},
        "spec": {
            "replicas": CROWD,
            "selector": {"matchLabels": {"app": "crowd"}},
            "template": {
                "metadata": {"labels": {"app": "crowd"}},
                # Not 0: the API server would forget pods that kubelet still has.
                "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]},
            },
        },
    }


def traces(cluster: Cluster) -> dict[str, set[tuple[str, str]]]:
    """What pods have on the nodes, by kind, each with its node: ports with the pods' addresses in
    OVSDB, flows, devices."""
    found: dict[str, set[tuple[str, str]]] = {"ports": set(), "flows": set(), "devices": set()}
    for node in cluster.place.nodes:
        ovs = OvsProcess(node.ovs_directory, node.netns)
        ports = ovs.vsctl("--columns=name,external_ids", "--format=csv", "list", "Interface")
        flows = ovs.ofctl("--no-stats", "dump-flows", "br0")
        devices = run(["ip", "-brief", "link"], netns=node.netns).stdout
        found["ports"] |= {(node.name, line) for line in ports.splitlines()}
        found["flows"] |= {(node.name, line) for line in flows.splitlines()}
        found["devices"] |= {(node.name, line.split()[0]) for line in devices.splitlines()}
    return found
