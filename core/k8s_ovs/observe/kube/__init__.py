"""Kubernetes: where it is, one request, and continuous watches.

kube = Kube(KubeSettings.from_environment(os.environ))
probe = HealthProbe(kube)
watch = ResourceWatch(kube, WatchedResource("/api/v1/nodes", "nodes"), probe, sink)
watch.start()
"""

from __future__ import annotations

from k8s_ovs.observe.kube.client import Json, Kube
from k8s_ovs.observe.kube.errors import Conflict, Expired, Forbidden, NotFound, Refused
from k8s_ovs.observe.kube.event import Involved, post_event
from k8s_ovs.observe.kube.settings import KubeSettings
from k8s_ovs.observe.kube.watch import ResourceWatch, WatchedResource, list_resource

__all__ = [
    "Conflict",
    "Expired",
    "Forbidden",
    "Involved",
    "Json",
    "Kube",
    "KubeSettings",
    "NotFound",
    "Refused",
    "ResourceWatch",
    "WatchedResource",
    "list_resource",
    "post_event",
]
