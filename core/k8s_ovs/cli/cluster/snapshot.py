"""What etcd (and the API server) say about the network, read once, with the daemon's own code."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from attrs import evolve, frozen

from k8s_ovs.cli.options import EtcdLocation
from k8s_ovs.errors import InvalidRecord, K8sOvsError, PluginError, TimedOut
from k8s_ovs.hooks.load import load_plugins
from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.model.network import NetworkConfig
from k8s_ovs.model.node_status import NOT_RECORDS
from k8s_ovs.model.world import World
from k8s_ovs.node.kube_watches import watched_as
from k8s_ovs.node.records.ingest import ETCD, Ingest
from k8s_ovs.observe.etcd.client import Etcd
from k8s_ovs.observe.kube import Kube, KubeSettings, Listed, NotFound, list_resource
from k8s_ovs.observe.watch_event import Entry, Snapshot

__all__ = ["ClusterSnapshot", "kube_from_environment", "opened", "read_snapshot", "snapshot_of"]


@frozen
class ClusterSnapshot:
    """The records below the prefix, as the daemons understand them.

    config None: `problems` says why. manager: the configured plugins; only the core's hooks if
    those cannot be loaded. raw: every record by its path below the prefix. unknown_keys: paths
    below the network's Name that no kind of record has. revision_of_config: etcd's mod_revision of
    the key; 0: it is absent. rejected: why daemons do not follow `config`, one of `problems`; "":
    they do.

    endpoints: where etcd was asked.

    unread: which resources of Kubernetes could not be read, for which plugin, and why. left_out:
    objects of those that could be which cannot be used, and why.
    """

    key: str
    config: NetworkConfig | None
    manager: PluginManager
    world: World
    raw: Mapping[str, bytes]
    revision_of_config: int
    unknown_keys: tuple[str, ...]
    problems: tuple[str, ...]
    rejected: str = ""
    unread: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    endpoints: tuple[str, ...] = ()

    def needed_config(self) -> NetworkConfig:
        """The configuration. Raises InvalidRecord that says what to do if there is none."""
        if self.config is None:
            raise InvalidRecord(self.problems[0])
        return self.config

    def followed_config(self) -> NetworkConfig:
        """The configuration, as long as daemons follow it. Raises InvalidRecord."""
        config = self.needed_config()
        if self.rejected:
            raise InvalidRecord(self.rejected)
        return config


@contextmanager
def opened(location: EtcdLocation) -> Iterator[Etcd]:
    """A client of etcd, until the block ends."""
    etcd = Etcd(location.settings)
    try:
        yield etcd
    finally:
        etcd.close()


def kube_from_environment() -> Kube | None:
    """The API server that the environment names; None: it names none. Raises InvalidRecord."""
    settings = KubeSettings.from_environment(os.environ)
    return Kube(settings) if settings else None


def read_snapshot(
    location: EtcdLocation, kube: Kube | None = None, hostname: str = ""
) -> ClusterSnapshot:
    """Read all records. kube: where the plugins' resources are read, None: they are not.

    hostname: this node's, for resources of which a plugin wants just this node's objects.
    Raises what Etcd raises; a resource that Kube cannot read is in `unread`.
    """
    with opened(location) as etcd:
        found, revision = etcd.list(f"{location.prefix}/")
    entries = {
        key.removeprefix(f"{location.prefix}/"): Entry(each.value, each.mod_revision)
        for key, each in found.items()
    }
    endpoints = location.settings.endpoints
    snapshot = snapshot_of(location.prefix, entries, revision)
    if kube is None or snapshot.config is None:
        return evolve(snapshot, endpoints=endpoints)
    listed, unread = _resources(kube, snapshot.manager, hostname)
    others = [each.snapshot for each in listed]
    return evolve(
        snapshot_of(location.prefix, entries, revision, others),
        unread=unread,
        endpoints=endpoints,
        left_out=tuple(problem for each in listed for problem in each.left_out),
    )


def snapshot_of(
    prefix: str, entries: Mapping[str, Entry], revision: int, others: Iterable[Snapshot] = ()
) -> ClusterSnapshot:
    """The snapshot of etcd's entries, by path below the prefix, and of other sources."""
    ingest = Ingest()
    for event in (Snapshot(ETCD, entries, revision), *others):
        ingest.absorb(event)
    config, reason = ingest.config()
    problems = [] if config else [_no_config(prefix, reason, absent="config" not in entries)]
    manager, rejected = PluginManager({}), list[str]()
    world = World()
    if config:
        try:
            manager = load_plugins(config.plugin_name)
        except PluginError as error:
            rejected = [str(error)]
        else:
            rejected = [f"config: {problem}" for problem in manager.config_problems(config)]
        changes = ingest.changes(config, manager.kinds, manager.resources)
        world = world.changed(changes, revision)
    problems += [*rejected, *(problem for _, problem in sorted(world.problems.items()))]
    return ClusterSnapshot(
        key=f"{prefix}/config",
        config=config,
        manager=manager,
        world=world,
        raw={path: entry.value for path, entry in entries.items()},
        revision_of_config=entries["config"].revision if "config" in entries else 0,
        unknown_keys=_unknown_keys(config, manager, entries),
        problems=tuple(problems),
        rejected=rejected[0] if rejected else "",
    )


def _no_config(prefix: str, reason: str, *, absent: bool) -> str:
    if absent:
        return (
            f"there is no configuration at {prefix}/config; make one: k8s-ovs config set JSON; or "
            "bring it back from a backup: k8s-ovs restore FILE"
        )
    return f"{reason}; the key is {prefix}/config"


def _unknown_keys(
    config: NetworkConfig | None, manager: PluginManager, entries: Mapping[str, Entry]
) -> tuple[str, ...]:
    if config is None:
        return ()
    # Keys of the network that are not records of it.
    known = {*manager.kinds, *NOT_RECORDS}
    paths = ((path, *path.split("/"), "") for path in entries)
    return tuple(
        path for path, name, kind, *_ in paths if name == config.name and kind not in known
    )


def _resources(
    kube: Kube, manager: PluginManager, hostname: str
) -> tuple[list[Listed], tuple[str, ...]]:
    """The plugins' resources, and which of them cannot be read and why."""
    found, unread = list[Listed](), list[str]()
    for name, wanted in manager.resources.items():
        try:
            found.append(list_resource(kube, watched_as(wanted, hostname)))
        except K8sOvsError as error:
            if isinstance(error, NotFound) and wanted.optional:
                continue
            unread.append(f"{name}, which plugin {manager.readers[name]} reads: {error}")
            if isinstance(error, TimedOut):
                break  # it would take as long for each
    return found, tuple(unread)
