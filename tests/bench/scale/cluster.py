"""What does a cluster of a given size consist of, and which records has etcd of it?

The same size and seed make the same cluster, name by name and number by number.
"""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from attrs import field, frozen

from k8s_ovs.builtin.node_owners import SubnetOwner
from k8s_ovs.model.codec import decode, encode
from k8s_ovs.model.network import NetworkConfig
from k8s_ovs.model.node_status import STATUS, NodeStatus
from k8s_ovs.model.subnet import HostSubnet
from k8s_ovs.model.subnet_use import SubnetUse
from k8s_ovs.model.tenant import GLOBAL_TENANT
from k8s_ovs.model.world import CONFIG as CONFIG_KEY
from k8s_ovs.model.world import GIVEN, SUBNETS, USED
from k8s_ovs_multitenant.records import (
    CURSOR,
    NAMESPACE_VNIS,
    NETNAMESPACES,
    Cursor,
    NamespaceVni,
    NetNamespace,
)

__all__ = [
    "CONFIG",
    "LAST_NUMBER",
    "Cluster",
    "Namespace",
    "Node",
    "Pod",
    "Size",
    "config_record",
    "make_cluster",
    "network_config",
    "records",
]

#: Room for 32,768 nodes with 253 pods each.
CONFIG: Mapping[str, Any] = {
    "Name": "k8ssdn",
    "Network": "10.128.0.0/9",
    "HostSubnetLength": 8,
    "ServiceNetwork": "10.96.0.0/12",
    "PluginName": "k8s-ovs-multitenant",
}
_FIRST_ADDRESS = IPv4Address("172.20.0.10")
#: What every API server makes by itself.
_OF_EVERY_CLUSTER = ("default", "kube-node-lease", "kube-public", "kube-system")
_FIRST_NUMBER = 1000
#: Of so many nodes the last one has no pods, as one that has just joined.
_ONE_EMPTY_IN = 10
LAST_NUMBER = f"{CURSOR}/last"


@frozen
class Size:
    """How many there are of each. tenants: at most as many as namespaces; some namespaces are
    joined where they are fewer. pods, services: those of the simulated nodes."""

    nodes: int
    namespaces: int
    tenants: int
    pods: int
    services: int = 0

    def __attrs_post_init__(self) -> None:
        if self.nodes < 2 or not len(_OF_EVERY_CLUSTER) < self.tenants <= self.namespaces:
            raise ValueError(
                f"size: found {self}, expected 2 nodes or more, and {len(_OF_EVERY_CLUSTER) + 1} "
                "tenants or more, in as many namespaces or more"
            )

    @property
    def name(self) -> str:
        """Nodes and namespaces, as in 500x200."""
        return f"{self.nodes}x{self.namespaces}"


@frozen
class Node:
    """A node. pods: whether any run there."""

    name: str
    address: IPv4Address
    subnet: IPv4Network
    pods: bool


@frozen
class Namespace:
    """A namespace: vni, the number that its packets carry; net_id, the tenant that it is in."""

    name: str
    uid: str
    vni: int
    net_id: int


@frozen
class Pod:
    """A pod of a simulated node."""

    name: str
    namespace: str
    node: str
    uid: str
    address: IPv4Address


@frozen
class Cluster:
    """real: names of the nodes that are no simulation; they have no pods yet."""

    size: Size
    seed: int
    real: frozenset[str]
    nodes: tuple[Node, ...]
    namespaces: tuple[Namespace, ...]
    pods: tuple[Pod, ...] = field(repr=False)

    @property
    def last_number(self) -> int:
        """The number that was given to a namespace last."""
        return max(each.vni for each in self.namespaces)


def make_cluster(size: Size, seed: int, real: Mapping[str, IPv4Address]) -> Cluster:
    """A cluster of that size. real: addresses of nodes that are no simulation, by name."""
    chance = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
    nodes = tuple(_nodes(size, chance, real))
    namespaces = tuple(_namespaces(size, chance))
    pods = tuple(_pods(size, chance, nodes, namespaces))
    return Cluster(size, seed, frozenset(real), nodes, namespaces, pods)


def config_record() -> bytes:
    """The network's configuration as etcd has it."""
    return json.dumps(dict(CONFIG), separators=(",", ":")).encode()


