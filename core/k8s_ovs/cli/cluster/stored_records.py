"""Which records of a network does etcd have: those that a backup holds, with their revisions."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from k8s_ovs.cli.cluster.backup_document import CONFIG_PATH, is_record
from k8s_ovs.errors import InvalidRecord
from k8s_ovs.model.codec import decode
from k8s_ovs.model.network import NetworkConfig
from k8s_ovs.observe.etcd.client import Etcd, KeyValue

__all__ = ["StoredRecords", "stored_config", "stored_records"]


@frozen
class StoredRecords:
    """What is below the prefix at one revision of etcd.

    records: by path, the configuration's among them if there is one. What is under a lease is left
    out, and what daemons say of themselves.
    """

    prefix: str
    network: str
    revision: int
    records: Mapping[str, KeyValue]


def stored_records(etcd: Etcd, prefix: str, network: str) -> StoredRecords:
    """The configuration and the records below `network`. Raises what Etcd raises."""
    found, revision = etcd.list(f"{prefix}/")
    paths = {key.removeprefix(f"{prefix}/"): found[key] for key in sorted(found)}
    records = {
        path: each
        for path, each in paths.items()
        if not each.lease and (path == CONFIG_PATH or is_record(path, network))
    }
    return StoredRecords(prefix, network, revision, records)


def stored_config(stored: StoredRecords) -> NetworkConfig | None:
    """The configuration; None: there is none that can be read."""
    found = stored.records.get(CONFIG_PATH)
    try:
        return decode(NetworkConfig, CONFIG_PATH, found.value) if found else None
    except InvalidRecord:
        return None
