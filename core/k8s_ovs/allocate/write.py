"""Writes of records as one transaction of etcd: it holds only while every record is as it was."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from k8s_ovs.errors import PluginError
from k8s_ovs.observe.etcd.client import Absent, Compare, Delete, Operation, Put, Unchanged
from k8s_ovs.plugin.records import RecordKind
from k8s_ovs.plugin.values import Write

__all__ = ["declared_kind", "transaction_of"]


def transaction_of(
    base: str, writes: Iterable[Write], kinds: Mapping[str, RecordKind]
) -> tuple[list[Compare], list[Operation]]:
    """What is compared, and what is done then.

    base: the network's prefix, `<prefix>/<Name>`. Raises PluginError for a kind that no plugin
    declares and a value that it cannot write.
    """
    compares: list[Compare] = []
    operations: list[Operation] = []
    for write in writes:
        kind = declared_kind(write.kind, kinds)
        key = f"{base}/{write.kind}/{write.key}"
        compares.append(Unchanged(key, write.revision) if write.revision else Absent(key))
        gone = write.value is None
        operations.append(Delete(key) if gone else Put(key, kind.encode(write.value)))
    return compares, operations


def declared_kind(kind: str, kinds: Mapping[str, RecordKind]) -> RecordKind:
    """The kind of this name. Raises PluginError where no plugin declares it."""
    if kind not in kinds:
        raise PluginError(
            f'records of kind "{kind}" are not declared, expected one of {", ".join(kinds)}'
        )
    return kinds[kind]