def network_config() -> NetworkConfig:
    """The same as a value."""
    return decode(NetworkConfig, CONFIG_KEY, config_record())


def records(cluster: Cluster) -> dict[str, bytes]:
    """What etcd has of it, by path below the prefix. Of a node that is no simulation its daemon
    tells the rest."""
    name = str(CONFIG["Name"])
    found = {CONFIG_KEY: config_record()}
    for node in cluster.nodes:
        for path, value in _records_of_node(node, real=node.name in cluster.real):
            found[f"{name}/{path}"] = value
    for namespace in cluster.namespaces:
        vni = NamespaceVni(namespace.vni, namespace.uid)
        tenant = NetNamespace(namespace.name, namespace.net_id)
        found[f"{name}/{NAMESPACE_VNIS}/{namespace.name}"] = encode(vni)
        found[f"{name}/{NETNAMESPACES}/{namespace.name}"] = encode(tenant)
    found[f"{name}/{LAST_NUMBER}"] = encode(Cursor(cluster.last_number))
    return found


def _records_of_node(node: Node, *, real: bool) -> Iterator[tuple[str, bytes]]:
    yield f"{SUBNETS}/{node.address}", encode(HostSubnet(node.name, node.address, node.subnet))
    yield f"{GIVEN}/{node.address}", encode(SubnetOwner(node.name))
    if real:
        return
    if node.pods:
        yield f"{USED}/{node.name}", encode(SubnetUse(node.name, node.subnet))
    status = NodeStatus(node.name, str(node.address), "0.1.0", 1, True, int(node.pods), 100)
    yield f"{STATUS}/{node.name}", encode(status)


def _nodes(size: Size, chance: random.Random, real: Mapping[str, IPv4Address]) -> Iterator[Node]:
    """Nodes joined in any order, so their subnets do not follow their names."""
    config = network_config()
    numbers = chance.sample(range(size.nodes), size.nodes)
    names = [*real, *(f"worker{number}" for number in range(size.nodes - len(real)))]
    for place, (name, number) in enumerate(zip(names, numbers, strict=True)):
        first = config.network.network_address + (number << config.host_subnet_length)
        subnet = IPv4Network((first, config.node_prefix))
        empty = name in real or place % _ONE_EMPTY_IN == _ONE_EMPTY_IN - 1
        yield Node(name, real.get(name, _FIRST_ADDRESS + place), subnet, not empty)


def _namespaces(size: Size, chance: random.Random) -> Iterator[Namespace]:
    """The first have tenants of their own, the others are joined to one of those; kube-system is
    global."""
    own = size.namespaces - len(_OF_EVERY_CLUSTER)
    names = [*_OF_EVERY_CLUSTER, *(f"project{number}" for number in range(own))]
    room = range(_FIRST_NUMBER, _FIRST_NUMBER + 2 * size.namespaces)
    numbers = sorted(chance.sample(room, size.namespaces))
    for place, (name, vni) in enumerate(zip(names, numbers, strict=True)):
        joined = place % size.tenants
        # Nobody joins what every cluster has.
        joined = place if place < size.tenants else max(joined, len(_OF_EVERY_CLUSTER))
        net_id = GLOBAL_TENANT if name == "kube-system" else numbers[joined]
        yield Namespace(name, _uid(chance), vni, net_id)


def _pods(
    size: Size, chance: random.Random, nodes: tuple[Node, ...], namespaces: tuple[Namespace, ...]
) -> Iterator[Pod]:
    busy = [node for node in nodes if node.pods]
    given = dict.fromkeys((node.name for node in busy), 1)
    most = nodes[0].subnet.num_addresses - 3
    if size.pods > most * len(busy):
        raise ValueError(f"pods: found {size.pods}, expected {most} per node with pods at most")
    for number in range(size.pods):
        # The first of each node is certain, as a node with pods has some.
        node = busy[number] if number < len(busy) else chance.choice(busy)
        while given[node.name] > most:
            node = chance.choice(busy)
        given[node.name] += 1
        address = node.subnet.network_address + given[node.name]
        namespace = chance.choice(namespaces).name
        yield Pod(f"app-{number}", namespace, node.name, _uid(chance), address)


def _uid(chance: random.Random) -> str:
    return str(uuid.UUID(int=chance.getrandbits(128), version=4))
