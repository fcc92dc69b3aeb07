"""A daemon starts while the API server is away: what plugins have that read it stays as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from tests.node.hanging import apiserver_hangs
from tests.node.installed import with_source

from k8s_ovs.errors import K8sOvsError
from k8s_ovs_lab import Lab
from k8s_ovs_lab.lab_net import LabNet
from k8s_ovs_lab.process import await_that

WITHIN = 30.0
MODULE = """
from k8s_ovs.plugin import Flow, Goto, KubeResource, Table, any_packet, hook, ip

DOORS = Table("DOORS", "May this pod speak?", between=("POD_IN", "ROUTE"))


def may_speak(key, found):
    return found["metadata"].get("labels", {}).get("acme.example/may") == "speak"


class Doors:
    @hook
    def tables(self):
        return [DOORS]

    @hook
    def resources(self):
        return [KubeResource("doors", "/api/v1/pods", may_speak, local_only=True)]

    @hook
    def network_flows(self, view):
        return [Flow(DOORS, 50, any_packet())]

    @hook
    def pod_flows(self, view, pod):
        if view.get("doors", pod.identity):
            yield Flow(DOORS, 100, ip(in_port=pod.ofport), [Goto("ROUTE")])
"""


@pytest.fixture(scope="module")
def guarded(
    lab_of: Callable[..., Lab], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LabNet]:
    """Two nodes with a plugin by which only labelled pods speak: open may, shut may not."""
    directory = tmp_path_factory.mktemp("acme")
    with with_source(directory, "acme-doors", "acme_doors:Doors", MODULE):
        lab = lab_of("hld", plugin="k8s-ovs-subnet,acme-doors")
        may = {"acme.example/may": "speak"}
        lab.run_pod("node1", "open", labels=may)
        lab.run_pod("node1", "shut")
        lab.run_pod("node2", "far", labels=may)
        yield LabNet(lab)


def cookies(world: LabNet) -> set[str]:
    """The flows of node1, each by its cookie, which is a hash of its content."""
    return {flow.split(",")[0] for flow in world.flows("node1")}


def problems(world: LabNet) -> str:
    return "; ".join(world.status("node1")["problems"])


def test_what_is_open_stays_open_and_what_is_shut_stays_shut(guarded: LabNet) -> None:
    far, before = guarded.address("far"), cookies(guarded)
    assert guarded.pings("open", far)
    assert not guarded.pings("shut", far)
    guarded.lab.stop_daemon("node1")
    with apiserver_hangs(guarded):
        guarded.lab.start_daemon("node1", "--cni-wait=1")
        assert cookies(guarded) == before
        assert guarded.pings("open", far)
        assert not guarded.pings("shut", far)
        told = "plugin acme-doors: its flows stay as they are until it knows what it reads"
        await_that("it is told", lambda: told in problems(guarded), WITHIN)
        with (
            pytest.raises(K8sOvsError, match="the first list of doors of Kubernetes, which plugin"),
            guarded.attached("node1", "early", known=False),
        ):
            pass
        assert cookies(guarded) == before
    await_that("it is over", lambda: not problems(guarded), WITHIN)
    assert cookies(guarded) == before
    with guarded.attached("node1", "late") as late:
        assert late.ip is not None
        assert guarded.pings("open", far)
