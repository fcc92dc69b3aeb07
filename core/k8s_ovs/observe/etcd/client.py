"""etcd v3: read, write and compare-and-swap, over several endpoints. Nobody else sees protobuf.

Needs etcd 3.4 or later. Any number of threads can use this module.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from k8s_ovs.errors import K8sOvsError, Unavailable
from k8s_ovs.observe.etcd.connection import EtcdConnection, Metadata
from k8s_ovs.observe.etcd.errors import EtcdFull, is_compacted, is_gone
from k8s_ovs.observe.etcd.messages import (
    Absent,
    Compare,
    CreatedAt,
    Delete,
    Get,
    KeyRange,
    KeyValue,
    NoneSince,
    Operation,
    Put,
    TxnResult,
    Unchanged,
    key_bytes,
    key_ranges,
    key_value,
    range_request,
    txn_request,
    txn_result,
)
from k8s_ovs.observe.etcd.peers import Peer
from k8s_ovs.observe.etcd.protocol import rpc
from k8s_ovs.observe.etcd.settings import EtcdSettings, parse_endpoints

__all__ = [
    "Absent",
    "Compare",
    "CreatedAt",
    "Delete",
    "Etcd",
    "EtcdFull",
    "EtcdSettings",
    "Get",
    "KeyValue",
    "NoneSince",
    "Operation",
    "Put",
    "TxnResult",
    "Unchanged",
    "key_ranges",
    "parse_endpoints",
]

_PAGE = 2000


class Etcd:
    """Each call takes the settings' timeout at most and raises TimedOut, Unavailable (no endpoint
    answers; names them), InvalidRecord (user or password refused), EtcdFull (no space for a write)
    or K8sOvsError (etcd refuses).

    After Unavailable a write may or may not have been done, and a reported write may have been done
    twice: guard with compares what must not be.
    """

    def __init__(self, settings: EtcdSettings) -> None:
        self.settings = settings
        self.connection = EtcdConnection(settings)

    def close(self) -> None:
        """Close the connection; stop watches and elections first."""
        self.connection.close()

    def get(self, key: str) -> KeyValue | None:
        """The key as it is now (a linearizable read)."""
        response = self._range(f"get {key}", range_request(key_bytes(key)))
        return key_value(response.kvs[0]) if response.kvs else None

    def get_at(self, key: str, revision: int) -> KeyValue | None:
        """The key as it was at a revision. K8sOvsError also where etcd has forgotten that one, or
        has never reached it."""
        request = range_request(key_bytes(key), revision=revision)
        response = self._range(f"get {key} at revision {revision}", request)
        return key_value(response.kvs[0]) if response.kvs else None

    def list(self, prefix: str, left_out: Iterable[str] = ()) -> tuple[dict[str, KeyValue], int]:
        """All keys that start with the prefix, by full key, and the revision at which they were so.

        left_out: beginnings of keys that are not read. Read in pages of one and the same revision;
        read again when that is compacted meanwhile.
        """
        ranges = key_ranges(prefix, left_out)
        while True:
            try:
                return self._list(f"list {prefix}", ranges)
            except K8sOvsError as error:
                if not is_compacted(error.__cause__):
                    raise

    def put(self, key: str, value: bytes, lease: int = 0) -> int:
        """Write the key whatever it was; the new revision."""
        return self.txn((), (Put(key, value, lease),)).revision

    def delete(self, key: str) -> bool:
        """Remove the key; False: there was none."""
        request = rpc.DeleteRangeRequest(key=key_bytes(key))
        response = self.connection.call(
            f"delete {key}",
            lambda peer, limit, metadata: peer.kv.DeleteRange(
                request, timeout=limit, metadata=metadata
            ),
        )
        return bool(response.deleted)

    def txn(
        self,
        compares: Iterable[Compare],
        then: Iterable[Operation],
        otherwise: Iterable[Operation] = (),
    ) -> TxnResult:
        """Do all of `then` if all compares hold, else all of `otherwise`; at once or not at all."""
        operations = tuple(then)
        request = txn_request(tuple(compares), operations, tuple(otherwise))
        keys = " ".join(dict.fromkeys(operation.key for operation in operations))
        response = self.connection.call(
            f"transaction {keys}",
            lambda peer, limit, metadata: peer.kv.Txn(request, timeout=limit, metadata=metadata),
        )
        return txn_result(response)

    def lease(self, ttl: int) -> int:
        """The id of a new lease of `ttl` seconds."""
        request = rpc.LeaseGrantRequest(TTL=ttl)
        response = self.connection.call(
            f"lease of {ttl} s",
            lambda peer, limit, metadata: peer.lease.LeaseGrant(
                request, timeout=limit, metadata=metadata
            ),
        )
        return int(response.ID)

    def keep_alive(self, lease: int) -> int:
        """Renew the lease; how many seconds it has now, 0: it is gone."""
        request = rpc.LeaseKeepAliveRequest(ID=lease)

        def ask(peer: Peer, limit: float, metadata: Metadata) -> Any:
            # etcd has this as a stream only; one request and its answer are taken from it.
            stream = peer.lease.LeaseKeepAlive(iter((request,)), timeout=limit, metadata=metadata)
            response = next(stream, None)
            stream.cancel()
            if response is None:
                raise Unavailable(f"etcd at {peer.endpoint} ended a keep-alive without an answer")
            return response

        return int(self.connection.call(f"keep-alive of lease {lease:x}", ask).TTL)

    def lease_of(self, key: str, ttl: int) -> int:
        """The lease that a key is under, renewed; a new one of `ttl` seconds where it has none."""
        found = self.get(key)
        if found is not None and found.lease and self.keep_alive(found.lease):
            return found.lease
        return self.lease(ttl)

    def revoke(self, lease: int) -> None:
        """End the lease and its keys; fine if it is gone."""
        request = rpc.LeaseRevokeRequest(ID=lease)
        try:
            self.connection.call(
                f"revoke of lease {lease:x}",
                lambda peer, limit, metadata: peer.lease.LeaseRevoke(
                    request, timeout=limit, metadata=metadata
                ),
            )
        except K8sOvsError as error:
            if not is_gone(error.__cause__):
                raise

    def check_space(self) -> None:
        """Raises EtcdFull if etcd refuses writes. One member tells what it knows, so it is
        cheap; of an etcd that we may not ask nothing is said."""
        request, asked = rpc.StatusRequest(), list[str]()

        def ask(peer: Peer, limit: float, metadata: Metadata) -> Any:
            asked.append(peer.endpoint)
            return peer.maintenance.Status(request, timeout=limit, metadata=metadata)

        try:
            response = self.connection.call("status", ask)
        except Unavailable:
            raise
        except K8sOvsError:
            return
        # Alarms are among the errors, as "memberID:... alarm:NOSPACE".
        if any("alarm:NOSPACE" in error for error in response.errors):
            raise EtcdFull(asked[-1])

    def _range(self, what: str, request: Any) -> Any:
        return self.connection.call(
            what,
            lambda peer, limit, metadata: peer.kv.Range(request, timeout=limit, metadata=metadata),
        )

    def _list(self, what: str, ranges: tuple[KeyRange, ...]) -> tuple[dict[str, KeyValue], int]:
        found: dict[str, KeyValue] = {}
        revision = 0
        for keys in ranges:
            start, more = keys.start, True
            while more:
                request = range_request(start, keys.end, limit=_PAGE, revision=revision)
                response = self._range(what, request)
                revision = revision or response.header.revision
                for message in response.kvs:
                    entry = key_value(message)
                    found[entry.key] = entry
                more = response.more
                if more and not (response.kvs and response.kvs[-1].key >= start):
                    raise K8sOvsError(f"{what}: etcd has more keys and names none of them")
                start = response.kvs[-1].key + b"\0" if more else start
        return found, revision
