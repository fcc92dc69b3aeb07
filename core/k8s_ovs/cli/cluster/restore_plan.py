"""A backup compared with what etcd has: what is written and deleted, and what is against it. Pure.

Where etcd has no configuration, the backup's is what its records are judged by.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from attrs import frozen

from k8s_ovs.cli.cluster.backup_document import CONFIG_PATH, Backup, as_stored, kept_value
from k8s_ovs.cli.cluster.config_change import obstacles
from k8s_ovs.cli.cluster.snapshot import snapshot_of
from k8s_ovs.cli.cluster.stored_records import StoredRecords, stored_config
from k8s_ovs.errors import InvalidRecord
from k8s_ovs.model.json_text import shown_json
from k8s_ovs.model.network import NetworkConfig
from k8s_ovs.model.world import SUBNETS, World
from k8s_ovs.observe.watch_event import Entry

__all__ = ["Difference", "Plan", "contradictions", "plan_of", "require_same_network"]


@frozen
class Difference:
    """A record that etcd has with another value. found: as in etcd; expected: as in the backup."""

    path: str
    found: bytes
    expected: Any

    def __str__(self) -> str:
        """Which fields differ; of what is no object the whole value."""
        try:
            found = kept_value(self.found)
        except ValueError:
            return f"{self.path}: found {shown_json(self.found)}, expected {_shown(self.expected)}"
        if not (isinstance(found, dict) and isinstance(self.expected, dict)):
            return f"{self.path}: found {_shown(found)}, expected {_shown(self.expected)}"
        names = [*self.expected, *(found.keys() - self.expected.keys())]
        fields = [
            f"{name}: found {_of(found, name)}, expected {_of(self.expected, name)}"
            for name in names
            if _of(found, name, whole=True) != _of(self.expected, name, whole=True)
        ]
        return f"{self.path}: {'; '.join(fields)}"


@frozen
class Plan:
    """What a restore does, by path. same: as in the backup already. others: etcd alone has them,
    and they stay; delete: etcd alone has them, and they go."""

    add: Mapping[str, Any]
    change: Mapping[str, Difference]
    same: tuple[str, ...]
    others: tuple[str, ...]
    delete: tuple[str, ...]

    @property
    def writes(self) -> dict[str, Any]:
        """The values to write, the configuration's last: daemons that wait for one begin when all
        records are there."""
        wanted = {**self.add, **{path: each.expected for path, each in self.change.items()}}
        config = {CONFIG_PATH: wanted.pop(CONFIG_PATH)} if CONFIG_PATH in wanted else {}
        return wanted | config


def plan_of(backup: Backup, stored: StoredRecords, *, delete_others: bool) -> Plan:
    """What is to be done so that etcd has the backup's records."""
    there = stored.records
    shared = [path for path in backup.records if path in there]
    change = {
        path: Difference(path, there[path].value, backup.records[path])
        for path in shared
        if not _is_same(there[path].value, backup.records[path])
    }
    others = tuple(path for path in there if path not in backup.records)
    return Plan(
        add={path: value for path, value in backup.records.items() if path not in there},
        change=change,
        same=tuple(path for path in shared if path not in change),
        others=() if delete_others else others,
        delete=others if delete_others else (),
    )


def require_same_network(backup: Backup, stored: StoredRecords) -> None:
    """Raises InvalidRecord where etcd has the configuration of another network."""
    running = stored_config(stored)
    if running is not None and running.name != backup.network:
        raise InvalidRecord(
            f"network: found {backup.network}, expected {running.name} as {stored.prefix}/"
            f"{CONFIG_PATH} says: this is the backup of another network"
        )


def contradictions(backup: Backup, stored: StoredRecords, plan: Plan) -> list[str]:
    """What would be wrong in etcd after the plan, and is right now, one reason per line."""
    running, new = stored_config(stored), backup.config()
    before = {path: Entry(each.value, each.mod_revision) for path, each in stored.records.items()}
    written = stored.revision + 1
    after = {path: entry for path, entry in before.items() if path not in plan.delete}
    after |= {path: Entry(as_stored(value), written) for path, value in plan.writes.items()}
    if running is None:
        before |= {CONFIG_PATH: after[CONFIG_PATH]}
    known = snapshot_of("", before, stored.revision)
    found = snapshot_of("", after, written)
    wrong = [each for each in found.problems if each not in known.problems]
    return list(dict.fromkeys([*_against_hosts(running, new, known.world), *wrong]))


def _against_hosts(running: NetworkConfig | None, new: NetworkConfig, world: World) -> list[str]:
    """Which hosts that have subnets now would be left outside by another configuration."""
    return obstacles(running, new, world.settled(SUBNETS)) if running != new else []


def _is_same(found: bytes, expected: Any) -> bool:
    try:
        return _text(kept_value(found)) == _text(expected)
    except ValueError:
        return False


def _text(value: Any) -> str:
    """Equal for equal JSON values, whatever the order of their fields; 1 is not true."""
    return json.dumps(value, sort_keys=True)


def _of(record: Mapping[str, Any], name: str, *, whole: bool = False) -> str:
    if name not in record:
        return "nothing"
    return _text(record[name]) if whole else _shown(record[name])


def _shown(value: Any) -> str:
    return shown_json(json.dumps(value).encode())
