"""What does the cluster consist of, and where is it? Names, addresses and directories."""

from __future__ import annotations

from pathlib import Path

from attrs import frozen

from k8s_ovs_lab.layout import ROUTER, LabNode, Layout

__all__ = ["CLUSTER_DNS", "DOMAIN", "NETWORK", "SERVICES", "Place"]

NETWORK = "172.11.0.0/16"
SERVICES = "10.96.0.0/12"
SERVICE_OF_API = "10.96.0.1"
CLUSTER_DNS = "10.96.0.10"
DOMAIN = "cluster.local"


@frozen
class Place:
    """One cluster: its name, how many nodes, and the directory that holds all of it.

    On a disk, since a container's root file system is there; its path is short, since Unix
    sockets are in it.
    """

    name: str
    count: int

    @property
    def directory(self) -> Path:
        return Path(f"/var/lib/k8s-ovs-{self.name}")

    @property
    def layout(self) -> Layout:
        """The same namespaces and cables as a lab has."""
        return Layout(self.name, self.directory)

    @property
    def nodes(self) -> tuple[LabNode, ...]:
        return self.layout.nodes(self.count)

    @property
    def server(self) -> str:
        """URL of the API server, as nodes see it."""
        return f"https://{ROUTER.ip}:6443"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.directory / "admin.conf"

    @property
    def kubectl(self) -> Path:
        """A program that is kubectl on this cluster."""
        return self.directory / "kubectl"

    def cgroup(self, node: LabNode) -> str:
        """Below which control group a node's pods are."""
        return f"/k8s-ovs-{self.name}-{node.name}"
