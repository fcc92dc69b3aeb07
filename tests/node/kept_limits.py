"""What has node1 of a pod's limits: in the kernel, in OVSDB, in its bridge?"""

from __future__ import annotations

import re
from contextlib import closing

from attrs import frozen

from k8s_ovs.link.shaping.pod_rates import PodQueues, queues
from k8s_ovs.link.veth import host_name_of
from k8s_ovs.model.pod import Rates
from k8s_ovs.ovs.openflow.client import OpenFlow
from k8s_ovs.ovs.openflow.meters import Metered
from k8s_ovs_lab import LabPod
from k8s_ovs_lab.command import NETNS, inside
from k8s_ovs_lab.lab_net import LabNet

__all__ = [
    "Kept",
    "counted",
    "expected",
    "kept",
    "ofport",
    "openflow_to",
    "port_of",
    "queue_rows",
    "queues_of",
    "vsctl",
]


@frozen
class Kept:
    """What there is of a pod's limits: the kernel's queues and the meter behind them, in bits per
    second; what its port remembers, and whether its queue is said to be ours there."""

    to_pod: int | None
    from_pod: int | None
    meter: int | None
    noted: Rates
    queue_is_ours: bool


def expected(rates: Rates) -> Kept:
    meter = None if rates.from_pod is None else rates.from_pod * 105 // 100
    return Kept(rates.to_pod, rates.from_pod, meter, rates, rates.to_pod is not None)


def port_of(pod: LabPod) -> str:
    return host_name_of(pod.container, "eth0")


def queues_of(world: LabNet, pod: LabPod) -> PodQueues:
    with inside(world.lab.node(pod.node).netns):
        return queues(port_of(pod), str(NETNS / pod.netns), "eth0")


def vsctl(world: LabNet, *words: str) -> list[str]:
    """Lines that ovs-vsctl of node1 prints."""
    return world.lab.exec("node1", ["ovs-vsctl", *words]).stdout.splitlines()


def ofport(world: LabNet, pod: LabPod) -> int:
    return int(vsctl(world, "get", "Interface", port_of(pod), "ofport")[0])


def kept(world: LabNet, pod: LabPod) -> Kept:
    found, port = queues_of(world, pod), port_of(pod)
    (ids,) = vsctl(world, "--columns=external_ids", "--bare", "list", "Interface", port)
    noted = {key: int(rate) for key, rate in re.findall(r"k8s-ovs-(\w+)-pod=(\d+)", ids)}
    with openflow_to(world) as openflow:
        meter = openflow.meters().get(ofport(world, pod))
    return Kept(
        found.to_pod and found.to_pod.rate,
        found.from_pod and found.from_pod.rate,
        meter and meter.rate * 1000,
        Rates(noted.get("to"), noted.get("from")),
        port in queue_rows(world),
    )


def queue_rows(world: LabNet) -> list[str]:
    """Ports for which node1's OVSDB has a row in QoS."""
    said = vsctl(world, "--bare", "--columns=external_ids", "list", "QoS")
    return sorted(re.findall(r"k8s-ovs-port=(\S+)", " ".join(said)))


def openflow_to(world: LabNet) -> closing[OpenFlow]:
    """Node1's bridge, for a while."""
    return closing(OpenFlow.connect(str(world.lab.node("node1").ovs_directory / "br0.mgmt")))


def counted(world: LabNet) -> dict[int, Metered]:
    with openflow_to(world) as openflow:
        return openflow.meter_counts()
