"""What a hook sees of the world, and what it looked at.

A `World` is one immutable picture. A hook gets it through a `View`, which notes each record that
was looked up, found or not, so that the core can call the hook again when one of them changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from attrs import evolve, field, frozen

from k8s_ovs.model.network import NetworkConfig
from k8s_ovs.model.node import Here, KubeNode
from k8s_ovs.model.pod import Pod
from k8s_ovs.model.subnet import HostSubnet

__all__ = [
    "CONFIG",
    "GIVEN",
    "HERE",
    "NODES",
    "PODS",
    "QUARANTINE",
    "RESERVED_KINDS",
    "SUBNETS",
    "Read",
    "Record",
    "View",
    "World",
]

CONFIG = "config"
HERE = "here"
NODES = "nodes"
PODS = "pods"
SUBNETS = "subnets"
GIVEN = "given"
#: Why a record of etcd is not taken: text, under "<kind>/<key>".
QUARANTINE = "quarantine"

#: Kinds that the core itself fills, neither from etcd nor from a resource of Kubernetes.
RESERVED_KINDS = frozenset({CONFIG, HERE, PODS, QUARANTINE})

#: (kind, key) of a record that was looked up; key None: all of that kind.
Read = tuple[str, str | None]


@frozen
class Record:
    """A value and etcd's mod_revision of it; 0 for what is not of etcd."""

    value: Any
    revision: int = 0


_NOTHING: Mapping[str, Record] = MappingProxyType({})


@frozen
class World:
    """All records that this node knows, by kind and key. Invalid ones are not here.

    revision: etcd's revision up to which this picture has seen all changes.
    """

    kinds: Mapping[str, Mapping[str, Record]] = field(factory=dict)
    revision: int = 0

    def of(self, kind: str) -> Mapping[str, Record]:
        return self.kinds.get(kind, _NOTHING)

    def changed(self, changes: Mapping[tuple[str, str], Record | None], revision: int) -> World:
        """This world after `changes`; a record None is taken out."""
        kinds = dict(self.kinds)
        for kind in {kind for kind, _ in changes}:
            kinds[kind] = dict(self.of(kind))
        for (kind, key), record in changes.items():
            if record is None:
                kinds[kind].pop(key, None)  # type: ignore[attr-defined]  # made a dict just above
            else:
                kinds[kind][key] = record  # type: ignore[index]  # made a dict just above
        return evolve(self, kinds=kinds, revision=max(revision, self.revision))


class View:
    """A world as one hook call sees it. `reads` says what was looked up."""

    def __init__(self, world: World, tenant_of: Callable[[View, Pod], int | None]) -> None:
        self._world = world
        self._tenant_of = tenant_of
        self.reads: set[Read] = set()

    @property
    def config(self) -> NetworkConfig:
        """The network's configuration. Raises LookupError where it is not known yet."""
        config: NetworkConfig = self._single(CONFIG)
        return config

    @property
    def here(self) -> Here:
        """This node's own place in the network. Raises LookupError where it is not known yet."""
        here: Here = self._single(HERE)
        return here

    def subnet(self, host_ip: str) -> HostSubnet | None:
        """The record of the host at `host_ip`."""
        found: HostSubnet | None = self.get(SUBNETS, host_ip)
        return found

    def subnets(self) -> Mapping[str, HostSubnet]:
        """All hosts' records, by address."""
        return self.all(SUBNETS)

    def nodes(self) -> Mapping[str, KubeNode]:
        """Kubernetes' nodes, by name."""
        return self.all(NODES)

    def pods(self) -> Mapping[str, Pod]:
        """The pods on this node, by the name of their port."""
        return self.all(PODS)

    def tenant_of(self, pod: Pod) -> int | None:
        """The tenant that the mode says `pod` is in; None: not known yet."""
        return self._tenant_of(self, pod)

    def get(self, kind: str, key: str) -> Any:
        """The record `key` of `kind`, or None."""
        self.reads.add((kind, key))
        record = self._world.of(kind).get(key)
        return None if record is None else record.value

    def revision(self, kind: str, key: str) -> int:
        """etcd's mod_revision of a record; 0 where there is none. What a `Write` expects."""
        self.reads.add((kind, key))
        record = self._world.of(kind).get(key)
        return 0 if record is None else record.revision

    def all(self, kind: str) -> Mapping[str, Any]:
        """All records of `kind`, by key."""
        self.reads.add((kind, None))
        return {key: record.value for key, record in self._world.of(kind).items()}

    def _single(self, kind: str) -> Any:
        record = self.get(kind, "")
        if record is None:
            raise LookupError(f"{kind} of this network is not known yet")
        return record
