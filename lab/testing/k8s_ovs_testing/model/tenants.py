"""Tenants on several nodes, as a real Open vSwitch has them and as a plain model says.

cluster = Cluster(fabric, manager, size=2)
cluster.take(("create", "red"))
cluster.take(("pod", 0, 0, "red"))
assert cluster.disagreements() == []

A step is a verb and its words: create, delete, isolate, global NAMESPACE; join NAMESPACE NAMESPACE;
pod NODE SLOT NAMESPACE (which comes with it, if need be); restart NODE. After it every pair is
asked: pod or node to pod, service and outside, forged sources, forged tunnels, VXLAN that pods
speak. A service is every endpoint that it may have: a packet that the node has translated to it
comes in from the node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from attrs import define, field, frozen

from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.model.codec import encode
from k8s_ovs.model.pod import Pod
from k8s_ovs.model.tenant import GLOBAL_TENANT
from k8s_ovs_testing.fabric import Fabric, Send, pod_at
from k8s_ovs_testing.model.fake_cluster import FakeCluster
from k8s_ovs_testing.model.networks import Networks
from k8s_ovs_testing.world import NODE_PORT, TUNNEL_PORT

__all__ = ["Claim", "Cluster", "Step", "claims"]

_NOWHERE = "nowhere"
_OUTSIDE, _SERVICE, _STRANGER = "203.0.113.9", "10.96.0.10", "192.168.0.99"
_VXLAN = 4789
_UNUSED_VNI = 0xABCDE

Step = tuple[str | int, ...]


@frozen
class Claim:
    """A packet, and where the model says that it ends up."""

    text: str
    send: Send
    end: str


@define
class Cluster:
    """Nodes of the fabric, the fake cluster that they belong to, and what the model says of them.

    known: what each node knows of the tenants. later: what the model becomes once the
    allocator has answered.
    """

    fabric: Fabric
    manager: PluginManager
    size: int
    fake: FakeCluster = field(init=False)
    networks: Networks = field(factory=Networks)
    pods: dict[tuple[int, int], Pod] = field(factory=dict)
    known: list[dict[str, int]] = field(factory=list)
    later: Callable[[], None] | None = None

    def __attrs_post_init__(self) -> None:
        self.fake = FakeCluster(self.manager)
        self.known = [{} for _ in range(self.size)]
        for node in self.fabric.nodes[: self.size]:
            self.fake.put("subnets", str(node.host.host_ip), encode(node.host))
            node.restart()

    def take(self, step: Step, *, answered: bool = True, behind: int | None = None) -> None:
        """A step of somebody's. answered: the allocator is there; behind: a node that is late."""
        # A restart may meet a request that nobody has answered yet.
        if step[0] == "restart":
            self.fabric.nodes[int(step[1]) % self.size].restart()
        else:
            self._answer()
            # Every node has seen what came before, also what existed for a moment only.
            self._show_all()
            self.later = self._begin(str(step[0]), *step[1:])
        if answered:
            self._answer()
        self._show_all(behind)

    def reaches(self, source: Pod, target: Pod) -> bool:
        """The model: the destination's node judges, by what it knows."""
        if not (self.speaks(source) and self.speaks(target)):
            return False
        there = self.known[self.node_of(target)]
        return self.may(there.get(source.namespace), there[target.namespace])

    @staticmethod
    def may(source: int | None, target: int) -> bool:
        return target == GLOBAL_TENANT or source in (GLOBAL_TENANT, target)

    def speaks(self, pod: Pod) -> bool:
        """Whether its node knows its namespace."""
        return pod.namespace in self.known[self.node_of(pod)]

    def node_of(self, pod: Pod) -> int:
        return next(node for (node, _), each in self.pods.items() if each == pod)

    def disagreements(self) -> list[str]:
        """Where the switch and the model differ; or what plugins failed at, the likely cause."""
        nodes = self.fabric.nodes[: self.size]
        if failures := [text for node in nodes for text in node.failures]:
            return failures
        told = list(claims(self))
        by_port = {(node, pod.ofport): pod for (node, _), pod in self.pods.items()}
        found = self.fabric.send([claim.send for claim in told], by_port)
        return [
            f"{claim.text}: the model says {claim.end}, Open vSwitch {end}"
            for claim, end in zip(told, found, strict=True)
            if claim.end != end
        ]

    def _answer(self) -> None:
        self.fake.settle()
        if self.later:
            self.later()
        self.later = None

    def _begin(self, verb: str, *words: str | int) -> Callable[[], None] | None:
        """What happens before the allocator answers; returns what the model becomes then."""
        if verb == "pod":
            node, slot, name = words
            return self._add_pod(int(node) % self.size, int(slot), str(name))
        name = str(words[0])
        if verb == "create":
            return self._create(name)
        if name not in self.networks.of:
            return None
        if verb == "delete":
            self.fake.delete(name)
            self.pods = {at: pod for at, pod in self.pods.items() if pod.namespace != name}
            return lambda: self.networks.gone(name)
        target = str((*words, "")[1])
        self.fake.ask(name, verb, target)
        return lambda: self.networks.asked(name, verb, target)

    def _create(self, name: str) -> Callable[[], None] | None:
        known = name in self.networks.of
        self.fake.create(name)
        return None if known else lambda: self.networks.first(name)

    def _add_pod(self, node: int, slot: int, name: str) -> Callable[[], None] | None:
        """In its namespace, which is created at the same moment if it is missing."""
        self.pods[node, slot] = pod_at(node, slot, name)
        return self._create(name)

    def _show_all(self, behind: int | None = None) -> None:
        for number in range(self.size):
            self._show(number, late=number == behind)

    def _show(self, number: int, *, late: bool) -> None:
        node = self.fabric.nodes[number]
        late = late and node.reconciler is not None
        events = () if late else self.fake.snapshots()
        of_node = {pod.port: pod for (at, _), pod in self.pods.items() if at == number}
        node.show(self.manager, events, of_node)
        if not late:
            self.known[number] = dict(self.networks.of)


