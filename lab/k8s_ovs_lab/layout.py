"""What a lab consists of, as values: its names, addresses and directories. Nothing here acts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from typing import Any

from attrs import field, frozen

from k8s_ovs.errors import InvalidRecord, K8sOvsError
from k8s_ovs.node.install.cni_config import BINARY, FILES, Style

__all__ = [
    "ETCD_PREFIX",
    "OUTSIDE",
    "OUTSIDE_ROUTER",
    "ROUTER",
    "LabNode",
    "LabSettings",
    "Layout",
]

ETCD_PREFIX = "/k8s.ovs.com/ovs/network"
ROUTER = IPv4Interface("192.168.0.1/24")
OUTSIDE_ROUTER = IPv4Interface("203.0.113.1/24")
OUTSIDE = IPv4Interface("203.0.113.10/24")
_FIRST_NODE = IPv4Address("192.168.0.11")
_MOST_NODES = 180
_FIRST_HOST = IPv4Address("192.168.0.199")
_MOST_HOSTS = 50

#: What follows a lab's name in the names of its namespaces.
_OWN = r"fabric|outside|node\d+(-.+)?|host-[a-z][a-z0-9]*"

_CONFIG: Mapping[str, Any] = {
    "Name": "k8ssdn",
    "Network": "172.11.0.0/16",
    "HostSubnetLength": 10,
    "ServiceNetwork": "10.96.0.0/12",
}
_DATAPATHS = ("auto", "system", "netdev")
_NAME = re.compile(r"[a-z][a-z0-9]{0,11}")
_NODE = re.compile(r"node[1-9][0-9]{0,3}")
#: What a host cannot be called: other places, and what else the fabric has devices for.
_PLACES = re.compile(r"fabric|outside|lo|sw\d+|(node|gateway)\d*")


@frozen
class LabSettings:
    """What the user asked for.

    name: prefix of the lab's namespaces; small letters and digits, so that no lab's names
    can be the beginning of another's. nodes: how many. plugin: PluginName of the network's
    configuration. datapath: auto, system (the kernel's) or netdev (userspace). config: fields
    of the network's configuration that replace the lab's own.
    """

    name: str = "lab"
    nodes: int = 2
    plugin: str = "k8s-ovs-subnet"
    datapath: str = "auto"
    config: Mapping[str, Any] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InvalidRecord(
                f"--name {self.name!r}: expected a small letter, then up to 11 letters or digits"
            )
        if not 1 <= self.nodes <= _MOST_NODES:
            raise InvalidRecord(f"--nodes {self.nodes}: expected 1 to {_MOST_NODES}")
        if self.datapath not in _DATAPATHS:
            raise InvalidRecord(
                f"--datapath {self.datapath!r}: expected one of {', '.join(_DATAPATHS)}"
            )

    def network_config(self) -> dict[str, Any]:
        """The network's configuration as it is put into etcd."""
        return {**_CONFIG, "PluginName": self.plugin, **self.config}


@frozen
class LabNode:
    """One node: its name, its address on the underlay, its namespace, its files.

    external: a host that has all that a node has, and that Kubernetes does not know.
    """

    name: str
    address: IPv4Address
    netns: str
    directory: Path
    external: bool = False

    @property
    def ovs_directory(self) -> Path:
        """Run directory of the node's own Open vSwitch."""
        return self.directory / "ovs"

    @property
    def cni_socket(self) -> Path:
        """Socket of the node's daemon."""
        return self.directory / "cni-server.sock"

    @property
    def cni_program(self) -> Path:
        """What a node has in /opt/cni/bin."""
        return self.directory / BINARY

    @property
    def cni_config(self) -> Path:
        """What a node has in /etc/cni/net.d."""
        return self.directory / FILES[Style.CONF]


@frozen
class Layout:
    """Where everything of a lab is."""

    name: str
    directory: Path

    @property
    def fabric(self) -> str:
        """Namespace of the underlay's switch and router, of etcd and of the API server."""
        return f"{self.name}-fabric"

    @property
    def outside(self) -> str:
        """Namespace of a host beyond the cluster."""
        return f"{self.name}-outside"

    @property
    def etcd_url(self) -> str:
        """Where etcd listens, as the nodes see it."""
        return f"http://{ROUTER.ip}:2379"

    def node(self, number: int) -> LabNode:
        """The node of a number that counts from 1."""
        name = f"node{number}"
        address = _FIRST_NODE + (number - 1)
        return LabNode(name, address, f"{self.name}-{name}", self.directory / name)

    def nodes(self, count: int) -> tuple[LabNode, ...]:
        """The first nodes, in order."""
        return tuple(self.node(number) for number in range(1, count + 1))

    def node_number(self, name: str) -> int:
        """The number of a node's name. Raises InvalidRecord for a name that none can have."""
        number = name.removeprefix("node")
        if not _NODE.fullmatch(name) or int(number) > _MOST_NODES:
            raise InvalidRecord(f"node {name!r}: expected node1 to node{_MOST_NODES}")
        return int(number)

    def host(self, name: str, address: IPv4Address) -> LabNode:
        """A host that is no node. Raises InvalidRecord for a name that it cannot have."""
        if not _NAME.fullmatch(name) or _PLACES.fullmatch(name):
            raise InvalidRecord(
                f"host {name!r}: expected a small letter, then up to 11 letters or digits, and no "
                "other place's name"
            )
        netns = f"{self.name}-host-{name}"
        return LabNode(name, address, netns, self.directory / f"host-{name}", external=True)

    def host_address(self, taken: Iterable[IPv4Address]) -> IPv4Address:
        """The first address for a host that is free. Raises K8sOvsError."""
        used = set(taken)
        for number in range(_MOST_HOSTS):
            if (address := _FIRST_HOST + number) not in used:
                return address
        raise K8sOvsError(f"lab {self.name} has {_MOST_HOSTS} hosts already")

    def pod_netns(self, node: str, namespace: str, pod: str) -> str:
        """Namespace of a pod. A Kubernetes namespace has no dot, so two pods never share one."""
        return f"{self.name}-{node}-{namespace}.{pod}"

    def owns(self, netns: str) -> bool:
        """Whether a network namespace of this name is part of the lab."""
        rest = netns.removeprefix(f"{self.name}-")
        return rest != netns and re.fullmatch(_OWN, rest) is not None
