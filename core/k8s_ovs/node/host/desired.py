"""What this node should have beside its flows, all of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from ipaddress import IPv4Interface
from pathlib import Path

from k8s_ovs.link.nftables import EtcdSockets, nft_table
from k8s_ovs.link.sysctl import forwarding_sysctls
from k8s_ovs.model.network import NetworkConfig
from k8s_ovs.model.node import LocalNode
from k8s_ovs.model.pod import Pod, Rates, mac_of, pod_ids, pod_memory
from k8s_ovs.model.subnet import HostSubnet
from k8s_ovs.node.switch import BRIDGE, NODE_OFPORT, NODE_PORT, TUNNEL_OFPORT, TUNNEL_PORT
from k8s_ovs.ovs.datapath import Datapath
from k8s_ovs.ovs.ovsdb.transaction import FOREIGN_QUEUE
from k8s_ovs.pipeline.table import Pipeline
from k8s_ovs.state.value import (
    Address,
    Bridge,
    Device,
    Interface,
    Offload,
    Port,
    PortConfig,
    RateLimit,
    Route,
    Value,
    Veth,
)

__all__ = [
    "host_values",
    "nft_values",
    "pod_values",
    "rate_values",
    "switch_values",
]


def switch_values(
    own: HostSubnet, config: NetworkConfig, mtu: int, pipeline: Pipeline, datapath: Datapath
) -> list[Value]:
    """The bridge and its own ports. own: this node's record; mtu: of pods, bytes."""
    tunnels = {
        # One port for all tunnels: flows say where to (tun_dst) and for whom (tun_id).
        "remote_ip": "flow",
        "key": "flow",
        "local_ip": str(own.host_ip),
        "dst_port": str(config.vxlan_port),
    }
    tables = {pipeline.number(each.name): each.name for each in pipeline.tables}
    return [
        Bridge(BRIDGE, datapath, tables),
        Port(TUNNEL_PORT, "vxlan", TUNNEL_OFPORT, tunnels),
        Port(NODE_PORT, "internal", NODE_OFPORT, mac=mac_of(own.gateway), mtu=mtu),
        PortConfig(TUNNEL_PORT),
        PortConfig(NODE_PORT),
    ]


def host_values(local_node: LocalNode, config: NetworkConfig, datapath: Datapath) -> list[Value]:
    """The node's own port with address and route, and kernel settings. Raises LinkError where the
    kernel cannot be asked."""
    address = IPv4Interface(f"{local_node.gateway}/{local_node.subnet.prefixlen}")
    offload = [Offload(NODE_PORT)] if datapath == "netdev" else []
    return [
        Device(NODE_PORT, mtu=local_node.mtu),
        Address(NODE_PORT, address),
        Route(NODE_PORT, config.network),
        *forwarding_sysctls(NODE_PORT),
        *offload,
    ]


def nft_values(local_node: LocalNode, config: NetworkConfig, etcd: EtcdSockets) -> list[Value]:
    """The table of nftables. Raises LinkError, TimedOut where nft cannot be asked for it."""
    return [nft_table(local_node, config, etcd, NODE_PORT)]


def pod_values(pods: Collection[Pod], kinds: Collection[str] | None = None) -> list[Value]:
    """What pods of this node have, of these kinds, None: of all; their rate limits are apart."""
    makers = (make for kind, make in _OF_POD.items() if kinds is None or kind in kinds)
    return [make(pod) for make in makers for pod in pods]


def rate_values(pods: Iterable[Pod], datapath: Datapath) -> list[Value]:
    """The rate limits that the pods' interfaces were given last, of those that have any. A pod that
    has ended has no interface any more."""
    return [
        RateLimit(
            pod.port,
            pod.rates.to_pod,
            pod.rates.from_pod,
            netns=pod.netns,
            ifname=pod.ifname,
            in_user_space=datapath == "netdev",
            pod=pod.identity,
        )
        for pod in pods
        if pod.rates != Rates() and Path(pod.netns).exists()
    ]


def _veth(pod: Pod) -> Veth:
    return Veth(pod.port, memory=pod_memory(pod), mtu=pod.mtu or None, pod=pod.identity)


def _port(pod: Pod) -> Port:
    return Port(
        pod.port,
        ofport=pod.ofport or None,
        ids=pod_ids(pod),
        # Open vSwitch would take away the queue of an interface that has a rate limit.
        qos=FOREIGN_QUEUE if pod.rates.to_pod is not None else "",
        pod=pod.identity,
    )


def _port_config(pod: Pod) -> PortConfig:
    return PortConfig(pod.port, pod=pod.identity)


def _interface(pod: Pod) -> Interface:
    return Interface(pod.port, pod.ip, pod.netns, pod.ifname, pod=pod.identity)


#: What each pod has, by kind.
_OF_POD: Mapping[str, Callable[[Pod], Value]] = {
    Veth.kind: _veth,
    Port.kind: _port,
    PortConfig.kind: _port_config,
    Interface.kind: _interface,
}