def claims(cluster: Cluster) -> Iterator[Claim]:
    """Every packet that is asked about."""
    hosts = [node.host for node in cluster.fabric.nodes[: cluster.size]]
    for (number, _), pod in cluster.pods.items():
        yield from _claims_of_sender(cluster, number, pod)
        for other in cluster.pods.values():
            yield from _claims_of_pair(cluster, number, pod, other)
        for source, host in enumerate(hosts):
            end = f"pod {pod.identity}" if cluster.speaks(pod) else _NOWHERE
            for sender, address in (("node", host.gateway), ("outside by node", _OUTSIDE)):
                fields = {"in_port": NODE_PORT, "nw_src": address, "nw_dst": pod.ip}
                text = f"{sender} {source} to {pod.identity}"
                yield Claim(text, Send(source, "tcp", fields), end)
        yield from _claims_of_tunnels(cluster, number, pod)


def _said(pod: Pod, to: object, **fields: object) -> dict[str, object]:
    """What a pod's packet is."""
    return {
        "in_port": pod.ofport,
        "dl_src": pod.mac,
        "nw_src": pod.ip,
        "nw_dst": to,
        **fields,
    }


def _claims_of_sender(cluster: Cluster, number: int, pod: Pod) -> Iterator[Claim]:
    """What one pod sends to what is no pod."""
    who = pod.identity
    ends = [f"node {node}" if cluster.speaks(pod) else _NOWHERE for node in range(cluster.size)]
    for name, address in (("outside", _OUTSIDE), ("a service", _SERVICE)):
        yield Claim(f"{who} to {name}", Send(number, "tcp", _said(pod, address)), ends[number])
    for target, node in enumerate(cluster.fabric.nodes[: cluster.size]):
        host = node.host
        send = Send(number, "icmp", _said(pod, host.gateway))
        yield Claim(f"{who} to node {target}", send, ends[target])
        send = Send(number, "udp", _said(pod, host.host_ip, udp_dst=_VXLAN))
        yield Claim(f"{who} speaks VXLAN to node {target}", send, _NOWHERE)
    gateway = cluster.fabric.nodes[number].host.gateway
    forged = _said(pod, _OUTSIDE, nw_src=gateway)
    yield Claim(f"{who} speaks as its node", Send(number, "tcp", forged), _NOWHERE)
    translated = {"in_port": NODE_PORT, "nw_src": pod.ip, "nw_dst": _OUTSIDE}
    text = f"{who} to an endpoint outside, translated, comes in by the node"
    yield Claim(text, Send(number, "tcp", translated), _NOWHERE)


def _claims_of_pair(cluster: Cluster, number: int, pod: Pod, other: Pod) -> Iterator[Claim]:
    """What one pod sends to another, by itself and through a service that has it as endpoint."""
    pair = f"{pod.identity} to {other.identity}"
    end = f"pod {other.identity}" if cluster.reaches(pod, other) else _NOWHERE
    translated = {"in_port": NODE_PORT, "nw_src": pod.ip, "nw_dst": other.ip}
    yield Claim(f"{pair} by a service", Send(number, "tcp", translated), end)
    if other == pod:
        return
    yield Claim(pair, Send(number, "icmp", _said(pod, other.ip)), end)
    back = f"node {cluster.node_of(other)}" if end != _NOWHERE else _NOWHERE
    # Where the client is tracked, tracking has given the answer the source of its connection.
    client = other.service_source if cluster.node_of(other) == number else other.ip
    answer = Send(number, "tcp", _said(pod, client, ct_mark=1), answer=True)
    yield Claim(f"{pair}, the answer of a service", answer, back)
    for text, forged in (("address", {"nw_src": other.ip}), ("MAC", {"dl_src": other.mac})):
        send = Send(number, "tcp", _said(pod, other.ip, **forged))
        yield Claim(f"{pair} with its {text}", send, _NOWHERE)


def _claims_of_tunnels(cluster: Cluster, number: int, pod: Pod) -> Iterator[Claim]:
    """What comes by the tunnel and was sent by no pod of ours."""
    host = cluster.fabric.nodes[number].host
    there = cluster.fabric.nodes[(number + 1) % cluster.size].host
    inner = {"nw_src": there.gateway + 1, "nw_dst": pod.ip}
    strange = [(_STRANGER, vni) for vni in (0, *cluster.fake.vnis().values())]
    for sender, vni in [*strange, (host.host_ip, 0)]:
        tunnel = {"in_port": TUNNEL_PORT, "tun_src": sender, "tun_id": vni}
        text = f"{sender} with VNI {vni} to {pod.identity}"
        yield Claim(text, Send(number, "icmp", tunnel | inner), _NOWHERE)
    known = cluster.known[number].get(pod.namespace)
    met = known is not None and cluster.may(None, known)
    tunnel = {"in_port": TUNNEL_PORT, "tun_src": there.host_ip, "tun_id": _UNUSED_VNI}
    text = f"a VNI of no namespace to {pod.identity}"
    end = f"pod {pod.identity}" if met else _NOWHERE
    yield Claim(text, Send(number, "icmp", tunnel | inner), end)
