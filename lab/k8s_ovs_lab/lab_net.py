"""A lab's places by name, and whether packets get from one to another: what tests ask of a lab."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any

from attrs import evolve, frozen

from k8s_ovs.model.json_text import parse_json
from k8s_ovs.node.tell.read_status import read_status
from k8s_ovs_lab import cni, servers
from k8s_ovs_lab.command import NETNS
from k8s_ovs_lab.kube.objects import Objects
from k8s_ovs_lab.lab import Lab
from k8s_ovs_lab.layout import ETCD_PREFIX, OUTSIDE, ROUTER
from k8s_ovs_lab.state import LabPod
from k8s_ovs_lab.underlay import add_namespace, remove_namespaces
from k8s_ovs_testing.traffic.traffic import Heard, Server, Transfer, converse, transfer

__all__ = ["SERVER_PORT", "LabNet"]

#: Where servers listen.
SERVER_PORT = 8080


@frozen
class LabNet:
    """Places are pods and nodes by name, `outside`, `fabric`, and `gateway1` and so on: nodes
    under the address that they have in the network themselves."""

    lab: Lab

    def netns(self, place: str) -> str:
        """Path of a place's network namespace."""
        return str(NETNS / self.lab.netns(place.replace("gateway", "node")))

    def address(self, place: str) -> IPv4Address:
        """The address under which a place is known."""
        named = {node.name: node.address for node in (*self.lab.nodes, *self.lab.hosts)}
        named |= {"outside": OUTSIDE.ip, "fabric": ROUTER.ip}
        if place in named:
            return named[place]
        if place.startswith("gateway"):
            return self.subnet(place.replace("gateway", "node")).network_address + 1
        address = self.lab.pod(place).ip
        assert address is not None  # noqa: S101 - a pod that is there has got its address
        return address

    def records(self) -> dict[str, str]:
        """What etcd has, as text, by key below the prefix."""
        lines = self.lab.etcdctl("get", "--prefix", f"{ETCD_PREFIX}/").splitlines()
        return {
            key.removeprefix(f"{ETCD_PREFIX}/"): value
            for key, value in zip(lines[::2], lines[1::2], strict=True)
        }

    def subnet(self, node: str) -> IPv4Network:
        """The subnet that a node has in etcd. Raises KeyError if it has none."""
        records = (parse_json(text) for key, text in self.records().items() if "/subnets/" in key)
        return {each["Host"]: IPv4Network(each["Subnet"]) for each in records}[node]

    def status(self, node: str) -> dict[str, Any]:
        """What a node's daemon says of itself in its status file; empty if there is none."""
        return dict(read_status(self.lab.node(node).directory / "status.json"))

    def flows(self, node: str, table: str = "") -> list[str]:
        """A node's flows in ovs-ofctl's words, tables by name; of one table or of all."""
        only = [f"table={table}"] if table else []
        words = ["ovs-ofctl", "-OOpenFlow14", "--names", "dump-flows", "br0", *only]
        lines = self.lab.exec(node, words).stdout.splitlines()
        return [line for line in lines if "cookie=" in line]

    @property
    def _objects(self) -> Objects:
        return servers.objects(self.lab.layout)

    def cni(
        self,
        command: str,
        pod: LabPod,
        config: Mapping[str, Any] | None = None,
        ifname: str = "eth0",
    ) -> Any:
        """Carry a CNI command out for a pod, as its container runtime would: the result as JSON.

        config: what the runtime adds to the network configuration. ifname: the interface's name in
        the pod. Raises K8sOvsError.
        """
        environment = cni.pod_environment(
            pod.container, pod.netns, pod.namespace, pod.name, pod.uid
        )
        node = self.lab.node(pod.node)
        environment["CNI_IFNAME"] = ifname
        return cni.call(node, command, environment, f"pod {pod.title}", config)

    def bare_pod(self, node: str, name: str, namespace: str = "bare") -> LabPod:
        """A pod that the API server knows and nobody has attached yet."""
        host = self.lab.node(node)
        uid = self._objects.create_pod(host, namespace, name, {}, {})
        return evolve(self.stranger(node, name, namespace), uid=uid)

    def stranger(self, node: str, name: str, namespace: str = "bare") -> LabPod:
        """A pod that no API server knows and nobody has attached yet.

        It says no uid, so it is taken for the one that an object of its name may speak of.
        """
        netns = self.lab.layout.pod_netns(node, namespace, name)
        add_namespace(netns)
        return LabPod(node, namespace, name, "", cni.container_id(), netns)

    def attach(self, pod: LabPod) -> LabPod:
        """Attach it by the CNI; with its address."""
        result = self.cni("ADD", pod)
        return evolve(pod, ip=IPv4Interface(result["ips"][0]["address"]).ip)

    def remove(self, pod: LabPod) -> None:
        """Detach it by the CNI, and remove its namespace."""
        self.cni("DEL", pod)
        remove_namespaces([pod.netns])
        if pod.uid:
            self._objects.delete_pod(pod)

    @contextmanager
    def attached(
        self, node: str, name: str, namespace: str = "bare", *, known: bool = True
    ) -> Iterator[LabPod]:
        """Meanwhile a pod that is attached. known: to the API server."""
        pod = (self.bare_pod if known else self.stranger)(node, name, namespace)
        try:
            yield self.attach(pod)
        finally:
            self.remove(pod)

    def ask(
        self,
        protocol: str,
        client: str,
        target: IPv4Address,
        servers: Sequence[str],
        *,
        port: int = SERVER_PORT,
    ) -> Heard:
        """One question of a client to an address, and its answer by one of the servers.

        protocol: `tcp` or `udp`. Raises TimedOut and Unavailable.
        """
        listening = {name: self.server(name) for name in servers}
        return converse(protocol, self.netns(client), (target, port), listening)

    def send(self, client: str, target: IPv4Address, server: str, *, port: int) -> Transfer:
        """10 MB over TCP to an address that the server is behind. Raises Unavailable."""
        return transfer(self.netns(client), (target, port), self.server(server), 10 << 20)

    def server(self, place: str) -> Server:
        """A server of a place, at port SERVER_PORT."""
        return Server(self.netns(place), self.address(place), SERVER_PORT)

    def pings(self, client: str, target: IPv4Address, *options: str) -> bool:
        """Whether one of three echoes comes back.

        One may be lost: the userspace datapath forwards none while it adds a pod's port.
        """
        words = ["ping", "-c3", "-i0.1", "-W2", *options, str(target)]
        return (
            re.search("[1-9] received", self.lab.exec(client, words, check=False).stdout)
            is not None
        )
