"""What does a node hold of its pods, in Open vSwitch and the kernel? Of no others, once all is
settled."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import partial
from ipaddress import IPv4Address, IPv4Network

from attrs import frozen
from tests.cluster.cluster import Cluster

from k8s_ovs.errors import K8sOvsError
from k8s_ovs.node.switch import BRIDGE, PODS_FROM
from k8s_ovs_lab.command import run
from k8s_ovs_lab.layout import ETCD_PREFIX, LabNode
from k8s_ovs_lab.process import await_that
from k8s_ovs_testing.ovs import OvsProcess

__all__ = ["await_no_stale", "sandboxes", "subnet_of"]

SETTLED_WITHIN_S = 180.0


@frozen
class Port:
    """A pod's port as OVSDB has it. number: OpenFlow's."""

    device: str
    number: int
    address: str
    uid: str
    sandbox: str


def await_no_stale(cluster: Cluster, node: LabNode) -> None:
    """Wait until ports, addresses, flows and devices are of just the pods that are there."""
    what = f"{node.name} to have what belongs to its pods, and nothing else"
    await_that(what, partial(_holds_its_pods, cluster, node), SETTLED_WITHIN_S)


def sandboxes(node: LabNode) -> set[str]:
    """The IDs of the sandboxes that have a port."""
    return {each.sandbox for each in _ports(node)}


def subnet_of(cluster: Cluster, node: LabNode) -> IPv4Network | None:
    """The node's part of the network as etcd has it; None: it has none."""
    key = f"{ETCD_PREFIX}/k8ssdn/subnets/{node.address}"
    found = cluster.etcdctl("get", "--print-value-only", key)
    return IPv4Network(json.loads(found)["Subnet"]) if found else None


def _holds_its_pods(cluster: Cluster, node: LabNode) -> bool:
    """Raises K8sOvsError that says what differs."""
    pods, ports = _pods(cluster, node), list(_ports(node))
    numbers, addresses = _of_flows(cluster, node)
    wanted_and_found = {
        "addresses in OVSDB": (pods, {each.address: each.uid for each in ports}),
        "devices": ({each.device for each in ports}, _devices(node)),
        "ports in flows": ({each.number for each in ports}, numbers),
        "addresses in flows": (pods.keys(), addresses),
    }
    for what, (wanted, found) in wanted_and_found.items():
        if wanted != found:
            raise K8sOvsError(f"{what}: found {found}, expected {wanted}")
    return True


def _pods(cluster: Cluster, node: LabNode) -> dict[str, str]:
    """The uids of the node's pods that run in the network, by address."""
    everywhere = json.loads(cluster.kubectl("get", "pods", "-A", "-o", "json"))["items"]
    return {
        pod["status"]["podIP"]: pod["metadata"]["uid"]
        for pod in everywhere
        if pod["spec"].get("nodeName") == node.name
        and not pod["spec"].get("hostNetwork")
        and "podIP" in pod["status"]
    }


def _ports(node: LabNode) -> Iterator[Port]:
    columns = "--columns=name,ofport,external_ids"
    said = _ovs(node).vsctl("--format=json", columns, "list", "interface")
    for name, number, (_, pairs) in json.loads(said)["data"]:
        ids = dict(pairs)
        if "k8s-ovs-ip" in ids:
            yield Port(
                name, number, ids["k8s-ovs-ip"], ids["k8s-ovs-uid"], ids["k8s-ovs-container"]
            )


def _devices(node: LabNode) -> set[str]:
    links = json.loads(run(["ip", "-json", "link"], netns=node.netns).stdout)
    return {each["ifname"] for each in links if each["ifname"].startswith("kovs")}


def _of_flows(cluster: Cluster, node: LabNode) -> tuple[set[int], set[str]]:
    """Pods' port numbers, and addresses of the node's subnet but its own first, in br0's flows."""
    flows = _ovs(node).ofctl("--no-names", "dump-flows", BRIDGE)
    numbers = {int(each) for each in re.findall(r"in_port=(\d+)", flows)}
    subnet = subnet_of(cluster, node)
    if subnet is None:
        raise K8sOvsError(f"{node.name} has no subnet")
    single = re.findall(r"=(\d+\.\d+\.\d+\.\d+)(?![\d./])", flows)
    pods = {each for each in single if IPv4Address(each) in subnet} - {str(subnet[1])}
    return {number for number in numbers if number >= PODS_FROM}, pods


def _ovs(node: LabNode) -> OvsProcess:
    return OvsProcess(node.ovs_directory, node.netns)
