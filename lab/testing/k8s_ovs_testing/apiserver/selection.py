"""Which objects does a request mean?"""

from __future__ import annotations

from typing import Any

from attrs import frozen

from k8s_ovs_testing.apiserver.resource import ApiResource
from k8s_ovs_testing.apiserver.status import Json, bad_request

__all__ = ["Selection", "select"]

_FIELDS_OF_ALL = frozenset({"metadata.name", "metadata.namespace"})


@frozen
class _Term:
    """path equals value, or does not; value None: is absent, or is there."""

    path: tuple[str, ...]
    equal: bool
    value: str | None

    def holds(self, document: Json, absent: str | None) -> bool:
        found = _at(document, self.path)
        text = absent if found is None else _text(found)
        return (text == self.value) is self.equal


@frozen
class Selection:
    """Objects of a resource: of a namespace (None: of all), with selectors that all hold."""

    resource: ApiResource
    namespace: str | None = None
    labels: tuple[_Term, ...] = ()
    fields: tuple[_Term, ...] = ()

    def has(self, document: Json | None) -> bool:
        """Whether the object is there and meant."""
        if document is None:
            return False
        if self.namespace is not None and document["metadata"]["namespace"] != self.namespace:
            return False
        # A label that is absent is not the same as an empty one; a field that is absent is.
        return all(term.holds(document, None) for term in self.labels) and all(
            term.holds(document, "") for term in self.fields
        )


def select(resource: ApiResource, namespace: str | None, labels: str, fields: str) -> Selection:
    """A selection from the text of labelSelector and fieldSelector; raises StatusError."""
    return Selection(
        resource,
        namespace,
        tuple(_label_term(text) for text in _terms(labels)),
        tuple(_field_term(resource, text) for text in _terms(fields)),
    )


def _terms(text: str) -> list[str]:
    return [term.strip() for term in text.split(",") if term.strip()]


def _label_term(text: str) -> _Term:
    labels = ("metadata", "labels")
    if "(" in text or " " in text:
        raise bad_request(f"label selector {text!r}: sets are not served, only =, !=, KEY, !KEY")
    if "=" not in text:
        absent = text.startswith("!")
        return _Term((*labels, text.removeprefix("!")), absent, None)
    key, equal, value = _split(text)
    return _Term((*labels, key), equal, value)


def _field_term(resource: ApiResource, text: str) -> _Term:
    if "=" not in text:
        raise bad_request(f"field selector {text!r}: expected FIELD=VALUE or FIELD!=VALUE")
    key, equal, value = _split(text)
    if key not in resource.fields | _FIELDS_OF_ALL:
        raise bad_request(f"field label not supported: {key}")
    return _Term(tuple(key.split(".")), equal, value)


def _split(text: str) -> tuple[str, bool, str]:
    key, _, value = text.partition("=")
    return key.removesuffix("!"), not key.endswith("!"), value.removeprefix("=")


def _at(document: Any, path: tuple[str, ...]) -> Any:
    for step in path:
        if not isinstance(document, dict):
            return None
        document = document.get(step)
    return document


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
