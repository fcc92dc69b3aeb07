"""The cluster as the commands of plugins see it: etcd, and this machine's Open vSwitch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from k8s_ovs.cli.cluster.snapshot import Picture, opened, read_picture
from k8s_ovs.cli.host.this_node import management_socket
from k8s_ovs.cli.options import EtcdPlace
from k8s_ovs.errors import PluginError
from k8s_ovs.model.codec import decode
from k8s_ovs.model.node_status import SEEN, STATUS, NodeStatus
from k8s_ovs.observe.etcd.client import Absent, Compare, Delete, Etcd, Operation, Put, Unchanged
from k8s_ovs.ovs.openflow.flow_dump import dump_flows
from k8s_ovs.pipeline.flow import Flow
from k8s_ovs.pipeline.wire import encode
from k8s_ovs.plugin.command.cluster import Counter
from k8s_ovs.plugin.hooks import Kind, Write
from k8s_ovs.plugin.view import CONFIG, Record, View

__all__ = ["EtcdCluster", "opened_cluster"]


@contextmanager
def opened_cluster(plugin: str, place: EtcdPlace, ovs_run_dir: Path) -> Iterator[EtcdCluster]:
    """The cluster for as long as the block lasts."""
    with opened(place) as etcd:
        yield EtcdCluster(plugin, place, etcd, ovs_run_dir)


class EtcdCluster:
    """A `Cluster` for the commands of one plugin. etcd: a client of the one at `place`."""

    def __init__(self, plugin: str, place: EtcdPlace, etcd: Etcd, ovs_run_dir: Path) -> None:
        self._plugin = plugin
        self._place = place
        self._etcd = etcd
        self._ovs_run_dir = ovs_run_dir
        self._picture: Picture | None = None

    def view(self) -> View:
        self._picture = picture = read_picture(self._place)
        self._known(picture)
        config = Record(picture.needed_config(), picture.revision_of_config)
        return picture.manager.view(picture.world.changed({(CONFIG, ""): config}, 0))

    def get(self, kind: str, key: str) -> Record | None:
        declared, path = self._record(kind, key)
        found = self._etcd.get(f"{self._place.prefix}/{path}")
        if found is None:
            return None
        return declared.record(declared.decode(path, found.value), found.mod_revision)

    def write(self, *writes: Write) -> int | None:
        compares: list[Compare] = []
        operations: list[Operation] = []
        for each in writes:
            declared, path = self._record(each.kind, each.key)
            full = f"{self._place.prefix}/{path}"
            compares.append(Unchanged(full, each.revision) if each.revision else Absent(full))
            gone = each.value is None
            operations.append(Delete(full) if gone else Put(full, declared.encode(each.value)))
        result = self._etcd.txn(compares, operations)
        return result.revision if result.succeeded else None

    def statuses(self) -> list[NodeStatus]:
        return self._said(STATUS)

    def seen(self) -> list[NodeStatus]:
        return self._said(SEEN)

    def counters(self, flows: Iterable[Flow]) -> list[Counter | None]:
        manager = self._known_picture().manager
        owner = manager.owner(self._plugin)
        dumped = dump_flows(management_socket(self._ovs_run_dir))
        by_cookie = {each.cookie: Counter(each.packets, each.bytes) for each in dumped}
        cookies = (encode(flow, owner, manager.pipeline).cookie for flow in flows)
        return [by_cookie.get(cookie) for cookie in cookies]

    def _said(self, kind: str) -> list[NodeStatus]:
        base = f"{self._place.prefix}/{self._known_picture().needed_config().name}/{kind}/"
        found, _ = self._etcd.list(base)
        return [decode(NodeStatus, key, each.value) for key, each in sorted(found.items())]

    def _record(self, kind: str, key: str) -> tuple[Kind, str]:
        """The kind, and the record's path below the prefix."""
        picture = self._known_picture()
        if kind not in picture.manager.kinds:
            declared = ", ".join(picture.manager.kinds)
            raise PluginError(
                f'records of kind "{kind}" are not declared, expected one of {declared}'
            )
        return picture.manager.kinds[kind], f"{picture.needed_config().name}/{kind}/{key}"

    def _known_picture(self) -> Picture:
        """The picture that says how to read and write records: the last one that was read."""
        if self._picture is None:
            self._picture = read_picture(self._place)
        return self._known(self._picture)

    def _known(self, picture: Picture) -> Picture:
        config = picture.needed_config()
        if not picture.manager.mode:  # the plugins could not be loaded
            raise PluginError(picture.problems[0])
        if self._plugin not in picture.manager.names:
            raise PluginError(
                f"network {config.name} runs {config.plugin_name}, and not {self._plugin}, whose "
                "command this is"
            )
        return picture
