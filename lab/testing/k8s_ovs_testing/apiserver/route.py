"""Which object or collection does a URL mean?"""

from __future__ import annotations

from urllib.parse import unquote

from attrs import frozen

from k8s_ovs_testing.apiserver.resource import NAMESPACES, RESOURCES, ApiResource
from k8s_ovs_testing.apiserver.status import StatusError
from k8s_ovs_testing.apiserver.store import Key

__all__ = ["Target", "target"]

_BY_NAME = {(r.api_version, r.plural): r for r in RESOURCES}


@frozen
class Target:
    """namespace None: all of them, or a resource that has none. name empty: the collection."""

    resource: ApiResource
    namespace: str | None
    name: str = ""
    subresource: str = ""

    @property
    def key(self) -> Key:
        """Where the store has the object."""
        return (self.namespace or "", self.name)


def target(path: str) -> Target:
    """The target of a path such as `/api/v1/namespaces/default/pods/x`; raises StatusError 404."""
    steps = [unquote(step) for step in path.strip("/").split("/")]
    root = 2 if steps[0] == "api" else 3
    api_version, rest = "/".join(steps[1:root]), steps[root:]
    namespace = None
    if len(rest) > 2 and rest[0] == NAMESPACES.plural and rest[2] != "status":
        namespace, rest = rest[1], rest[2:]
    resource = _BY_NAME.get((api_version, rest[0])) if rest else None
    if steps[0] not in ("api", "apis") or resource is None or len(rest) > 3:
        raise _no_resource()
    name, subresource = (*rest[1:], "", "")[:2]
    if resource.namespaced is (namespace is None) and (name or not resource.namespaced):
        raise _no_resource()
    if subresource and not (subresource == "status" and resource.has_status):
        raise _no_resource()
    return Target(resource, namespace, name, subresource)


def _no_resource() -> StatusError:
    return StatusError(404, "NotFound", "the server could not find the requested resource")
