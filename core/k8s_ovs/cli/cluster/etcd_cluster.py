"""The cluster as the commands of plugins see it: etcd, and this machine's Open vSwitch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from attrs import evolve

from k8s_ovs.allocate.write import declared_kind, transaction_of
from k8s_ovs.cli.cluster.snapshot import ClusterSnapshot, opened, read_snapshot
from k8s_ovs.cli.options import EtcdLocation
from k8s_ovs.errors import InvalidRecord, PluginError
from k8s_ovs.model.codec import decode
from k8s_ovs.model.node_status import SEEN, STATUS, NodeStatus
from k8s_ovs.model.world import CONFIG, Slot
from k8s_ovs.node.switch import management_socket
from k8s_ovs.observe.etcd.client import Etcd
from k8s_ovs.ovs.openflow.client import OpenFlow
from k8s_ovs.pipeline.flow import Flow
from k8s_ovs.pipeline.wire import encode
from k8s_ovs.plugin.command.cluster import Counter, Record
from k8s_ovs.plugin.command.output import complain
from k8s_ovs.plugin.records import RecordKind
from k8s_ovs.plugin.values import Write
from k8s_ovs.plugin.view import View

__all__ = ["EtcdCluster", "opened_cluster"]


@contextmanager
def opened_cluster(plugin: str, location: EtcdLocation, ovs_run_dir: Path) -> Iterator[EtcdCluster]:
    """The cluster, until the block ends."""
    with opened(location) as etcd:
        yield EtcdCluster(plugin, location, etcd, ovs_run_dir)


class EtcdCluster:
    """A `Cluster` for the commands of one plugin. etcd: a client of the one at `location`."""

    def __init__(self, plugin: str, location: EtcdLocation, etcd: Etcd, ovs_run_dir: Path) -> None:
        self._plugin = plugin
        self._location = location
        self._etcd = etcd
        self._ovs_run_dir = ovs_run_dir
        self._snapshot: ClusterSnapshot | None = None
        self._unreadable: set[str] = set()

    def view(self) -> View:
        self._snapshot = snapshot = read_snapshot(self._location)
        self._known(snapshot)
        config = Slot(snapshot.needed_config(), revision=snapshot.revision_of_config)
        return snapshot.manager.view(snapshot.world.changed({(CONFIG, ""): config}))

    def get(self, kind: str, key: str) -> Record | None:
        declared, path = self._record(kind, key)
        found = self._etcd.get(f"{self._location.prefix}/{path}")
        if found is None:
            return None
        value = declared.decode(path, found.value)
        return None if value is None else Record(value, found.mod_revision)

    def write(self, *writes: Write) -> int | None:
        snapshot = self._known_snapshot()
        base = f"{self._location.prefix}/{snapshot.needed_config().name}"
        result = self._etcd.txn(*transaction_of(base, writes, snapshot.manager.kinds))
        return result.revision if result.succeeded else None

    def statuses(self) -> list[NodeStatus]:
        return self._said(STATUS)

    def seen(self) -> list[NodeStatus]:
        return self._said(SEEN)

    def counters(self, flows: Iterable[Flow]) -> list[Counter | None]:
        manager = self._known_snapshot().manager
        owner = manager.owner_bits(self._plugin)
        with closing(OpenFlow.connect(management_socket(self._ovs_run_dir))) as openflow:
            installed = openflow.dump()
        by_cookie = {each.cookie: Counter(each.packets, each.bytes) for each in installed}
        cookies = (encode(flow, owner, manager.pipeline).cookie for flow in flows)
        return [by_cookie.get(cookie) for cookie in cookies]

    def _said(self, kind: str) -> list[NodeStatus]:
        base = f"{self._location.prefix}/{self._known_snapshot().needed_config().name}/{kind}/"
        found, revision = self._etcd.list(base)
        told = (self._status(key, found[key].value, revision) for key in sorted(found))
        return list(filter(None, told))

    def _status(self, key: str, data: bytes, newest: int) -> NodeStatus | None:
        """What a node says; None: it cannot be read, which is told once."""
        try:
            status = decode(NodeStatus, key, data)
            # It speaks of an etcd that has been restored since: nothing of this one is applied.
            return status if status.revision <= newest else evolve(status, revision=0)
        except InvalidRecord as error:
            if key not in self._unreadable:
                self._unreadable.add(key)
                complain("warning", f"{error}; left out here")
            return None

    def _record(self, kind: str, key: str) -> tuple[RecordKind, str]:
        """The kind, and the record's path below the prefix."""
        snapshot = self._known_snapshot()
        declared = declared_kind(kind, snapshot.manager.kinds)
        return declared, f"{snapshot.needed_config().name}/{kind}/{key}"

    def _known_snapshot(self) -> ClusterSnapshot:
        """The snapshot that says how to read and write records: the last one that was read."""
        if self._snapshot is None:
            self._snapshot = read_snapshot(self._location)
        return self._known(self._snapshot)

    def _known(self, snapshot: ClusterSnapshot) -> ClusterSnapshot:
        config = snapshot.needed_config()
        if not snapshot.manager.mode:  # the plugins could not be loaded
            raise PluginError(snapshot.problems[0])
        if self._plugin not in snapshot.manager.names:
            raise PluginError(
                f"network {config.name} runs {config.plugin_name}, not {self._plugin}, whose "
                "command this is"
            )
        return snapshot
