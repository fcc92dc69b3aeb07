"""A network whose records are lost and come back from a backup: pods keep what they have."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import permutations
from typing import Any

import pytest

from k8s_ovs.errors import K8sOvsError
from k8s_ovs_lab import Lab
from k8s_ovs_lab.lab_net import LabNet
from k8s_ovs_lab.layout import ETCD_PREFIX
from k8s_ovs_lab.process import await_that
from k8s_ovs_testing.traffic.traffic import PingStream

NODES = ("node1", "node2")
PODS = {"red/one": "node1", "red/two": "node2", "green/one": "node1", "green/two": "node2"}
#: Of one tenant, on two nodes.
PAIRS = [
    (client, server)
    for client, server in permutations(PODS, 2)
    if client.partition("/")[0] == server.partition("/")[0]
]
WITHIN = 60.0


@pytest.fixture(scope="module")
def shared_world(lab_of: Callable[..., Lab]) -> LabNet:
    """Two nodes; each of the tenants red and green has a pod on each."""
    lab = lab_of("res", plugin="k8s-ovs-multitenant")
    for title, node in PODS.items():
        namespace, _, name = title.partition("/")
        lab.run_pod(node, name, namespace)
    return LabNet(lab)


@pytest.fixture
def world(shared_world: LabNet) -> LabNet:
    """All is well before."""
    well(shared_world)
    return shared_world


def well(world: LabNet) -> None:
    """Both nodes are ready, and each tenant's pods reach each other and nobody else."""
    await_that("both nodes to be ready", lambda: _ready(world), WITHIN)
    for client, server in PAIRS:
        assert world.pings(client, world.address(server)), (client, server)
    assert not world.pings("red/one", world.address("green/two"))


def _ready(world: LabNet) -> bool:
    for node in NODES:
        status = world.status(node)
        if not status.get("ready") or status["problems"] or not all(status["sources"].values()):
            raise K8sOvsError(f"{node}: {status}")
    return True


def told(world: LabNet, *words: str, text: str | None = None, check: bool = True) -> str:
    """What `k8s-ovs WORDS` prints on node1."""
    command = ["env", "PYTHONWARNINGS=ignore", "k8s-ovs", *words]
    done = world.lab.exec("node1", command, text=text, check=check)
    return done.stdout + done.stderr


def records(world: LabNet) -> dict[str, Any]:
    """The network's records, without what nodes say of themselves."""
    return dict(json.loads(told(world, "backup", "-"))["records"])


def test_etcd_emptied_while_the_daemons_are_stopped(world: LabNet) -> None:
    backup = told(world, "backup", "-")
    before = records(world)
    stream = PingStream(world.netns("red/one"), world.address("red/two"))
    for node in NODES:
        world.lab.stop_daemon(node)
    world.lab.etcdctl("del", "--prefix", f"{ETCD_PREFIX}/")
    assert not world.records()
    said = told(world, "restore", "-", text=backup)
    assert said.endswith("network k8ssdn is restored\n")
    for node in NODES:
        world.lab.start_daemon(node, wait=False)
    well(world)
    assert (stream.stop(), stream.sent > 0) == (0, True)
    assert records(world) == before


def test_etcd_emptied_and_filled_again_under_running_daemons(world: LabNet) -> None:
    backup = told(world, "backup", "-")
    before = records(world)
    world.lab.etcdctl("del", "--prefix", f"{ETCD_PREFIX}/")
    words = ("restore", "-", "--overwrite", "--delete-others")
    # The leader may write at the same time, and then the command says so.
    await_that("etcd to be filled", lambda: bool(told(world, *words, text=backup)), WITHIN)
    well(world)
    assert records(world) == before


def test_daemons_that_wait_for_a_configuration_begin_when_all_records_are_there(
    world: LabNet,
) -> None:
    backup = told(world, "backup", "-")
    before = records(world)
    for node in NODES:
        world.lab.stop_daemon(node)
    world.lab.etcdctl("del", "--prefix", f"{ETCD_PREFIX}/")
    for node in NODES:
        world.lab.start_daemon(node, wait=False)
    waits = 'the key "config" does not exist'
    await_that(
        "the daemons to wait",
        lambda: all(waits in str(world.status(node).get("waiting_for")) for node in NODES),
        WITHIN,
    )
    told(world, "restore", "-", text=backup)
    well(world)
    assert records(world) == before
