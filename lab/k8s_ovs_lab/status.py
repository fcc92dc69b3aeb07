"""How a lab is: nodes, pods and services, as far as its parts still answer."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network
from typing import TypeVar

from attrs import frozen

from k8s_ovs.errors import K8sOvsError
from k8s_ovs.model.json_text import parse_json
from k8s_ovs_lab import cni, servers
from k8s_ovs_lab.kube.service import Service
from k8s_ovs_lab.lab import Lab
from k8s_ovs_lab.layout import ETCD_PREFIX, LabNode
from k8s_ovs_lab.lifecycle import is_ready
from k8s_ovs_lab.state import LabPod

__all__ = ["LabStatus", "NodeStatus", "examine"]

Answer = TypeVar("Answer")


@frozen
class NodeStatus:
    """One node. subnet: as etcd has it, None if it has none. ready: the API server's word, of an
    external host the daemon's own.

    daemon, ovs: the process is alive. network: empty if the CNI serves, or, on an external host,
    the network is there; else why not.
    """

    name: str
    address: IPv4Address
    netns: str
    subnet: IPv4Network | None
    ready: bool
    daemon: bool
    ovs: bool
    network: str
    external: bool


@frozen
class LabStatus:
    """The whole lab. problems: what could not be asked, and why."""

    name: str
    directory: str
    datapath: str
    plugin: str
    etcd: bool
    apiserver: bool
    nodes: tuple[NodeStatus, ...]
    pods: tuple[LabPod, ...]
    services: tuple[Service, ...]
    problems: tuple[str, ...]


def examine(lab: Lab) -> LabStatus:
    """Ask every part of the lab. A part that does not answer is a problem, never an error."""
    problems: list[str] = []

    def asked(question: Callable[[], Answer], otherwise: Answer) -> Answer:
        try:
            return question()
        except K8sOvsError as error:
            problems.append(str(error))
            return otherwise

    no_subnets: dict[str, IPv4Network] = {}
    none_ready: dict[str, bool] = {}
    subnets = asked(lambda: _subnets(lab), no_subnets)
    ready = asked(lambda: servers.objects(lab.layout).node_ready(), none_ready)
    nodes = tuple(
        _node(lab, node, subnets.get(str(node.address)), ready.get(node.name, False))
        for node in (*lab.nodes, *lab.hosts)
    )
    return LabStatus(
        name=lab.layout.name,
        directory=str(lab.layout.directory),
        datapath=lab.state.datapath,
        plugin=lab.state.settings.plugin,
        etcd=lab.part("etcd").running(),
        apiserver=lab.part("apiserver").running(),
        nodes=nodes,
        pods=tuple(lab.pods().values()),
        services=asked(lab.services, ()),
        problems=tuple(problems),
    )


def _node(lab: Lab, node: LabNode, subnet: IPv4Network | None, ready: bool) -> NodeStatus:
    try:
        if node.external:
            ready = is_ready(node)
        else:
            cni.call(node, "STATUS", {}, "the network")
        network = ""
    except K8sOvsError as error:
        network = str(error)
    return NodeStatus(
        name=node.name,
        address=node.address,
        netns=node.netns,
        subnet=subnet,
        ready=ready,
        daemon=lab.part(f"{node.name}/daemon").running(),
        ovs=lab.part(f"{node.name}/ovs").running(),
        network=network,
        external=node.external,
    )


def _subnets(lab: Lab) -> dict[str, IPv4Network]:
    """Each node's subnet by the node's address; invalid records are left out."""
    name = lab.state.settings.network_config()["Name"]
    prefix = f"{ETCD_PREFIX}/{name}/subnets/"
    found = {}
    for pair in parse_json(lab.etcdctl("get", "--prefix", prefix, "-w", "json")).get("kvs", []):
        try:
            record = parse_json(b64decode(pair["value"]))
            found[record["HostIP"]] = IPv4Network(record["Subnet"])
        except (ValueError, KeyError, TypeError):
            continue
    return found
