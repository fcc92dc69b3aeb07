"""A lab as one object: nodes, pods and services on this machine."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from typing import Any

from attrs import evolve, frozen

from k8s_ovs.errors import InvalidRecord, K8sOvsError, Unavailable
from k8s_ovs_lab import cni, servers
from k8s_ovs_lab.command import command_in, run
from k8s_ovs_lab.host import add_host, remove_host
from k8s_ovs_lab.kube.apply import apply_all
from k8s_ovs_lab.kube.service import Endpoint, Service, free_address, install, translation
from k8s_ovs_lab.layout import ETCD_PREFIX, LabNode, LabSettings, Layout
from k8s_ovs_lab.lifecycle import (
    Report,
    await_node,
    bring_up,
    directory_of,
    start_switch,
    tear_down,
)
from k8s_ovs_lab.node import add_node, remove_node
from k8s_ovs_lab.state import LabPod, LabState, forget_pod, hosts, pods, write_pod
from k8s_ovs_lab.underlay import add_namespace, remove_namespaces

__all__ = ["Lab"]

_TABLE = "lab-services"


def _silent(_: str) -> None:
    """For callers who do not watch."""


@frozen
class Lab:
    """A lab that is up.

    Its methods raise K8sOvsError with what a person needs to know. `where` names a place:
    `fabric`, `outside`, a node, an external host, or a pod as NAME (in namespace default) or
    NAMESPACE/NAME.
    """

    layout: Layout
    state: LabState

    @classmethod
    def up(
        cls,
        settings: LabSettings | None = None,
        directory: Path | None = None,
        report: Report = _silent,
    ) -> Lab:
        """Bring a lab up, or find it up already with the same settings.

        directory: for its state, by default /run/k8s-ovs-NAME; Unix sockets are in it, so keep
        its path short. report: is told each step.
        """
        asked = settings or LabSettings()
        layout = Layout(asked.name, directory_of(asked.name, directory))
        lab = cls(layout, bring_up(layout, asked, report))
        lab.sync_services()
        return lab

    @classmethod
    def open(cls, name: str = "lab", directory: Path | None = None) -> Lab:
        """The lab that is up. Raises Unavailable if there is none."""
        layout = Layout(name, directory_of(name, directory))
        state = LabState.read(layout.directory)
        if state is None or not state.complete:
            raise Unavailable(f"no lab {name} is up in {layout.directory}; try: k8s-ovs lab up")
        return cls(layout, state)

    @property
    def nodes(self) -> tuple[LabNode, ...]:
        """The nodes, in order."""
        there = LabState.read(self.layout.directory) or self.state
        numbers = evolve(there, settings=self.state.settings).numbers
        return tuple(map(self.layout.node, numbers))

    @property
    def hosts(self) -> tuple[LabNode, ...]:
        """The hosts that Kubernetes does not know, by address."""
        return hosts(self.layout)

    @property
    def network(self) -> IPv4Network:
        """The network of all pods, as it was configured when the lab came up."""
        return self._configured("Network")

    def down(self, report: Report = _silent) -> None:
        """Remove all of it."""
        tear_down(self.layout, report)

    def node(self, name: str) -> LabNode:
        """A node, or an external host, by name."""
        there = (*self.nodes, *self.hosts)
        for node in there:
            if node.name == name:
                return node
        names = ", ".join(node.name for node in there)
        raise K8sOvsError(f"no node {name} in lab {self.layout.name}: there are {names}")

    def add_node(self, name: str) -> LabNode:
        """Make one more node; returns when its network serves. name: node1, node2 and so on."""
        node = add_node(self.layout, self.state, name)
        self.start_daemon(name)
        servers.objects(self.layout).mark_node(node, ready=True)
        self.sync_services()
        return node

    def remove_node(self, name: str) -> None:
        """Remove a node with its pods, as if its machine was switched off for good and it was
        deleted."""
        node = self.node(name)
        if node.external:
            raise K8sOvsError(f"{name} is an external host: k8s-ovs lab unhost removes it")
        if self.nodes == (node,):
            raise K8sOvsError(f"{name} is the last node: k8s-ovs lab down removes the lab")
        for pod in self.pods().values():
            if pod.node == name:
                self._forget(pod)
        remove_node(self.layout, node)
        # Nobody else knows that its pods do not run any more.
        network = self.state.settings.network_config()["Name"]
        self.etcdctl("del", f"{ETCD_PREFIX}/{network}/used/{name}")

    def add_namespace(self, name: str) -> None:
        """Make a namespace of Kubernetes. Raises K8sOvsError if it exists."""
        servers.objects(self.layout).create_namespace(name)

    def remove_namespace(self, name: str) -> None:
        """Delete a namespace with its pods and services."""
        objects = servers.objects(self.layout)
        objects.require_namespace(name)
        for pod in self.pods().values():
            if pod.namespace == name:
                self.delete_pod(pod.title)
        for service in self.services():
            if service.namespace == name:
                objects.delete_service(name, service.name)
        objects.delete_namespace(name)
        self.sync_services()

    def apply(self, documents: Iterable[Any]) -> Iterator[str]:
        """Put objects into the API server; what was done with each, as it is done."""
        yield from apply_all(servers.objects(self.layout), documents)
        try:
            self.sync_services()
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise K8sOvsError(f"a service cannot be translated on the nodes: {error!r}") from error

    def add_host(self, name: str) -> LabNode:
        """Make a host that Kubernetes does not know, with an Open vSwitch and no daemon yet:
        `start_daemon` starts one that knows no API server."""
        return add_host(self.layout, self.state, name)

    def remove_host(self, name: str) -> None:
        """Remove such a host; its record in etcd stays."""
        host = self.node(name)
        if not host.external:
            raise K8sOvsError(f"{name} is a node of lab {self.layout.name}, and no external host")
        remove_host(self.layout, host)

    def pods(self) -> dict[str, LabPod]:
        """All pods by NAMESPACE/NAME."""
        return pods(self.layout)

    def pod(self, name: str, namespace: str = "default") -> LabPod:
        """A pod by NAME, or by NAMESPACE/NAME."""
        title = name if "/" in name else f"{namespace}/{name}"
        found = self.pods()
        if title not in found:
            known = ", ".join(found) or "none"
            raise K8sOvsError(f"no pod {title} in lab {self.layout.name}: there are {known}")
        return found[title]

    def run_pod(
        self,
        node: str,
        name: str,
        namespace: str = "default",
        annotations: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> LabPod:
        """Make a pod as kubelet does: its object, its namespace, its network by the CNI.

        If the CNI refuses, nothing of the pod is left.
        """
        host, objects = self.node(node), servers.objects(self.layout)
        if f"{namespace}/{name}" in self.pods():
            raise K8sOvsError(f"pod {namespace}/{name} is there already")
        uid = objects.create_pod(host, namespace, name, annotations or {}, labels or {})
        netns = self.layout.pod_netns(node, namespace, name)
        pod = LabPod(node, namespace, name, uid, cni.container_id(), netns)
        try:
            write_pod(self.layout, pod)
            add_namespace(netns)
            result = cni.call(host, "ADD", _environment(pod), f"pod {pod.title}")
            pod = evolve(pod, ip=_address(result, pod))
            write_pod(self.layout, pod)
            objects.mark_pod_running(pod)
        except BaseException:
            # What went wrong first is what is told.
            with suppress(K8sOvsError):
                cni.call(host, "DEL", _environment(pod), f"pod {pod.title}")
            self._forget(pod)
            raise
        return pod

    def delete_pod(self, name: str, namespace: str = "default") -> None:
        """Delete a pod: its network by the CNI, its namespace, its object."""
        pod = self.pod(name, namespace)
        cni.call(self.node(pod.node), "DEL", _environment(pod), f"pod {pod.title}")
        self._forget(pod)

    def command(self, where: str, argv: Sequence[str]) -> tuple[list[str], dict[str, str]]:
        """The command that runs argv in a place, and what it needs in its environment."""
        command = command_in(self.netns(where), argv)
        if where == "fabric":
            return command, servers.environment(self.layout, None)
        for node in (*self.nodes, *self.hosts):
            if node.name == where:
                return command, servers.environment(self.layout, node)
        return command, {}

    def netns(self, where: str) -> str:
        """The name of a place's network namespace."""
        named = {"fabric": self.layout.fabric, "outside": self.layout.outside}
        named |= {node.name: node.netns for node in (*self.nodes, *self.hosts)}
        return named.get(where) or self.pod(where).netns

    def exec(
        self,
        where: str,
        argv: Sequence[str],
        *,
        timeout: float = 60.0,
        check: bool = True,
        text: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program in a place to its end; timeout in seconds, text is what it reads."""
        command, environment = self.command(where, argv)
        return run(command, environment=environment, timeout=timeout, check=check, text=text)

    def spawn(self, where: str, argv: Sequence[str]) -> subprocess.Popen[str]:
        """Start a program in a place; the caller reads its output and ends it."""
        command, environment = self.command(where, argv)
        return subprocess.Popen(
            command,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def service(
        self,
        name: str,
        port: int,
        endpoints: Sequence[str],
        *,
        namespace: str = "default",
        protocol: str = "tcp",
        address: IPv4Address | None = None,
    ) -> Service:
        """Make a service: its objects, and its translation on every node.

        endpoints: pods, each as POD or POD:PORT, as NAME or NAMESPACE/NAME; a NAME is in the
        service's namespace. address: by default the first that is free.
        """
        objects = servers.objects(self.layout)
        selected = dict(self._endpoint(item, namespace, port) for item in endpoints)
        taken = [service.address for service in objects.services()]
        service = Service(
            namespace,
            name,
            address or free_address(self._configured("ServiceNetwork"), taken),
            port,
            protocol,
            tuple(sorted(selected)),
        )
        objects.create_service(service, selected)
        self.sync_services()
        return service

    def delete_service(self, name: str, namespace: str = "default") -> None:
        """Delete a service and its translation on every node."""
        servers.objects(self.layout).delete_service(namespace, name)
        self.sync_services()

    def services(self) -> tuple[Service, ...]:
        """All services, as the API server has them."""
        return servers.objects(self.layout).services()

    def sync_services(self) -> None:
        """Make every node translate just the services that the API server has."""
        rules = translation(_TABLE, self.services(), self.network)
        for node in self.nodes:
            install(node.netns, rules)

    def etcdctl(self, *words: str) -> str:
        """What `etcdctl WORDS` prints."""
        return servers.etcdctl(self.layout, *words)

    def part(self, name: str) -> servers.Part:
        """A program to pause, resume or kill: etcd, apiserver, NODE/daemon or NODE/ovs."""
        return servers.part(self.layout, name)

    def start_part(self, name: str) -> None:
        """Start a program that has ended, on its old data: etcd or apiserver."""
        if name == "etcd":
            servers.start_etcd(self.layout)
        elif name == "apiserver":
            servers.start_apiserver(self.layout, str(self._configured("ServiceNetwork")))
        else:
            raise K8sOvsError(f"cannot start {name!r}: expected etcd or apiserver")

    def stop_daemon(self, node: str) -> None:
        """End a node's daemon."""
        servers.daemon(self.node(node)).stop()

    def start_daemon(self, node: str, *flags: str, wait: bool = True) -> None:
        """Start a node's daemon, with more flags; returns when its network serves.

        wait False: returns at once.
        """
        host = self.node(node)
        servers.start_daemon(self.layout, host, self.state.datapath, flags)
        if wait:
            await_node(host)

    def restart_daemon(self, node: str) -> None:
        """End a node's daemon and start it again; returns when its network serves."""
        self.stop_daemon(node)
        # An external host that has no record yet waits for one.
        self.start_daemon(node, wait=not self.node(node).external)

    def restart_ovs(self, node: str) -> None:
        """Restart a node's ovs-vswitchd: flows are gone, ports and settings are not."""
        if self.part(f"{node}/ovs").running():
            servers.restart_vswitchd(self.node(node))
        self.start_ovs(node)

    def await_node(self, node: str) -> None:
        """Wait until a node's network serves. Raises TimedOut, Unavailable if no daemon runs."""
        await_node(self.node(node))

    def stop_ovs(self, node: str) -> None:
        """End a node's Open vSwitch, and what it made in the kernel; its database stays."""
        servers.stop_ovs(self.node(node))

    def start_ovs(self, node: str) -> None:
        """Start a node's Open vSwitch on its old database, and give the node its address again."""
        start_switch(self.layout, self.node(node), self.state.datapath)

    def _endpoint(self, text: str, namespace: str, port: int) -> tuple[Endpoint, LabPod]:
        name, _, own_port = text.partition(":")
        pod = self.pod(name, namespace)
        if own_port and not own_port.isdigit():
            raise InvalidRecord(f"--endpoint {text}: expected POD or POD:PORT")
        if pod.ip is None:
            raise K8sOvsError(f"pod {pod.title} has no address yet")
        return Endpoint(pod.ip, int(own_port or port)), pod

    def _forget(self, pod: LabPod) -> None:
        remove_namespaces([pod.netns])
        servers.objects(self.layout).delete_pod(pod)
        forget_pod(self.layout, pod)

    def _configured(self, name: str) -> IPv4Network:
        found = self.state.settings.network_config()[name]
        try:
            return IPv4Network(found)
        except ValueError as error:
            raise InvalidRecord(f"--config: {name}: {error}") from error


def _environment(pod: LabPod) -> dict[str, str]:
    return cni.pod_environment(pod.container, pod.netns, pod.namespace, pod.name, pod.uid)


def _address(result: Any, pod: LabPod) -> IPv4Address:
    try:
        return IPv4Interface(result["ips"][0]["address"]).ip
    except (TypeError, LookupError, ValueError) as error:
        raise K8sOvsError(f"CNI ADD of pod {pod.title} gave no address: {result!r}") from error
