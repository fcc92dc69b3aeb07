"""Objects as people write them, put into the lab's API server as `kubectl apply` does."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

import yaml  # type: ignore[import-untyped]  # PyYAML has no types
from attrs import frozen

from k8s_ovs.errors import InvalidRecord
from k8s_ovs.observe.kube import Conflict, Json, Kube, NotFound
from k8s_ovs_lab.command import inside
from k8s_ovs_lab.kube.objects import Objects

__all__ = ["apply_all", "read_documents"]

#: What can be part of a path of the API.
_VERSION = re.compile(r"([a-z0-9.-]+/)?v[a-z0-9]+")
_KIND = re.compile(r"[A-Za-z0-9]+")
_NAME = re.compile(r"[a-z0-9]([a-z0-9.:-]{0,251}[a-z0-9])?")


@frozen
class _Resource:
    """What the API server calls objects of a kind. path: of the API group."""

    path: str
    plural: str
    namespaced: bool


def read_documents(text: str, label: str) -> list[Json]:
    """The objects in JSON or YAML documents, those of lists one by one.

    label: what the text is called in errors. Raises InvalidRecord.
    """
    try:
        documents = [each for each in yaml.safe_load_all(text) if each is not None]
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        said = " ".join(str(error).split())
        raise InvalidRecord(f"{label}: neither JSON nor YAML: {said}") from error
    found: list[Json] = []
    for number, document in enumerate(documents, start=1):
        named = f"{label}: document {number}"
        items = document.get("items") if _is_list(document) else [document]
        if not isinstance(items, list):
            raise InvalidRecord(f"{named}: items: found {items!r}, expected a list")
        found += [_checked(item, named) for item in items]
    if not found:
        raise InvalidRecord(f"{label}: found no object, expected one or more")
    return found


def apply_all(objects: Objects, documents: Iterable[Json]) -> Iterator[str]:
    """Create each object, or change the one that exists; "NAMESPACE/NAME created" and so on.

    Raises InvalidRecord for a kind that the server does not have, and what Kube raises.
    """
    for document in documents:
        with inside(objects.netns):
            said = _apply(objects.kube, document)
        yield said


def _apply(kube: Kube, document: Json) -> str:
    resource, metadata = _resource(kube, document), document["metadata"]
    where = resource.path
    if resource.namespaced:
        where += f"/namespaces/{metadata.get('namespace', 'default')}"
    path, name = f"{where}/{resource.plural}", metadata["name"]
    title = f"{document['kind'].lower()}/{name}"
    try:
        kube.create(path, document)
    except Conflict:
        kube.patch(f"{path}/{name}", document)
        return f"{title} configured"
    return f"{title} created"


def _resource(kube: Kube, document: Json) -> _Resource:
    version, kind = document["apiVersion"], document["kind"]
    path = f"/api/{version}" if "/" not in version else f"/apis/{version}"
    try:
        known = kube.get(path)["resources"]
    except NotFound:
        known = []
    for each in known:
        if each["kind"] == kind and "/" not in each["name"]:
            return _Resource(path, each["name"], each["namespaced"])
    raise InvalidRecord(f"{kind} of {version}: the lab's API server has no such objects")


def _is_list(document: Any) -> bool:
    return isinstance(document, dict) and document.get("kind") == "List"


def _checked(document: Any, label: str) -> Json:
    if not isinstance(document, dict):
        raise InvalidRecord(f"{label}: found {document!r}, expected an object of Kubernetes")
    metadata = document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    namespace = metadata.get("namespace", "default") if isinstance(metadata, dict) else None
    needed = {
        "apiVersion": (document.get("apiVersion"), _VERSION, "one such as v1"),
        "kind": (document.get("kind"), _KIND, "one such as Pod"),
        "metadata.name": (name, _NAME, "a name of Kubernetes"),
        "metadata.namespace": (namespace, _NAME, "a name of Kubernetes"),
    }
    for field, (value, pattern, expected) in needed.items():
        if not isinstance(value, str) or not pattern.fullmatch(value):
            found = "nothing" if value is None else repr(value)
            raise InvalidRecord(f"{label}: {field}: found {found}, expected {expected}")
    try:
        # YAML has values that JSON has not: times become strings.
        plain: Json = json.loads(json.dumps(document, default=str))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRecord(f"{label}: no JSON can say it: {error}") from error
    return plain
