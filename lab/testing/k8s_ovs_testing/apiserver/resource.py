"""Which resources does the embedded API server serve, and how does a client discover them?"""

from __future__ import annotations

from attrs import frozen

from k8s_ovs_testing.apiserver.status import Json

__all__ = ["NAMESPACES", "RESOURCES", "SERVICES", "ApiResource", "discovery"]

_VERBS = ["create", "delete", "get", "list", "patch", "update", "watch"]


@frozen
class ApiResource:
    """A resource as clients see it.

    fields: what field selectors may name, besides metadata.name and metadata.namespace.
    has_status: there is a status subresource, and writes to the object leave status alone.
    keeps_status: status given at creation stays, as the kubelet has it for its node.
    """

    plural: str
    kind: str
    short_names: tuple[str, ...] = ()
    group: str = ""
    version: str = "v1"
    namespaced: bool = True
    has_status: bool = False
    keeps_status: bool = False
    fields: frozenset[str] = frozenset()

    @property
    def api_version(self) -> str:
        """`v1`, or `group/version`."""
        return f"{self.group}/{self.version}" if self.group else self.version


_INVOLVED = tuple(f"involvedObject.{name}" for name in ("kind", "namespace", "name", "uid"))

NAMESPACES = ApiResource(
    "namespaces",
    "Namespace",
    ("ns",),
    namespaced=False,
    has_status=True,
    fields=frozenset({"status.phase"}),
)
SERVICES = ApiResource(
    "services",
    "Service",
    ("svc",),
    has_status=True,
    fields=frozenset({"spec.type", "spec.clusterIP"}),
)
RESOURCES = (
    NAMESPACES,
    SERVICES,
    ApiResource(
        "nodes",
        "Node",
        ("no",),
        namespaced=False,
        has_status=True,
        keeps_status=True,
        fields=frozenset({"spec.unschedulable"}),
    ),
    ApiResource(
        "pods",
        "Pod",
        ("po",),
        has_status=True,
        fields=frozenset({"spec.nodeName", "status.phase", "status.podIP"}),
    ),
    ApiResource("endpoints", "Endpoints", ("ep",)),
    ApiResource(
        "events",
        "Event",
        ("ev",),
        fields=frozenset({"reason", "type", *_INVOLVED}),
    ),
    ApiResource("configmaps", "ConfigMap", ("cm",)),
    ApiResource("secrets", "Secret", fields=frozenset({"type"})),
    ApiResource("serviceaccounts", "ServiceAccount", ("sa",)),
    ApiResource("endpointslices", "EndpointSlice", group="discovery.k8s.io"),
    ApiResource("leases", "Lease", group="coordination.k8s.io"),
)


def discovery(path: str) -> Json | None:
    """The discovery document at `path`, None where there is none."""
    return _DISCOVERY.get(path.rstrip("/"))


def _resource_list(api_version: str) -> Json:
    entries: list[Json] = []
    for resource in RESOURCES:
        if resource.api_version != api_version:
            continue
        entry = {
            "name": resource.plural,
            "singularName": resource.kind.lower(),
            "namespaced": resource.namespaced,
            "kind": resource.kind,
            "verbs": _VERBS,
        }
        entries.append({**entry, "shortNames": list(resource.short_names)})
        if resource.has_status:
            name = f"{resource.plural}/status"
            entries.append({**entry, "name": name, "verbs": ["get", "patch", "update"]})
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": api_version,
        "resources": entries,
    }


def _group(resource: ApiResource) -> Json:
    version = {"groupVersion": resource.api_version, "version": resource.version}
    return {"name": resource.group, "versions": [version], "preferredVersion": version}


def _documents() -> dict[str, Json]:
    grouped = [resource for resource in RESOURCES if resource.group]
    return {
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
        "/api/v1": _resource_list("v1"),
        "/apis": {
            "kind": "APIGroupList",
            "apiVersion": "v1",
            "groups": [_group(resource) for resource in grouped],
        },
        **{
            f"/apis/{r.group}": {"kind": "APIGroup", "apiVersion": "v1", **_group(r)}
            for r in grouped
        },
        **{f"/apis/{r.api_version}": _resource_list(r.api_version) for r in grouped},
    }


_DISCOVERY = _documents()
