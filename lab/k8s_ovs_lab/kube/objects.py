"""The lab's Kubernetes objects: what kubelet and kubectl would put into the API server."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from attrs import frozen

from k8s_ovs.errors import InvalidRecord, K8sOvsError
from k8s_ovs.observe.kube import Conflict, Json, Kube, KubeSettings, NotFound
from k8s_ovs_lab.command import inside
from k8s_ovs_lab.kube.service import Endpoint, Service, services_of
from k8s_ovs_lab.layout import LabNode
from k8s_ovs_lab.state import LabPod

__all__ = ["Objects"]

_API = "/api/v1"
#: RFC 1123 section 2.1, as Kubernetes has it.
_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_OF_EVERY_CLUSTER = ("default", "kube-system", "kube-public", "kube-node-lease")


@frozen
class Objects:
    """The API server's objects, asked for from inside the lab's fabric.

    netns: where the server listens. kubeconfig: path of the file that says how to reach it.
    Methods raise what k8s_ovs.observe.kube.Kube raises.
    """

    netns: str
    kube: Kube

    @classmethod
    def reach(cls, netns: str, kubeconfig: str) -> Objects:
        """The objects of the server that a kubeconfig names."""
        return cls(netns, Kube(KubeSettings.from_kubeconfig(kubeconfig)))

    def ready(self) -> bool:
        """Whether the server answers. Raises Unavailable while it does not."""
        with inside(self.netns):
            self.kube.get(f"{_API}/namespaces")
        return True

    def ensure_node(self, node: LabNode) -> None:
        """Register a node, not ready yet, as its kubelet does at start."""
        body = _object("Node", node.name, labels={"kubernetes.io/hostname": node.name})
        self._ensure(f"{_API}/nodes", {**body, "status": _node_status(node, False)})

    def delete_node(self, name: str) -> None:
        """Delete a node; nothing happens if it is gone."""
        self._delete(f"{_API}/nodes/{name}")

    def mark_node(self, node: LabNode, ready: bool) -> None:
        """Say whether a node is Ready."""
        with inside(self.netns):
            self.kube.patch(
                f"{_API}/nodes/{node.name}/status", {"status": _node_status(node, ready)}
            )

    def node_ready(self) -> dict[str, bool]:
        """Whether it is Ready, of each node that is registered."""
        return {
            item["metadata"]["name"]: any(
                condition["type"] == "Ready" and condition["status"] == "True"
                for condition in item.get("status", {}).get("conditions", [])
            )
            for item in self._items("nodes")
        }

    def create_pod(
        self,
        node: LabNode,
        namespace: str,
        name: str,
        annotations: Mapping[str, str],
        labels: Mapping[str, str],
    ) -> str:
        """Create a pod that is bound to a node already; its uid. Conflict if it exists."""
        self.ensure_namespace(namespace)
        body = _object("Pod", name, annotations=annotations, labels=labels)
        container = {"name": "pod", "image": "none.invalid/none", "imagePullPolicy": "Never"}
        spec = {"nodeName": node.name, "containers": [container]}
        with inside(self.netns):
            made = self.kube.create(f"{_API}/namespaces/{namespace}/pods", {**body, "spec": spec})
        return str(made["metadata"]["uid"])

    def mark_pod_running(self, pod: LabPod) -> None:
        """Write a pod's address into its status, as its kubelet does."""
        status = {"phase": "Running", "podIP": str(pod.ip), "podIPs": [{"ip": str(pod.ip)}]}
        with inside(self.netns):
            self.kube.patch(f"{_pod_path(pod)}/status", {"status": status})

    def annotate_pod(self, pod: LabPod, annotations: Mapping[str, str | None]) -> None:
        """Set annotations of a pod; those that are None are removed."""
        with inside(self.netns):
            self.kube.patch(_pod_path(pod), {"metadata": {"annotations": dict(annotations)}})

    def delete_pod(self, pod: LabPod) -> None:
        """Delete a pod at once; nothing happens if it is gone."""
        self._delete(_pod_path(pod), {"gracePeriodSeconds": "0"})

    def ensure_namespace(self, name: str) -> None:
        """Make a namespace; nothing happens if it exists."""
        self._ensure(f"{_API}/namespaces", _object("Namespace", name))

    def create_namespace(self, name: str) -> None:
        """Make a namespace. Raises K8sOvsError if it exists, InvalidRecord for a wrong name."""
        if not _NAMESPACE.fullmatch(name):
            raise InvalidRecord(
                f"namespace {name!r}: expected up to 63 small letters, digits and dashes"
            )
        try:
            with inside(self.netns):
                self.kube.create(f"{_API}/namespaces", _object("Namespace", name))
        except Conflict as error:
            raise K8sOvsError(f"namespace {name} is there already") from error

    def require_namespace(self, name: str) -> None:
        """Raises K8sOvsError for a namespace that does not exist, or that every cluster has."""
        names = [item["metadata"]["name"] for item in self._items("namespaces")]
        if name not in names:
            raise K8sOvsError(f"no namespace {name}: there are {', '.join(names)}")
        if name in _OF_EVERY_CLUSTER:
            raise K8sOvsError(f"namespace {name} stays: every cluster has it")

    def delete_namespace(self, name: str) -> None:
        """Delete a namespace, which holds nothing any more; nothing happens if it is gone."""
        self._delete(f"{_API}/namespaces/{name}")

    def events_of(self, kind: str, name: str) -> list[str]:
        """Messages of the events about an object, oldest first."""
        return [
            item["message"]
            for item in self._items("events")
            if (item["involvedObject"]["kind"], item["involvedObject"]["name"]) == (kind, name)
        ]

    def services(self) -> tuple[Service, ...]:
        """All services with their endpoints."""
        return services_of(self._items("services"), self._items("endpoints"))

    def create_service(self, service: Service, selected: Mapping[Endpoint, LabPod]) -> None:
        """Create a service and its endpoints; Conflict if it exists.

        selected: the pods that endpoints belong to.
        """
        port = {"port": service.port, "protocol": service.protocol.upper()}
        spec = {"clusterIP": str(service.address), "ports": [port]}
        endpoints = [_subset(item, service, selected.get(item)) for item in service.endpoints]
        self.ensure_namespace(service.namespace)
        with inside(self.netns):
            self.kube.create(
                f"{_API}/namespaces/{service.namespace}/services",
                {**_object("Service", service.name), "spec": spec},
            )
            self.kube.create(
                f"{_API}/namespaces/{service.namespace}/endpoints",
                {**_object("Endpoints", service.name), "subsets": endpoints},
            )

    def delete_service(self, namespace: str, name: str) -> None:
        """Delete a service and its endpoints. Raises NotFound if there is no such service."""
        with inside(self.netns):
            self.kube.delete(f"{_API}/namespaces/{namespace}/services/{name}")
        self._delete(f"{_API}/namespaces/{namespace}/endpoints/{name}")

    def _items(self, resource: str) -> list[Json]:
        with inside(self.netns):
            items: list[Json] = self.kube.list(f"{_API}/{resource}")["items"]
        return items

    def _ensure(self, path: str, body: Json) -> None:
        with inside(self.netns):
            try:
                self.kube.create(path, body)
            except Conflict:
                return  # it is there, which is all that was wanted

    def _delete(self, path: str, params: Mapping[str, str] | None = None) -> None:
        with inside(self.netns):
            try:
                self.kube.delete(path, params)
            except NotFound:
                return  # it is gone, which is all that was wanted


