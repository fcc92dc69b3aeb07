"""What does a request to create, change or delete make of the objects?"""

from __future__ import annotations

import ipaddress
import secrets
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from attrs import frozen

from k8s_ovs_testing.apiserver.resource import NAMESPACES, RESOURCES, SERVICES, ApiResource
from k8s_ovs_testing.apiserver.selection import Selection
from k8s_ovs_testing.apiserver.status import (
    Json,
    already_exists,
    bad_request,
    conflict,
    invalid,
    not_found,
    success,
)
from k8s_ovs_testing.apiserver.store import Key, Store

__all__ = ["Writer", "merge"]

_FIRST_NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")
_BY_KIND = {(resource.api_version, resource.kind): resource for resource in RESOURCES}
_KEPT = ("name", "namespace", "uid", "creationTimestamp", "resourceVersion")
_FIRST_STATUS: dict[str, Json] = {
    "Namespace": {"phase": "Active"},
    "Pod": {"phase": "Pending"},
    "Service": {"loadBalancer": {}},
}


def merge(target: Any, patch: Any) -> Any:
    """The RFC 7386 merge of a patch into a document; neither is changed."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return merged


@frozen
class Writer:
    """All changes of the store. Each method returns what the client gets or raises StatusError.

    service_range: addresses for services that name none; the first of them is left to the
    `kubernetes` service that every cluster has.
    """

    store: Store
    service_range: ipaddress.IPv4Network

    def begin(self) -> None:
        """Make the namespaces that every cluster has, unless they are there."""
        for name in _FIRST_NAMESPACES:
            if self.store.find(NAMESPACES, ("", name)) is None:
                self.create(NAMESPACES, "", {"metadata": {"name": name}})

    def load(self, document: Json) -> None:
        """Take an object as it is, with its uid and status. Raises ValueError for an object of no
        kind that is served."""
        kind, metadata = (document["apiVersion"], document["kind"]), document["metadata"]
        resource = _BY_KIND.get(kind)
        if resource is None:
            raise ValueError(f"{' '.join(kind)}: expected a kind that the server has")
        key = (metadata.get("namespace", ""), metadata["name"])
        self.store.change(resource, key, lambda _old: document)

    def create(self, resource: ApiResource, namespace: str, body: Json) -> Json:
        """A new object; 409 where it exists, 404 where its namespace does not."""
        document = _identified(resource, namespace, body)
        name = document["metadata"]["name"]

        def make(old: Json | None) -> Json:
            if old is not None:
                raise already_exists(resource.plural, name)
            return self._address(document) if resource is SERVICES else document

        with self.store.lock():
            if resource.namespaced:
                self.store.get(NAMESPACES, ("", namespace))
            return _made(self.store.change(resource, (namespace, name), make))

    def replace(self, resource: ApiResource, key: Key, body: Json, subresource: str = "") -> Json:
        """The object, or its status, as the body says."""
        return self._update(resource, key, subresource, lambda _old: body)

    def patch(self, resource: ApiResource, key: Key, body: Json, subresource: str = "") -> Json:
        """The object, or its status, with a merge patch."""
        return self._update(resource, key, subresource, lambda old: _object(merge(old, body)))

    def delete(self, resource: ApiResource, key: Key) -> Json:
        """Delete an object, and with a namespace all that is in it."""
        with self.store.lock():
            old = self.store.get(resource, key)
            if resource is NAMESPACES:
                self._empty(key[1])
            self.store.change(resource, key, lambda _old: None)
        return success(resource.plural, key[1], old["metadata"]["uid"])

    def _update(
        self, resource: ApiResource, key: Key, subresource: str, change: Callable[[Json], Json]
    ) -> Json:
        def make(old: Json | None) -> Json:
            if old is None:
                raise not_found(resource.plural, key[1])
            return _updated(resource, old, change(old), subresource)

        return _made(self.store.change(resource, key, make))

    def _empty(self, namespace: str) -> None:
        for resource in RESOURCES:
            if resource.namespaced:
                for item in self.store.page(Selection(resource, namespace)).items:
                    key = (namespace, item["metadata"]["name"])
                    self.store.change(resource, key, lambda _old: None)

    def _address(self, service: Json) -> Json:
        spec = {"type": "ClusterIP", **service.get("spec", {})}
        if spec["type"] == "ExternalName" or spec.get("clusterIP") == "None":
            return {**service, "spec": spec}
        services = self.store.page(Selection(SERVICES)).items
        taken = {item["spec"].get("clusterIP") for item in services}
        addresses = (str(self.service_range[n]) for n in range(2, self.service_range.num_addresses))
        free = (address for address in addresses if address not in taken)
        address = spec.get("clusterIP") or next(free, None)
        if address is None or address in taken:
            problem = "provided IP is already allocated" if address else "no service address left"
            raise invalid("services", service["metadata"]["name"], f"spec.clusterIPs: {problem}")
        return {**service, "spec": {**spec, "clusterIP": address, "clusterIPs": [address]}}


def _identified(resource: ApiResource, namespace: str, body: Json) -> Json:
    """The body with what the server gives every new object."""
    given = body.get("metadata") or {}
    if given.get("namespace", namespace) != namespace:
        raise bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    prefix = given.get("generateName", "")
    name = given.get("name") or (prefix and f"{prefix}{secrets.token_hex(3)[:5]}")
    if not name:
        raise invalid(resource.plural, "", "metadata.name: name or generateName is required")
    metadata = {
        **given,
        "name": name,
        "uid": str(uuid.uuid4()),
        "creationTimestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    if resource.namespaced:
        metadata["namespace"] = namespace
    if resource is NAMESPACES:
        labels = {**metadata.get("labels", {}), "kubernetes.io/metadata.name": name}
        metadata["labels"] = labels
    document = {**body, "apiVersion": resource.api_version, "kind": resource.kind}
    document["metadata"] = metadata
    if resource.has_status and not (resource.keeps_status and "status" in body):
        document["status"] = _FIRST_STATUS.get(resource.kind, {})
    return document


def _updated(resource: ApiResource, old: Json, body: Json, subresource: str) -> Json:
    """The next version of an object; raises StatusError 409 if the body is not of `old`."""
    given, kept = body.get("metadata") or {}, old["metadata"]
    name = kept["name"]
    if given.get("name", name) != name:
        raise bad_request("the name of the object does not match the name on the URL")
    for mark in ("resourceVersion", "uid"):
        if given.get(mark) not in (None, "", kept[mark]):
            raise conflict(resource.plural, name)
    if subresource:
        return {**old, "status": body.get("status", {})}
    metadata = {**given, **{mark: kept[mark] for mark in _KEPT if mark in kept}}
    document = {**body, "apiVersion": old["apiVersion"], "kind": old["kind"], "metadata": metadata}
    if resource.has_status:
        document["status"] = old.get("status", {})
    return document


def _object(document: Any) -> Json:
    if not isinstance(document, dict):
        raise bad_request("a merge patch must be a JSON object")
    return document


def _made(document: Json | None) -> Json:
    if document is None:
        raise bad_request("nothing was made")
    return document
