"""A small network as values, for tests: some hosts, the first of them this node, and pods on it.

Host n has the address 192.168.0.(10 + n) and the subnet 172.11.(4 n).0/22. Pod n of this node has
the n-th address behind the gateway and OpenFlow port 100 + n.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from attrs import evolve

from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.model.network import NetworkConfig
from k8s_ovs.model.node import LocalNode
from k8s_ovs.model.pod import Pod, mac_of
from k8s_ovs.model.subnet import HostSubnet
from k8s_ovs.model.world import CONFIG, LOCAL_NODE, PODS, SUBNETS, UNSYNCED, Slot, Tag, World
from k8s_ovs.plugin.records import Indexes, KubeResource, RecordKind, tags_of

__all__ = [
    "NODE_PORT",
    "TUNNEL_PORT",
    "indexed",
    "sample_config",
    "sample_host",
    "sample_local_node",
    "sample_pod",
    "sample_world",
]

TUNNEL_PORT = 1
NODE_PORT = 2
_PODS_FROM = 100


def sample_config(**changes: Any) -> NetworkConfig:
    """A configuration; `changes` are fields of NetworkConfig."""
    config = NetworkConfig(
        name="k8ssdn",
        network=IPv4Network("172.11.0.0/16"),
        host_subnet_length=10,
        service_network=IPv4Network("10.96.0.0/12"),
        plugin_name="k8s-ovs-subnet",
    )
    return evolve(config, **changes)


def sample_host(number: int) -> HostSubnet:
    """Host `number`, 1 to 63."""
    return HostSubnet(
        host=f"node{number}",
        host_ip=IPv4Address("192.168.0.10") + number,
        subnet=IPv4Network(f"172.11.{4 * number}.0/22"),
    )


def sample_local_node(host: HostSubnet | None = None) -> LocalNode:
    """This node as `host`; None: as host 1."""
    host = host or sample_host(1)
    if host.subnet is None:
        raise ValueError(f"{host.host} has no subnet")
    return LocalNode(host.host_ip, host.subnet, mac_of(host.gateway), 1450, TUNNEL_PORT, NODE_PORT)


def sample_pod(number: int, namespace: str = "default") -> Pod:
    """Pod `number` of host 1, 1 to 1000."""
    return Pod(
        port=f"veth{number}",
        ofport=_PODS_FROM + number,
        container=f"container{number}",
        ifname="eth0",
        netns=f"/run/netns/pod{number}",
        namespace=namespace,
        name=f"pod{number}",
        uid=f"uid{number}",
        ip=sample_host(1).gateway + number,
        serial=number,
    )


def sample_world(
    hosts: Iterable[HostSubnet] | None = None,
    pods: Iterable[Pod] | None = None,
    records: Mapping[str, Mapping[str, Any]] | None = None,
    config: NetworkConfig | None = None,
    unsynced: Iterable[str] = (),
) -> World:
    """A world of hosts 1 to 3 and pods 1 and 2, or those given.

    records: values of more kinds, by kind and key. `indexed` has them found by their indexes.
    unsynced: resources of Kubernetes that have not been listed yet.
    """
    if hosts is None:
        hosts = map(sample_host, (1, 2, 3))
    if pods is None:
        pods = map(sample_pod, (1, 2))
    values: dict[str, Mapping[str, Any]] = {
        CONFIG: {"": config or sample_config()},
        LOCAL_NODE: {"": sample_local_node()},
        SUBNETS: {str(host.host_ip): host for host in hosts},
        PODS: {pod.port: pod for pod in pods},
        UNSYNCED: dict.fromkeys(unsynced, True),
        **(records or {}),
    }
    found = {
        (kind, key): value if isinstance(value, Slot) else Slot(value, revision=1)
        for kind, named in values.items()
        for key, value in named.items()
    }
    return World().changed(found, revision=1)


def indexed(world: World, manager: PluginManager) -> World:
    """The world with its values found by the indexes that the plugins declare."""
    declared: dict[str, RecordKind | KubeResource] = {**manager.kinds, **manager.resources}
    return world.changed(
        {
            (kind, key): evolve(
                slot,
                tags=_tags(declared[kind].indexes, slot.settled),
                asked_tags=_tags(declared[kind].indexes, slot.asked),
            )
            for kind in declared
            for key, slot in world.of(kind).items()
        }
    )


def _tags(indexes: Indexes, value: Any) -> tuple[Tag, ...]:
    return () if value is None else tags_of(indexes, value)
