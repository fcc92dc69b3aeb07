"""A daemon that is fed anything, and much of it at once, lives, and all that is sound works."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from tests.node.feed import FEEDS, Feed, put, take_away

from k8s_ovs_lab import Lab
from k8s_ovs_lab.lab_net import LabNet
from k8s_ovs_lab.layout import ETCD_PREFIX
from k8s_ovs_lab.process import await_that

NODE, POD, NEIGHBOUR, PEER = "node1", "one", "limited", "two"
LIMIT = {"kubernetes.io/egress-bandwidth": "20M", "kubernetes.io/ingress-bandwidth": "30M"}
WITHIN = 30.0


@pytest.fixture(scope="module")
def fed(lab_of: Callable[..., Lab]) -> LabNet:
    """Two nodes, with a pod and a limited one on the first."""
    # hypothesis writes down what it feeds, some of it hundreds of levels deep.
    sys.setrecursionlimit(20_000)
    lab = lab_of("fed", plugin="k8s-ovs-multitenant")
    for name, node, wanted in ((POD, NODE, {}), (NEIGHBOUR, NODE, LIMIT), (PEER, "node2", {})):
        lab.run_pod(node, name, annotations=wanted)
    return LabNet(lab)


# What it was fed is long, and shown all the same.
@pytest.mark.filterwarnings("ignore:Generating overly large repr")
@settings(
    max_examples=8,
    phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
    deadline=None,
    database=None,
)
@given(feed=FEEDS)
def test_a_daemon_that_is_fed_anything_lives_and_what_is_sound_works(
    fed: LabNet, feed: Feed
) -> None:
    node, pid = fed.lab.node(NODE), fed.status(NODE)["pid"]
    network = fed.status(NODE)["here"]["network"]
    try:
        put(fed.lab, node, network, feed)
        await_that("a node that is ready", lambda: ready(fed), WITHIN)
        works(fed)
    finally:
        take_away(fed.lab, node, network, feed)
    await_that("no problem", lambda: is_well(fed, network), WITHIN)
    assert fed.status(NODE)["pid"] == pid
    assert "Traceback" not in (node.directory / "daemon.log").read_text(errors="replace")


def ready(net: LabNet) -> bool:
    return bool(net.status(NODE)["ready"])


def is_well(net: LabNet, network: str) -> bool:
    """Whether nothing is wrong; what waits for a person's word gets it."""
    problems = net.status(NODE)["problems"]
    if any("allow-deletions" in each for each in problems):
        net.lab.etcdctl("put", f"{ETCD_PREFIX}/{network}/deletions/allowed", '{"Most":1000}')
    return problems == [] and ready(net)


def works(net: LabNet) -> None:
    """Packets go between the pods that were there and a new one."""
    for target in (NEIGHBOUR, PEER):
        await_that(f"packets to {target}", partial(net.pings, POD, net.address(target)), WITHIN)
    with net.attached(NODE, "new", "default") as pod:
        assert pod.ip is not None
        for client in (POD, PEER):
            await_that(f"packets of {client}", partial(net.pings, client, pod.ip), WITHIN)
