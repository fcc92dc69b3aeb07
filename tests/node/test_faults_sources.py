"""etcd or the API server away, as dead or as hanging: what runs goes on, and pods come and go."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
from tests.node.hanging import apiserver_hangs, etcd_hangs

from k8s_ovs.errors import K8sOvsError
from k8s_ovs_lab.command import run
from k8s_ovs_lab.lab_net import LabNet
from k8s_ovs_lab.process import await_that

WITHIN = 30.0

Away = Callable[[LabNet], AbstractContextManager[None]]


@contextmanager
def etcd_dead(world: LabNet) -> Iterator[None]:
    world.lab.part("etcd").kill()
    try:
        yield
    finally:
        world.lab.start_part("etcd")


@contextmanager
def apiserver_refuses(world: LabNet) -> Iterator[None]:
    """A server that is gone, seen from the nodes; ours itself would forget its objects."""
    rules = (
        "table ip refuse {\n chain in {\n  type filter hook input priority filter;\n"
        "  ip saddr != 192.168.0.1 tcp dport 6443 reject with tcp reset\n }\n}\n"
    )
    fabric = world.lab.layout.fabric
    run(["nft", "-f", "-"], netns=fabric, text=rules)
    try:
        yield
    finally:
        run(["nft", "delete", "table", "ip", "refuse"], netns=fabric)


# What etcd does itself when its database has reached its quota.
_NO_SPACE = """
import sys, grpc
from k8s_ovs.observe.etcd.protocol import rpc, stub
maintenance = stub(grpc.insecure_channel(sys.argv[1]), "Maintenance")
member = maintenance.Status(rpc.StatusRequest()).header.member_id
maintenance.Alarm(rpc.AlarmRequest(action="ACTIVATE", memberID=member, alarm="NOSPACE"))
"""


@contextmanager
def etcd_full(world: LabNet) -> Iterator[None]:
    world.lab.exec("fabric", [sys.executable, "-c", _NO_SPACE, "192.168.0.1:2379"])
    try:
        yield
    finally:
        world.lab.etcdctl("alarm", "disarm")


ETCD = pytest.mark.parametrize("away", [etcd_dead, etcd_hangs])
API = pytest.mark.parametrize("away", [apiserver_hangs, apiserver_refuses])


@ETCD
def test_etcd_lost_later_is_told_and_everything_known_goes_on(shaken: LabNet, away: Away) -> None:
    before = flows(shaken)
    with away(shaken):
        await_that("it is told", lambda: lost(shaken, "etcd"), WITHIN)
        goes_on(shaken)
    await_that("the same flows", lambda: flows(shaken) == before, WITHIN)


@ETCD
def test_a_daemon_that_starts_without_etcd_waits_and_says_so(shaken: LabNet, away: Away) -> None:
    before = flows(shaken)
    shaken.lab.stop_daemon("node1")
    with away(shaken):
        shaken.lab.start_daemon("node1", "--cni-wait=1", wait=False)
        await_that("it says so", lambda: "http://192.168.0.1:2379" in waits_for(shaken), WITHIN)
        assert waits_for(shaken).startswith("etcd has not been reached yet")
        assert shaken.pings("x", shaken.address("y"))
        with (
            pytest.raises(K8sOvsError, match=r"waited 1 s for: etcd has not been.*code 11"),
            shaken.attached("node1", "early"),
        ):
            pass
    await_that("it is ready", lambda: shaken.status("node1")["ready"], WITHIN)
    await_that("the same flows", lambda: flows(shaken) == before, WITHIN)


@API
def test_an_api_server_lost_later_is_told_and_everything_goes_on(
    shaken: LabNet, away: Away
) -> None:
    with away(shaken):
        await_that("it is told", lambda: lost(shaken, "kube:nodes"), WITHIN)
        goes_on(shaken, known=False)


@API
def test_a_daemon_that_starts_without_an_api_server_serves(shaken: LabNet, away: Away) -> None:
    shaken.lab.stop_daemon("node1")
    with away(shaken):
        shaken.lab.start_daemon("node1")
        goes_on(shaken, known=False)


def test_an_etcd_without_space_is_told_by_status_and_doctor_and_everything_known_goes_on(
    shaken: LabNet,
) -> None:
    doctor = ("k8s-ovs", "doctor")
    with etcd_full(shaken):
        goes_on(shaken)
        await_that("it is told", lambda: "etcdctl alarm disarm" in problems(shaken), WITHIN)
        done = shaken.lab.exec("node1", doctor, check=False)
        assert "its database is full (alarm NOSPACE)" in done.stdout
        assert "did not answer" not in done.stdout + problems(shaken)
    await_that("it is over", lambda: not problems(shaken), WITHIN)


def goes_on(world: LabNet, *, known: bool = True) -> None:
    """Packets of pods that run, and a new pod. known: to the API server."""
    assert world.pings("x", world.address("y"))
    with world.attached("node1", "late", known=known) as pod:
        assert pod.ip is not None
        assert world.pings("y", pod.ip)


def problems(world: LabNet) -> str:
    return "; ".join(world.status("node1")["problems"])


def waits_for(world: LabNet) -> str:
    return str(world.status("node1")["waiting_for"])


def flows(world: LabNet) -> set[str]:
    """The flows of node1, each by its cookie, which is a hash of its content."""
    return {flow.split(",")[0] for flow in world.flows("node1")}


def lost(world: LabNet, source: str) -> bool:
    return world.status("node1")["sources"].get(source) is False
