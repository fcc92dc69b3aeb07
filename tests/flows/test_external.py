"""An external host, as a real Open vSwitch has it: heard and reached while its record exists.

Node 0 is a node of Kubernetes with a pod of each of three namespaces, node 1 the external host.
"""

from __future__ import annotations

import json

import pytest

from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.model.codec import encode
from k8s_ovs.model.pod import Pod
from k8s_ovs.model.world import SUBNETS
from k8s_ovs_extlb import ExternalHosts
from k8s_ovs_multitenant import MultiTenant
from k8s_ovs_subnet import SingleTenant
from k8s_ovs_testing.fabric import Fabric, Send, pod_at
from k8s_ovs_testing.model.fake_cluster import FakeCluster
from k8s_ovs_testing.ovs import OvsProcess
from k8s_ovs_testing.world import NODE_PORT, TUNNEL_PORT, sample_host

pytest_plugins = ["k8s_ovs_testing.fixtures"]

NODE, OUTSIDE = sample_host(1), sample_host(2)
KEY = str(OUTSIDE.host_ip)
NAMESPACES = ("red", "green", "kube-system")
PODS = [pod_at(0, slot, name) for slot, name in enumerate(NAMESPACES)]
MODES = {
    "k8s-ovs-subnet": SingleTenant,
    "k8s-ovs-multitenant": MultiTenant,
}


@pytest.fixture(params=MODES)
def fake(request: pytest.FixtureRequest) -> FakeCluster:
    """Node 0 has its subnet; nobody knows of the external host."""
    mode = request.param
    fake = FakeCluster(PluginManager({mode: MODES[mode](), "k8s-ovs-extlb": ExternalHosts()}))
    fake.create(*NAMESPACES)
    fake.join(NODE.host, str(NODE.host_ip))
    fake.put(SUBNETS, str(NODE.host_ip), encode(NODE))
    fake.settle()
    return fake


@pytest.fixture
def fabric(ovs_dummy: OvsProcess, fake: FakeCluster) -> Fabric:
    return Fabric(ovs_dummy, fake.manager.pipeline, nodes=2, slots=len(PODS))


def ask(fake: FakeCluster) -> None:
    """The external host requests its subnet, and is answered."""
    record = {"Host": "lb1", "HostIP": KEY, "Subnet": str(OUTSIDE.subnet), "Assign": True}
    fake.put(SUBNETS, KEY, json.dumps(record).encode())
    fake.settle()


def ends(fabric: Fabric, fake: FakeCluster) -> tuple[list[str], list[str]]:
    """Where packets of the host to each pod end, and of each pod to the host."""
    local_node = ({pod.port: pod for pod in PODS}, {})
    for node, pods in zip(fabric.nodes, local_node, strict=True):
        node.show(fake.manager, fake.snapshots(), pods)
        assert node.failures == []
    known = {(0, pod.ofport): pod for pod in PODS}
    return fabric.send(list(map(to_pod, PODS)), known), fabric.send(list(map(to_host, PODS)), known)


def to_pod(pod: Pod) -> Send:
    """What the external host sends to a pod."""
    packet = {"in_port": NODE_PORT, "nw_src": OUTSIDE.gateway, "nw_dst": pod.ip}
    return Send(1, "icmp", packet)


def to_host(pod: Pod) -> Send:
    """What a pod sends to the external host."""
    packet = {"in_port": pod.ofport, "dl_src": pod.mac, "nw_src": pod.ip}
    return Send(0, "icmp", packet | {"nw_dst": OUTSIDE.gateway})


REACHED = [f"pod {pod.identity}" for pod in PODS], ["node 1"] * len(PODS)
CUT = ["nowhere"] * len(PODS), ["nowhere"] * len(PODS)


def test_it_reaches_the_pods_of_every_namespace_and_they_reach_it_while_its_record_exists(
    fabric: Fabric, fake: FakeCluster
) -> None:
    ask(fake)
    assert ends(fabric, fake) == REACHED
    # Requested again and not answered yet: the old record applies.
    fake.put(SUBNETS, KEY, fake.keys[SUBNETS, KEY][0].replace(b"false", b"true"))
    assert ends(fabric, fake) == REACHED
    fake.put(SUBNETS, KEY, None)
    fake.settle()
    assert ends(fabric, fake) == CUT


def test_a_node_hears_no_tunnel_of_a_host_whose_record_only_asks(
    fabric: Fabric, fake: FakeCluster
) -> None:
    record = {"Host": "lb1", "HostIP": KEY, "Subnet": str(OUTSIDE.subnet), "Assign": True}
    fake.put(SUBNETS, KEY, json.dumps(record).encode())
    fabric.nodes[0].show(fake.manager, fake.snapshots(), {pod.port: pod for pod in PODS})
    tunnel = {"in_port": TUNNEL_PORT, "tun_src": KEY, "tun_id": 0}
    packets = [
        Send(0, "icmp", tunnel | {"nw_src": OUTSIDE.gateway, "nw_dst": pod.ip}) for pod in PODS
    ]
    assert fabric.send(packets, {}) == ["nowhere"] * len(PODS)
    fake.settle()
    fabric.nodes[0].show(fake.manager, fake.snapshots(), {pod.port: pod for pod in PODS})
    known = {(0, pod.ofport): pod for pod in PODS}
    assert fabric.send(packets, known) == REACHED[0]
