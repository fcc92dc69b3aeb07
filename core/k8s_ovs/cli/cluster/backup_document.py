"""What does a backup say? One JSON document, and whether its records are valid. Pure.

Paths are keys below etcd's prefix: `config`, and `<Name>/<kind>/<key>`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from attrs import field, frozen

from k8s_ovs.cli.cluster.snapshot import snapshot_of
from k8s_ovs.errors import InvalidRecord
from k8s_ovs.model.checked import is_utf8
from k8s_ovs.model.codec import decode, named
from k8s_ovs.model.json_text import parse_json, shown_json
from k8s_ovs.model.network import NetworkConfig
from k8s_ovs.model.node_status import NOT_RECORDS
from k8s_ovs.observe.watch_event import Entry

__all__ = [
    "CONFIG_PATH",
    "FORMAT",
    "Backup",
    "as_stored",
    "backup_text",
    "counted",
    "is_record",
    "kept_value",
    "kind_of",
    "parse_backup",
    "record_problems",
]

CONFIG_PATH = "config"

#: The one format that there is. A document with another number is refused.
FORMAT = 1

#: RFC 1952: how a gzip file begins.
_GZIP = b"\x1f\x8b"
#: go.etcd.io/bbolt, type meta: its magic number, after the header of the first page.
_BBOLT, _BBOLT_AT = b"\xed\xda\x0c\xed", 16
#: By these it is known that a file is what belongs into the key `config`.
_CONFIG_FIELDS = frozenset({"Name", "Network"})


@frozen
class Backup:
    """All records of a network as they were at one revision of etcd.

    time: when it was written (RFC 3339, UTC). version: of the k8s-ovs that wrote it. records: JSON
    values by path.
    """

    format: int = named("format")
    network: str = named("network")
    revision: int = named("revision")
    time: str = named("time")
    version: str = named("version")
    records: Mapping[str, Any] = named("records", factory=dict)
    extra: Mapping[str, Any] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        """Raises ValueError that names the field, what was found and what was expected."""
        if self.format != FORMAT:
            raise ValueError(f"format: found {self.format}, expected {FORMAT}")
        if not isinstance(self.records, dict):
            found = shown_json(self.records)
            raise ValueError(f"records: found {found}, expected an object of records by key")
        if CONFIG_PATH not in self.records:
            raise ValueError(f'records: found no "{CONFIG_PATH}", expected the configuration')
        for path in self.records:
            if not (path == CONFIG_PATH or (is_record(path, self.network) and is_utf8(path))):
                raise ValueError(
                    f"records: found the key {json.dumps(path)}, expected {CONFIG_PATH} or a "
                    f"record below {self.network}/"
                )

    def config(self) -> NetworkConfig:
        """The configuration. Raises InvalidRecord."""
        config = decode(NetworkConfig, CONFIG_PATH, as_stored(self.records[CONFIG_PATH]))
        if config.name != self.network:
            raise InvalidRecord(
                f"{CONFIG_PATH}: Name: found {config.name}, expected {self.network} as the "
                "backup's network"
            )
        return config


def parse_backup(label: str, data: bytes) -> Backup:
    """The document in `data`. label: what it is called in errors. Raises InvalidRecord."""
    if other := _other_than_backup(label, data):
        found, instead = other
        raise InvalidRecord(
            f"{label}: not a backup of k8s-ovs: found {found}, expected the JSON that `k8s-ovs "
            f"backup` writes{instead}"
        )
    return decode(Backup, label, data)


def _other_than_backup(label: str, data: bytes) -> tuple[str, str] | None:
    """What a file is that people take for a backup, and what is to be done with it."""
    if not data.strip():
        return "nothing", ""
    if data.startswith(_GZIP):
        return "a gzip file", f": gunzip -c {label} | k8s-ovs restore -"
    if data[_BBOLT_AT:].startswith(_BBOLT):
        return "a snapshot of etcd", f": etcdctl snapshot restore {label}"
    try:
        data.decode()
    except UnicodeDecodeError:
        return f"{len(data)} bytes that are no text", ""
    return _other_json(label, data)


def _other_json(label: str, data: bytes) -> tuple[str, str] | None:
    try:
        found = parse_json(data)
    except ValueError:
        return None
    if isinstance(found, dict) and found.keys() >= _CONFIG_FIELDS and "records" not in found:
        return "a network's configuration", f": k8s-ovs config set --file {label}"
    return None


def backup_text(backup: Backup) -> str:
    """The document, one line per record; ASCII, with a line break at its end."""
    head = {
        "format": backup.format,
        "network": backup.network,
        "revision": backup.revision,
        "time": backup.time,
        "version": backup.version,
    }
    lines = [f"  {json.dumps(name)}: {json.dumps(value)}," for name, value in head.items()]
    records = [
        f"    {json.dumps(path)}: {json.dumps(value)}" for path, value in backup.records.items()
    ]
    return "\n".join(["{", *lines, '  "records": {', ",\n".join(records), "  }", "}", ""])


def record_problems(backup: Backup) -> list[str]:
    """Why daemons would not take these records, one reason per line, each with its key."""
    try:
        backup.config()
    except InvalidRecord as error:
        return [str(error)]
    entries = {
        path: Entry(as_stored(value), revision)
        for revision, (path, value) in enumerate(backup.records.items(), start=1)
    }
    return list(snapshot_of("", entries, len(entries)).problems)


def kept_value(data: bytes) -> Any:
    """The JSON value in a record. Raises ValueError where a backup cannot hold it."""
    value = parse_json(data)
    # What is valid by itself may be too deep in a document, or no JSON: 1e999 is read as infinite.
    parse_json(json.dumps([[value]], allow_nan=False))
    return value


def as_stored(value: Any) -> bytes:
    """A JSON value as etcd gets it."""
    return json.dumps(value, separators=(",", ":")).encode()


def is_record(path: str, network: str) -> bool:
    """Whether a path is below the network's Name, and no daemon writes it anew by itself."""
    name, slash, _ = path.partition("/")
    return bool(slash) and name == network and kind_of(path) not in NOT_RECORDS


def kind_of(path: str) -> str:
    """The kind of record that is there, as etcd's keys name it; `config` for the configuration."""
    return path if path == CONFIG_PATH else path.split("/")[1]


def counted(paths: Iterable[str]) -> Counter[str]:
    """How many records there are of each kind, the configuration's first."""
    return Counter(map(kind_of, sorted(paths, key=lambda path: (path != CONFIG_PATH, path))))
