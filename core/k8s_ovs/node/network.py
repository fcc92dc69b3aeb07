"""The network as this node runs it: configuration, plugins, flows, its subnet, its addresses."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from attrs import define, field

from k8s_ovs.errors import K8sOvsError, PluginError
from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.hooks.merge import merged, merged_choices
from k8s_ovs.hooks.result import Failure, Held
from k8s_ovs.link.nftables import EtcdSockets
from k8s_ovs.link.veth import PodLink, host_name_of
from k8s_ovs.model.network import NetworkConfig
from k8s_ovs.model.node import LocalNode
from k8s_ovs.model.pod import Pod, pod_memory
from k8s_ovs.model.world import UNSYNCED
from k8s_ovs.node.cni.protocol import CniRequest, CniResult
from k8s_ovs.node.ipam import AddressPool
from k8s_ovs.node.switch import ofport_of
from k8s_ovs.ovs.datapath import Datapath
from k8s_ovs.plugin.values import AddressChoice, LinkSettings, PodRequest
from k8s_ovs.plugin.view import View
from k8s_ovs.reconcile.reconciler import Reconciler

__all__ = [
    "Network",
    "address_choice",
    "link_mtu",
    "link_settings",
    "pod_link",
    "pod_request",
    "pod_result",
    "unlisted_flows",
]

_ANYWHERE = IPv4Network("0.0.0.0/0")


@define
class Network:
    """The network once configuration and local node are known; replaced when they change.

    etcd: which pods must not reach."""

    config: NetworkConfig
    manager: PluginManager
    reconciler: Reconciler
    local_node: LocalNode
    datapath: Datapath
    pool: AddressPool
    etcd: EtcdSockets = field(factory=EtcdSockets)

    def view(self) -> View:
        """What the hooks that each node calls see now."""
        return self.manager.node_view(self.reconciler.world)

    def new_pod(self, request: CniRequest, address: IPv4Address, serial: int) -> Pod:
        """The pod that `request` asks for, at `address`."""
        return Pod(
            port=host_name_of(request.container_id, request.ifname),
            ofport=ofport_of(int(address), int(self.local_node.subnet.network_address)),
            container=request.container_id,
            ifname=request.ifname,
            netns=request.netns,
            namespace=request.namespace,
            name=request.pod,
            uid=request.uid,
            ip=address,
            serial=serial,
            network=request.network,
        )


def pod_request(request: CniRequest) -> PodRequest:
    """What plugins see of a request."""
    return PodRequest(
        request.namespace, request.pod, request.uid, request.container_id, request.ifname
    )


def address_choice(network: Network, request: PodRequest) -> AddressChoice:
    """Which addresses all plugins allow a new pod. Raises PluginError if one fails: another pod's
    address, or one from a pool that is not this pod's, would be worse than none; InvalidRecord if
    they allow none, K8sOvsError if one cannot know yet."""
    view = network.view()
    choices = list[AddressChoice]()
    for _, result in network.manager.pod_address(view, request):
        if isinstance(result, Failure):
            raise PluginError(str(result))
        if isinstance(result, Held):
            raise K8sOvsError(str(result))
        choices.extend(result)
    return merged_choices(choices)


def unlisted_flows(network: Network, pod: Pod) -> list[str]:
    """What a new pod waits for until the plugins know all flows that judge it, and its interface:
    without them it would be open to what they deny, or shut to what they allow."""
    manager, world = network.manager, network.reconciler.world
    if not world.of(UNSYNCED):
        return []
    view = network.view()
    flows = [*manager.network_flows(view), *manager.tenant_flows(view, view.tenant_of(pod) or 0)]
    answers = (*flows, *manager.pod_flows(view, pod), *manager.pod_link(view, pod))
    held = [answer for _, answer in answers if isinstance(answer, Held)]
    return [str(each) for each in (*held, *manager.unlisted_subjects(world))]


def link_settings(network: Network, pod: Pod) -> LinkSettings:
    """The plugins' settings for the interface of a pod, for which that of a plugin that does not
    know yet stays as it is. Raises PluginError if one fails: its settings are unknown then, and may
    be a rate limit."""
    view = network.view()
    wanted: list[LinkSettings] = []
    for _, result in network.manager.pod_link(view, pod):
        if isinstance(result, Failure):
            raise PluginError(str(result))
        wanted.extend([LinkSettings(rates=pod.rates)] if isinstance(result, Held) else result)
    return merged(wanted)


def link_mtu(network: Network, pod: Pod, settings: LinkSettings) -> int:
    """The MTU of the pod's interface, in bytes. It stays as it was given."""
    return pod.mtu or settings.mtu or network.local_node.mtu


def pod_link(
    network: Network, pod: Pod, settings: LinkSettings, pods: Iterable[Pod] = ()
) -> PodLink:
    """The pod's interface as network and plugins want it.

    pods: those of the node. Just the oldest interface of a sandbox leads everywhere; another one
    has no routes but that to its own subnet.
    """
    local_node = network.local_node
    routes = (_ANYWHERE, *settings.routes) if _is_first(pod, pods) else ()
    return PodLink(
        host_name=pod.port,
        netns=pod.netns,
        ifname=pod.ifname,
        mac=pod.mac,
        address=IPv4Interface(f"{pod.ip}/{local_node.subnet.prefixlen}"),
        gateway=local_node.gateway,
        mtu=link_mtu(network, pod, settings),
        routes=tuple((route, local_node.gateway) for route in routes),
        in_user_space=network.datapath == "netdev",
        memory=pod_memory(pod),
    )


def _is_first(pod: Pod, pods: Iterable[Pod]) -> bool:
    return not any(
        each.netns == pod.netns and each.serial < pod.serial
        for each in pods
        if each.port != pod.port
    )


def pod_result(link: PodLink) -> CniResult:
    """What the runtime is told of a pod's interface."""
    return CniResult(
        host_name=link.host_name,
        ifname=link.ifname,
        sandbox=link.netns,
        mac=link.mac,
        mtu=link.mtu,
        address=link.address,
        gateway=link.gateway,
        routes=link.routes,
    )
