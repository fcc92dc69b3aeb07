"""Requests to etcd and its answers, in etcd's protobuf.

Keys are text; bytes that are not UTF-8 survive as surrogates, so no key can stop a watch.
Source: etcd's api/etcdserverpb/rpc.proto and api/mvccpb/kv.proto.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from attrs import frozen

from k8s_ovs.observe.etcd.protocol import rpc

__all__ = [
    "PROGRESS_REQUEST",
    "Absent",
    "Compare",
    "CreatedAt",
    "Delete",
    "Get",
    "KeyRange",
    "KeyValue",
    "NoneSince",
    "Operation",
    "Put",
    "TxnResult",
    "Unchanged",
    "key_bytes",
    "key_ranges",
    "key_text",
    "key_value",
    "prefix_end",
    "range_request",
    "txn_request",
    "txn_result",
    "watch_request",
]

#: Asks how far a watch stream has come.
PROGRESS_REQUEST: Any = rpc.WatchRequest(progress_request={})


@frozen
class KeyValue:
    """A key as etcd holds it. lease 0: none."""

    key: str
    value: bytes
    create_revision: int
    mod_revision: int
    lease: int = 0


@frozen
class KeyRange:
    """All keys from `start` on that are less than `end`; end b"\\0": all from `start` on."""

    start: bytes
    end: bytes


@frozen
class Absent:
    """True if there is no such key."""

    key: str


@frozen
class Unchanged:
    """True if the key was last written at this revision."""

    key: str
    mod_revision: int


@frozen
class CreatedAt:
    """True if the key has existed since this revision, whatever was written to it."""

    key: str
    create_revision: int


@frozen
class NoneSince:
    """True if no key in this range was written after the revision. It does not see deletions."""

    keys: KeyRange
    revision: int


@frozen
class Put:
    """Write a value; with a lease the key is removed when the lease ends."""

    key: str
    value: bytes
    lease: int = 0


@frozen
class Delete:
    """Remove one key; fine if it does not exist."""

    key: str


@frozen
class Get:
    """Read one key in the same transaction."""

    key: str


Compare = Absent | Unchanged | CreatedAt | NoneSince
Operation = Put | Delete | Get


@frozen
class TxnResult:
    """succeeded: all compares held, so `then` was done, else `otherwise`.

    revision: etcd's after the transaction; a key created in it has it as create_revision.
    found: what each Get of the branch that was done read.
    """

    succeeded: bool
    revision: int
    found: tuple[KeyValue | None, ...] = ()


def key_bytes(key: str) -> bytes:
    """A key as etcd stores it."""
    return key.encode("utf-8", "surrogateescape")


def key_text(key: bytes) -> str:
    """A key as we write it."""
    return key.decode("utf-8", "surrogateescape")


def prefix_end(prefix: bytes) -> bytes:
    """The first key after all that start with the prefix; a zero byte: there is none."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes([stem[-1] + 1]) if stem else b"\0"


def key_ranges(prefix: str, left_out: Iterable[str] = ()) -> tuple[KeyRange, ...]:
    """All keys that start with the prefix, but for those that start with one of `left_out`.

    etcd can watch ranges, and has no way to say "but for". left_out: whole keys' beginnings below
    the prefix, none of them the beginning of another.
    """
    ranges = []
    start = key_bytes(prefix) or b"\0"
    for hole in sorted(map(key_bytes, left_out)):
        ranges.append(KeyRange(start, hole))
        start = prefix_end(hole)
    return (*ranges, KeyRange(start, prefix_end(key_bytes(prefix))))


def key_value(message: Any) -> KeyValue:
    """An mvccpb.KeyValue as a value."""
    return KeyValue(
        key_text(message.key),
        message.value,
        message.create_revision,
        message.mod_revision,
        message.lease,
    )


def range_request(key: bytes, end: bytes = b"", *, limit: int = 0, revision: int = 0) -> Any:
    """The keys in [key, end), or just the one; of an earlier revision if one is named."""
    return rpc.RangeRequest(key=key, range_end=end, limit=limit, revision=revision)


def txn_request(
    compares: tuple[Compare, ...], then: tuple[Operation, ...], otherwise: tuple[Operation, ...]
) -> Any:
    """A TxnRequest."""
    return rpc.TxnRequest(
        compare=[_compare(compare) for compare in compares],
        success=[_operation(operation) for operation in then],
        failure=[_operation(operation) for operation in otherwise],
    )


def txn_result(response: Any) -> TxnResult:
    """A TxnResponse as a value."""
    found = tuple(
        key_value(answer.response_range.kvs[0]) if answer.response_range.kvs else None
        for answer in response.responses
        if answer.WhichOneof("response") == "response_range"
    )
    return TxnResult(response.succeeded, response.header.revision, found)


def watch_request(keys: KeyRange, revision: int) -> Any:
    """The WatchRequest for a range of keys from a revision on."""
    create = rpc.WatchCreateRequest(key=keys.start, range_end=keys.end, start_revision=revision)
    return rpc.WatchRequest(create_request=create)


def _compare(compare: Compare) -> Any:
    if isinstance(compare, NoneSince):
        return rpc.Compare(
            key=compare.keys.start,
            range_end=compare.keys.end,
            target=rpc.Compare.MOD,
            result=rpc.Compare.LESS,
            mod_revision=compare.revision + 1,
        )
    equal, key = rpc.Compare.EQUAL, key_bytes(compare.key)
    match compare:
        case Absent():
            return rpc.Compare(key=key, target=rpc.Compare.VERSION, result=equal, version=0)
        case Unchanged(mod_revision=revision):
            target = rpc.Compare.MOD
            return rpc.Compare(key=key, target=target, result=equal, mod_revision=revision)
        case CreatedAt(create_revision=revision):
            target = rpc.Compare.CREATE
            return rpc.Compare(key=key, target=target, result=equal, create_revision=revision)


def _operation(operation: Operation) -> Any:
    key = key_bytes(operation.key)
    match operation:
        case Put(value=value, lease=lease):
            return rpc.RequestOp(request_put=rpc.PutRequest(key=key, value=value, lease=lease))
        case Delete():
            return rpc.RequestOp(request_delete_range=rpc.DeleteRangeRequest(key=key))
        case Get():
            return rpc.RequestOp(request_range=range_request(key))
