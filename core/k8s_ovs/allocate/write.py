"""Writes of records as one transaction of etcd: it holds only while every record is as it was."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence

import structlog

from k8s_ovs.errors import PluginError
from k8s_ovs.observe.etcd.client import Absent, Compare, Delete, Etcd, Operation, Put, Unchanged
from k8s_ovs.plugin.records import RecordKind
from k8s_ovs.plugin.values import Write

__all__ = ["declared_kind", "put_back", "transaction_of"]

_log = structlog.get_logger(__name__)

#: etcd takes 128 operations at once.
_AT_ONCE = 100


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


def put_back(etcd: Etcd, leading: Compare, lost: Mapping[str, bytes]) -> None:
    """Write records that etcd has lost, as they were; what is there again stays as it is.

    leading: holds as long as the writer is the leader. Raises K8sOvsError.
    """
    begin, count = time.monotonic(), 0
    left = deque(_batched(sorted(lost), _AT_ONCE))
    while left:
        keys = left.popleft()
        put = [Put(key, lost[key]) for key in keys]
        if etcd.txn([leading, *map(Absent, keys)], put).succeeded:
            count += len(keys)
        elif not etcd.txn([leading], ()).succeeded:
            return
        elif len(keys) > 1:
            left.extend((key,) for key in keys)
    milliseconds = round((time.monotonic() - begin) * 1e3, 1)
    _log.warning("put back what etcd had lost", records=count, of=len(lost), ms=milliseconds)


def _batched(keys: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """`keys` in order, so many at a time."""
    yield from (keys[at : at + size] for at in range(0, len(keys), size))


def declared_kind(kind: str, kinds: Mapping[str, RecordKind]) -> RecordKind:
    """The kind of this name. Raises PluginError where no plugin declares it."""
    if kind not in kinds:
        raise PluginError(
            f'records of kind "{kind}" are not declared, expected one of {", ".join(kinds)}'
        )
    return kinds[kind]
