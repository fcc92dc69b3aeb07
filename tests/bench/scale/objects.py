"""Which objects has the API server of a cluster? As kubelet and controllers fill them, since what
is read of an object is little and all of it is sent, parsed and kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.bench.scale.cluster import Cluster, Namespace, Node, Pod

__all__ = ["Json", "namespace_object", "node_object", "node_status", "objects", "pod_object"]

Json = dict[str, Any]

_MADE = "2026-01-05T08:00:00Z"
_CONDITIONS = (
    ("MemoryPressure", "False", "KubeletHasSufficientMemory"),
    ("DiskPressure", "False", "KubeletHasNoDiskPressure"),
    ("PIDPressure", "False", "KubeletHasSufficientPID"),
    ("Ready", "True", "KubeletReady"),
)
_RESOURCES = {
    "cpu": "16",
    "ephemeral-storage": "101430960Ki",
    "hugepages-1Gi": "0",
    "hugepages-2Mi": "0",
    "memory": "65806344Ki",
    "pods": "250",
}
_NODE_INFO = {
    "architecture": "amd64",
    "bootID": "6f0d3d8a-9d5c-4f3e-8d9e-2f1f5b1a7c11",
    "containerRuntimeVersion": "containerd://1.7.24",
    "kernelVersion": "6.1.0-31-amd64",
    "kubeletVersion": "v1.34.2",
    "machineID": "5c4e1f0e1c5c4c27a8a3d0a0f0b6b9e2",
    "operatingSystem": "linux",
    "osImage": "Debian GNU/Linux 12 (bookworm)",
    "systemUUID": "5c4e1f0e-1c5c-4c27-a8a3-d0a0f0b6b9e2",
}
_IMAGES = 20


def objects(cluster: Cluster) -> Iterator[Json]:
    """All of it, each with its kind: nodes, namespaces, then what is in those."""
    yield from map(node_object, cluster.nodes)
    yield from map(namespace_object, cluster.namespaces)
    yield from map(pod_object, cluster.pods)
    for number in range(cluster.size.services):
        namespace = cluster.namespaces[number % len(cluster.namespaces)]
        yield _service(namespace, number)


def node_object(node: Node, beat: int = 0) -> Json:
    """A Node with its status. beat: how often kubelet has told it again."""
    labels = {
        "beta.kubernetes.io/arch": "amd64",
        "beta.kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/hostname": node.name,
        "kubernetes.io/os": "linux",
        "node.kubernetes.io/instance-type": "m5.4xlarge",
        "topology.kubernetes.io/region": "eu-central-1",
        "topology.kubernetes.io/zone": "eu-central-1a",
    }
    annotations = {
        "node.alpha.kubernetes.io/ttl": "0",
        "volumes.kubernetes.io/controller-managed-attach-detach": "true",
    }
    metadata = _metadata(node.name, f"node-{node.name}", labels) | {
        "annotations": annotations,
        "managedFields": [
            _managed("kube-controller-manager", "metadata", annotations),
            _managed("kubelet", "status", {name: "" for name, _, _ in _CONDITIONS} | _RESOURCES),
        ],
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": metadata,
        "spec": {"podCIDR": str(node.subnet), "podCIDRs": [str(node.subnet)]},
        "status": node_status(node, beat),
    }


def node_status(node: Node, beat: int = 0) -> Json:
    """What kubelet says of it, every five minutes as long as nothing changes."""
    heard = f"2026-01-05T{8 + beat // 60 % 16:02}:{beat % 60:02}:00Z"
    conditions = [
        {
            "type": kind,
            "status": status,
            "reason": reason,
            "message": f"kubelet has told this: {reason}",
            "lastHeartbeatTime": heard,
            "lastTransitionTime": _MADE,
        }
        for kind, status, reason in _CONDITIONS
    ]
    return {
        "addresses": [
            {"type": "InternalIP", "address": str(node.address)},
            {"type": "Hostname", "address": node.name},
        ],
        "allocatable": dict(_RESOURCES),
        "capacity": dict(_RESOURCES),
        "conditions": conditions,
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
        "images": [_image(number) for number in range(_IMAGES)],
        "nodeInfo": dict(_NODE_INFO),
    }


def namespace_object(namespace: Namespace) -> Json:
    """A Namespace, active."""
    labels = {
        "kubernetes.io/metadata.name": namespace.name,
        "team": f"team-{namespace.vni % 97}",
    }
    metadata = _metadata(namespace.name, namespace.uid, labels)
    metadata["managedFields"] = [_managed("kubectl-create", "metadata", labels)]
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": metadata,
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    }


def pod_object(pod: Pod) -> Json:
    """A Pod that runs."""
    labels = {"app": pod.name.partition("-")[0], "pod-template-hash": "6d5f7c9b8"}
    metadata = _metadata(pod.name, pod.uid, labels) | {"namespace": pod.namespace}
    container = {
        "name": "app",
        "image": "registry.example/app:1.0",
        "ports": [{"containerPort": 8080, "protocol": "TCP"}],
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"nodeName": pod.node, "containers": [container], "restartPolicy": "Always"},
        "status": {
            "phase": "Running",
            "podIP": str(pod.address),
            "podIPs": [{"ip": str(pod.address)}],
        },
    }


def _service(namespace: Namespace, number: int) -> Json:
    metadata = _metadata(f"service-{number}", f"service-{number}", {})
    # The service network has room for a million; the first addresses are the cluster's own.
    address = f"10.{96 + (number + 256) // 65536}.{(number + 256) // 256 % 256}.{number % 256}"
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata | {"namespace": namespace.name},
        "spec": {
            "type": "ClusterIP",
            "clusterIP": address,
            "clusterIPs": [address],
            "ports": [{"port": 80, "targetPort": 8080, "protocol": "TCP"}],
        },
        "status": {"loadBalancer": {}},
    }


def _metadata(name: str, uid: str, labels: dict[str, str]) -> Json:
    return {"name": name, "uid": uid, "creationTimestamp": _MADE, "labels": labels}


def _managed(manager: str, part: str, names: dict[str, Any]) -> Json:
    """Who set which fields, as the API server notes it."""
    fields: Json = {f"f:{part}": {f"f:{name}": {} for name in names}}
    return {
        "manager": manager,
        "operation": "Update",
        "apiVersion": "v1",
        "time": _MADE,
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
    }


def _image(number: int) -> Json:
    digest = f"{number:064x}"
    name = f"registry.example/some/image{number}"
    return {"names": [f"{name}@sha256:{digest}", f"{name}:1.0"], "sizeBytes": 12345678 + number}
