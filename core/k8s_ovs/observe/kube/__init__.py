"""Kubernetes: where it is, one request, and continuous watches.

kube = Kube(KubeSettings.from_environment(os.environ))
watch = ResourceWatch(kube, WatchedResource("/api/v1/nodes", "nodes"), sink)
watch.start()
"""

from __future__ import annotations

from k8s_ovs.observe.kube.client import Kube
from k8s_ovs.observe.kube.documents import Json
from k8s_ovs.observe.kube.errors import Conflict, Expired, Forbidden, Garbled, NotFound, Refused
from k8s_ovs.observe.kube.event import Involved, post_event
from k8s_ovs.observe.kube.settings import KubeSettings
from k8s_ovs.observe.kube.watch import Listed, ResourceWatch, WatchedResource, list_resource

__all__ = [
    "Conflict",
    "Expired",
    "Forbidden",
    "Garbled",
    "Involved",
    "Json",
    "Kube",
    "KubeSettings",
    "Listed",
    "NotFound",
    "Refused",
    "ResourceWatch",
    "WatchedResource",
    "list_resource",
    "post_event",
]
