"""What tests of a node share: network namespaces of a test's own, and whole labs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from itertools import count
from typing import Any

import pytest
from attrs import frozen

from k8s_ovs.errors import K8sOvsError
from k8s_ovs.link.namespace import entered, opened
from k8s_ovs_lab import Lab, LabSettings, Layout
from k8s_ovs_lab.lab_net import SERVER_PORT, LabNet
from k8s_ovs_lab.lifecycle import directory_of, tear_down
from k8s_ovs_lab.process import await_that, last_lines
from k8s_ovs_lab.tenants import Tenants

_numbers = count()


@frozen
class Netns:
    """A network namespace by name; `path` is what a runtime would give as CNI_NETNS."""

    name: str

    @property
    def path(self) -> str:
        return f"/run/netns/{self.name}"

    def run(self, command: str, check: bool = True, timeout: float = 30.0) -> str:
        """The output of a command (words separated by blanks) that runs inside."""
        done = subprocess.run(
            ["nsenter", f"--net={self.path}", *command.split()],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=check,
        )
        return done.stdout


@pytest.fixture
def new_netns() -> Iterator[Callable[[str], Netns]]:
    """Makes namespaces; they go when the test does."""
    made: list[Netns] = []

    def make(role: str) -> Netns:
        netns = Netns(f"kovst-{os.getpid()}-{next(_numbers)}-{role}")
        subprocess.run(["ip", "netns", "add", netns.name], check=True, timeout=30)
        made.append(netns)
        netns.run("ip link set lo up")
        return netns

    yield make
    for netns in made:
        subprocess.run(["ip", "netns", "delete", netns.name], check=True, timeout=30)


@pytest.fixture
def node(new_netns: Callable[[str], Netns]) -> Iterator[Netns]:
    """The node: a namespace that the test itself is in."""
    netns = new_netns("node")
    with opened(netns.path) as descriptor, entered(descriptor):
        yield netns


@pytest.fixture(scope="session")
def lab_of() -> Iterator[Callable[..., Lab]]:
    """Brings labs up; they go with the last test. K8S_OVS_TEST_DATAPATH: auto, system (the
    kernel's) or netdev (userspace)."""
    datapath = os.environ.get("K8S_OVS_TEST_DATAPATH", "auto")

    with ExitStack() as stack:

        def bring_up(name: str, **settings: Any) -> Lab:
            wanted = LabSettings(f"{name}{os.getpid()}", datapath=datapath, **settings)
            layout = Layout(wanted.name, directory_of(wanted.name))
            stack.callback(tear_down, layout, lambda _: None)
            return Lab.up(wanted)

        yield bring_up


@pytest.fixture(scope="session")
def world(lab_of: Callable[..., Lab]) -> LabNet:
    """Two nodes, with the pods a and b on the one, c and d on the other."""
    lab = lab_of("pkt")
    for name, node in {"a": "node1", "b": "node1", "c": "node2", "d": "node2"}.items():
        lab.run_pod(node, name)
    return LabNet(lab)


@pytest.fixture(scope="session")
def shaken_world(lab_of: Callable[..., Lab]) -> LabNet:
    """Two nodes with room for 29 pods each, with the pod x on the one, y on the other."""
    lab = lab_of("flt", config={"HostSubnetLength": 5})
    for name, node in {"x": "node1", "y": "node2"}.items():
        lab.run_pod(node, name)
    return LabNet(lab)


@pytest.fixture
def shaken(shaken_world: LabNet) -> Iterator[LabNet]:
    """A lab to do harm to, and all is well before and after."""
    yield shaken_world
    await_that("all to be well again", lambda: _well(shaken_world), 60)


@pytest.fixture(scope="session")
def tenant_world(lab_of: Callable[..., Lab]) -> LabNet:
    """Two nodes, each namespace a tenant: red, green and blue with the pods one and two, one a
    node, and the global kube-system with the pod dns; in front of each one's pods a service."""
    lab = lab_of("ten", plugin="k8s-ovs-multitenant")
    pods = {"kube-system": ("dns",)} | dict.fromkeys(("red", "green", "blue"), ("one", "two"))
    for namespace, names in pods.items():
        for node, name in zip(("node1", "node2"), names, strict=False):
            lab.run_pod(node, name, namespace)
        endpoints = [f"{name}:{SERVER_PORT}" for name in names]
        lab.service("shop", 80, endpoints, namespace=namespace)
    return LabNet(lab)


@pytest.fixture
def tenants(tenant_world: LabNet) -> Iterator[Tenants]:
    """Their records: each in a network of its own, before and after."""
    tenants = Tenants(tenant_world.lab)
    texts = {namespace: tenants.text(namespace) for namespace in ("red", "green", "blue")}
    yield tenants
    for namespace, text in texts.items():
        if tenants.text(namespace) != text:
            tenants.put(namespace, text)


def _well(world: LabNet) -> bool:
    for node in ("node1", "node2"):
        status = world.status(node)
        if not status.get("ready") or status["problems"] or not all(status["sources"].values()):
            raise K8sOvsError(f"{node}: {status}")
        # Of one pod by IP and by ARP, and the drop of all others.
        if len(flows := world.flows(node, "POD_IN")) != 3:
            raise K8sOvsError(f"{node}: {flows}")
    ways = (("x", "y"), ("y", "x"))
    return all(world.pings(client, world.address(server)) for client, server in ways)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What the daemons of a test's lab said last is shown beside its failure."""
    report = yield
    given = getattr(item, "funcargs", {})
    world = next((each for each in given.values() if isinstance(each, LabNet)), None)
    lab = world.lab if isinstance(world, LabNet) else given.get("lab")
    if report.failed and isinstance(lab, Lab):
        for node in lab.nodes:
            for log in (node.directory / "daemon.log", node.ovs_directory / "ovs-vswitchd.log"):
                report.sections.append((f"{log.stem} of {node.name}", last_lines(log, 25)))
    return report
