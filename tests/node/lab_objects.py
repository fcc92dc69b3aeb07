"""What does the lab ask of an API server?"""

from __future__ import annotations

from k8s_ovs.observe.kube import Json, Kube, KubeSettings
from k8s_ovs_lab.kube.apiserver import ApiServer

__all__ = ["lab_objects", "reach"]


def reach(server: ApiServer) -> Kube:
    return Kube(KubeSettings.from_kubeconfig(str(server.kubeconfig)))


def lab_objects(kube: Kube) -> dict[str, Json]:
    """Creates what the lab does, as it does; returns what the server made of it."""
    node = {"metadata": {"name": "node1"}, "status": {"phase": "Running"}}
    spec = {"nodeName": "node1", "containers": [{"name": "pod", "image": "none.invalid/none"}]}
    service = {"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}}
    default = "/api/v1/namespaces/default"
    kube.create("/api/v1/nodes", node)
    kube.create(f"{default}/pods", {"metadata": {"name": "web-1"}, "spec": spec})
    return {
        "pod": kube.patch(f"{default}/pods/web-1/status", {"status": {"podIP": "172.11.0.2"}}),
        "service": kube.create(f"{default}/services", service),
        "gone": kube.delete(f"{default}/pods/web-1", {"gracePeriodSeconds": "0"}),
    }
