"""Is what the API server answered its language, and which of its objects can be used?

Any HTTP server may be behind an address, and any object in a list: each is judged alone, before
somebody relies on it.
"""

from __future__ import annotations

from typing import Any

from k8s_ovs.model.json_text import parse_json, shown_json
from k8s_ovs.observe.kube.errors import Garbled

__all__ = [
    "Json",
    "flaw",
    "object_key",
    "read_event",
    "read_items",
    "read_object",
    "version_of",
]

Json = dict[str, Any]

_EVENTS = ("ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR")


def read_object(data: bytes, where: str, expected: str = "a JSON object") -> Json:
    """The object that answers a request. where: server and request, for errors. Raises Garbled."""
    try:
        found = parse_json(data)
    except ValueError as error:
        raise Garbled(
            f"{where}: not JSON ({error}): found {shown_json(data)}, expected {expected}"
        ) from error
    if not isinstance(found, dict):
        raise Garbled(f"{where}: found {shown_json(found)}, expected {expected}")
    return found


def read_items(page: Json, where: str) -> tuple[list[Any], str]:
    """A list's items, whatever each is, and where its next page begins; "": it is the last.

    Raises Garbled.
    """
    if "items" not in page:
        raise Garbled(f"{where}: found {shown_json(page)}, expected a list: an object with items")
    items = page["items"]
    if not isinstance(items, list | None):  # Go writes a list that was never made as null
        raise Garbled(f"{where}: items: found {shown_json(items)}, expected a list")
    metadata = page.get("metadata")
    if not isinstance(metadata, dict):
        raise Garbled(f"{where}: metadata: found {shown_json(metadata)}, expected an object")
    token = metadata.get("continue") or ""
    if not isinstance(token, str):
        raise Garbled(f"{where}: metadata.continue: found {shown_json(token)}, expected a string")
    return items or [], token


def read_event(line: bytes, where: str) -> tuple[str, Json]:
    """A watch event: its type and its object. Raises Garbled."""
    event = read_object(line, where, "a watch event")
    kind, document = event.get("type"), event.get("object")
    if kind not in _EVENTS:
        expected = f"expected one of {', '.join(_EVENTS)}"
        raise Garbled(f"{where}: type: found {shown_json(kind)}, {expected}")
    if not isinstance(document, dict):
        raise Garbled(f"{where}: object: found {shown_json(document)}, expected an object")
    if kind == "BOOKMARK" and not version_of(document):
        raise Garbled(f"{where}: found {shown_json(document)}, expected a resourceVersion")
    return kind, document


def flaw(document: Any) -> str:
    """Why this cannot be used as an object of Kubernetes; "": it can."""
    if not isinstance(document, dict):
        return f"found {shown_json(document)}, expected an object"
    metadata = document.get("metadata")
    if not isinstance(metadata, dict):
        return f"metadata: found {shown_json(metadata)}, expected an object"
    name, namespace = metadata.get("name"), metadata.get("namespace")
    if not isinstance(name, str) or not name:
        return f"metadata.name: found {shown_json(name)}, expected a name"
    if not isinstance(namespace, str | None):
        return f"{name}: metadata.namespace: found {shown_json(namespace)}, expected a name"
    return ""


def object_key(document: Json) -> str:
    """`namespace/name`, or `name` of what belongs to the cluster."""
    metadata = document["metadata"]
    namespace = metadata.get("namespace")
    return f"{namespace}/{metadata['name']}" if namespace else str(metadata["name"])


def version_of(document: Json) -> str:
    """The resourceVersion of an object or a list; "": it has none."""
    metadata = document.get("metadata")
    version = metadata.get("resourceVersion") if isinstance(metadata, dict) else None
    return version if isinstance(version, str) else ""