def _object(
    kind: str,
    name: str,
    *,
    annotations: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
) -> Json:
    metadata: dict[str, Any] = {"name": name}
    metadata |= {"annotations": dict(annotations)} if annotations else {}
    metadata |= {"labels": dict(labels)} if labels else {}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata}


def _node_status(node: LabNode, ready: bool) -> Json:
    condition = {
        "type": "Ready",
        "status": "True" if ready else "False",
        "reason": "KubeletReady" if ready else "KubeletNotReady",
        "message": "" if ready else "container runtime network not ready: cni not initialized",
    }
    addresses = [
        {"type": "InternalIP", "address": str(node.address)},
        {"type": "Hostname", "address": node.name},
    ]
    return {"addresses": addresses, "conditions": [condition]}


def _subset(endpoint: Endpoint, service: Service, pod: LabPod | None) -> Json:
    address: Json = {"ip": str(endpoint.address)}
    if pod is not None:
        address["nodeName"] = pod.node
        address["targetRef"] = {
            "kind": "Pod",
            "namespace": pod.namespace,
            "name": pod.name,
            "uid": pod.uid,
        }
    port = {"port": endpoint.port, "protocol": service.protocol.upper()}
    return {"addresses": [address], "ports": [port]}


def _pod_path(pod: LabPod) -> str:
    return f"{_API}/namespaces/{pod.namespace}/pods/{pod.name}"
