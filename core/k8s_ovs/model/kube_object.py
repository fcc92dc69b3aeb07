"""What does an object of Kubernetes say in one of its fields? Says which field is wrong."""

from __future__ import annotations

from typing import Any, TypeVar

from k8s_ovs.errors import InvalidRecord, shown
from k8s_ovs.model.json_text import JSON_KINDS

__all__ = ["kube_field"]

T = TypeVar("T", bool, int, str, list[Any], dict[str, Any])


def kube_field(subject: str, found: Any, path: str, kind: type[T]) -> T | None:
    """The value at `path`, such as metadata.annotations, in the JSON object `found`; None: it is
    absent, or null, as Go writes what is empty.

    subject: whose object it is, for errors. Raises InvalidRecord that names the field.
    """
    names = path.split(".")
    for place, name in enumerate(names):
        where = ".".join(names[:place])
        if found is None:
            return None
        _expect(subject, where, found, dict)
        found = found.get(name)
    if found is not None:
        _expect(subject, path, found, kind)
    value: T | None = found
    return value


def _expect(subject: str, where: str, found: object, kind: Any) -> None:
    # True is no number.
    if not isinstance(found, kind) or (isinstance(found, bool) and kind is not bool):
        which = f"{where}: " if where else ""
        raise InvalidRecord(f"{subject}: {which}found {shown(found)}, expected {JSON_KINDS[kind]}")
