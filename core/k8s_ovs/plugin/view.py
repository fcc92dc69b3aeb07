"""What a hook sees of the world, and what it looked at.

A `World` is one immutable picture. A hook gets it through a `View`, which notes each record that
was looked up, found or not, so that the core can call the hook again when one of them changes.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from ipaddress import IPv4Network
from types import MappingProxyType
from typing import Any

from attrs import evolve, field, frozen

from k8s_ovs.model.network import NetworkConfig
from k8s_ovs.model.node import KubeNode, LocalNode
from k8s_ovs.model.pod import Pod
from k8s_ovs.model.subnet import HostSubnet

__all__ = [
    "CONFIG",
    "CONNECTED",
    "GIVEN",
    "LOCAL_NODE",
    "NODES",
    "PODS",
    "QUARANTINE",
    "REQUESTS",
    "RESERVED_KINDS",
    "SUBNETS",
    "Read",
    "Record",
    "Tag",
    "View",
    "World",
]

CONFIG = "config"
LOCAL_NODE = "here"
NODES = "nodes"
PODS = "pods"
SUBNETS = "subnets"
GIVEN = "given"
#: Why a record of etcd is not taken: text, under "<kind>/<key>".
QUARANTINE = "quarantine"
#: Records that ask for something (see `Kind.asks`) and are not answered: under "<kind>/<key>".
REQUESTS = "requests"
#: Whether the API server is heard now, of each resource by its name.
CONNECTED = "sights"

#: Kinds that the core itself fills, neither from etcd nor from a resource of Kubernetes.
RESERVED_KINDS = frozenset({CONFIG, LOCAL_NODE, PODS, QUARANTINE, REQUESTS, CONNECTED})


@frozen
class Tag:
    """What records of a kind are found by, beside their keys (see `Kind.index`)."""

    value: Hashable


#: (kind, key) of a record that was looked up; a Tag: all that have it; None: all of that kind.
Read = tuple[str, str | Tag | None]


@frozen
class Record:
    """A value, etcd's mod_revision of it (0 for what is not of etcd), and its tag if it has one."""

    value: Any
    revision: int = 0
    tag: Tag | None = None


_NOTHING: Mapping[str, Record] = MappingProxyType({})
_NO_KEYS: frozenset[str] = frozenset()


@frozen
class World:
    """All records that this node knows, by kind and key. Invalid ones are not here.

    revision: etcd's revision up to which this picture has seen all changes.
    tagged: keys of records by kind and tag.
    """

    kinds: Mapping[str, Mapping[str, Record]] = field(factory=dict)
    revision: int = 0
    tagged: Mapping[tuple[str, Tag], frozenset[str]] = field(factory=dict, eq=False)

    def of(self, kind: str) -> Mapping[str, Record]:
        return self.kinds.get(kind, _NOTHING)

    def keys_of(self, kind: str, tag: Tag) -> frozenset[str]:
        """Keys of the records of `kind` that have `tag`."""
        return self.tagged.get((kind, tag), _NO_KEYS)

    def changed(self, changes: Mapping[tuple[str, str], Record | None], revision: int) -> World:
        """This world after `changes`; a record None is taken out."""
        touched = {kind: dict(self.of(kind)) for kind in {kind for kind, _ in changes}}
        tagged = dict(self.tagged)
        for (kind, key), record in changes.items():
            before = touched[kind].pop(key, None)
            if before is not None and before.tag is not None:
                tagged[kind, before.tag] = tagged.get((kind, before.tag), _NO_KEYS) - {key}
            if record is not None:
                touched[kind][key] = record
            if record is not None and record.tag is not None:
                tagged[kind, record.tag] = tagged.get((kind, record.tag), _NO_KEYS) | {key}
        return evolve(
            self,
            kinds={**self.kinds, **touched},
            revision=max(revision, self.revision),
            tagged={which: keys for which, keys in tagged.items() if keys},
        )


class View:
    """A world as one hook call sees it. `reads` says what was looked up.

    holders: of kinds whose records keep parts of Network (see `Kind.holds`), what each keeps.
    """

    def __init__(
        self,
        world: World,
        tenant_of: Callable[[View, Pod], int | None],
        vni_of: Callable[[View, Pod], int | None],
        holders: Mapping[str, Callable[[Any], IPv4Network | None]] = MappingProxyType({}),
    ) -> None:
        self._world = world
        self._tenant_of = tenant_of
        self._vni_of = vni_of
        self._holders = holders
        self.reads: set[Read] = set()

    @property
    def config(self) -> NetworkConfig:
        """The network's configuration. Raises LookupError where it is not known yet."""
        config: NetworkConfig = self._single(CONFIG)
        return config

    @property
    def local_node(self) -> LocalNode:
        """This node's own place in the network. Raises LookupError where it is not known yet."""
        local_node: LocalNode = self._single(LOCAL_NODE)
        return local_node

    def subnet(self, host_ip: str) -> HostSubnet | None:
        """The record of the host at `host_ip`."""
        found: HostSubnet | None = self.get(SUBNETS, host_ip)
        return found

    def subnets(self) -> Mapping[str, HostSubnet]:
        """All hosts' records, by address."""
        return self.all(SUBNETS)

    def taken(self, besides: str = "") -> Mapping[IPv4Network, str]:
        """Parts of Network that are not free, and the keys of the records that hold them.

        besides: a key whose own records do not count.
        """
        return {
            held: key
            for kind, holds in self._holders.items()
            for key, value in self.all(kind).items()
            if key != besides and (held := holds(value)) is not None
        }

    def nodes(self) -> Mapping[str, KubeNode]:
        """Kubernetes' nodes, by name."""
        return self.all(NODES)

    def pods(self) -> Mapping[str, Pod]:
        """The pods on this node, by the name of their port."""
        return self.all(PODS)

    def tenant_of(self, pod: Pod) -> int | None:
        """The tenant that the mode says `pod` is in; None: not known yet."""
        return self._tenant_of(self, pod)

    def vni_of(self, pod: Pod) -> int | None:
        """The number that the pod's packets carry; None: not known yet."""
        return self._vni_of(self, pod)

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

    def request(self, kind: str, key: str) -> Any:
        """The record `key` of `kind` as somebody asks for it, not answered yet; or None."""
        return self.get(REQUESTS, f"{kind}/{key}")

    def written(self, kind: str, key: str) -> int:
        """etcd's mod_revision of what is under the key now: a good record, one that asks for
        something, or one that cannot be read; 0: nothing is there."""
        unsettled = (self.revision(each, f"{kind}/{key}") for each in (QUARANTINE, REQUESTS))
        return max(*unsettled, self.revision(kind, key))

    def problem(self, kind: str, key: str) -> str | None:
        """Why what is written under the key cannot be read, and is not taken; None: it can."""
        found: str | None = self.get(QUARANTINE, f"{kind}/{key}")
        return found

    def connected(self, resource: str) -> bool | None:
        """Whether records of this resource of Kubernetes are up to date: False while the API server
        is away, None until it is known."""
        seen: bool | None = self.get(CONNECTED, resource)
        return seen

    def having(self, kind: str, index: Hashable) -> Mapping[str, Any]:
        """Records of `kind` for which the kind's `index` is this value, by key.

        Only a change among those makes the hook be called again.
        """
        tag = Tag(index)
        self.reads.add((kind, tag))
        records = self._world.of(kind)
        return {key: records[key].value for key in self._world.keys_of(kind, tag)}

    def _single(self, kind: str) -> Any:
        record = self.get(kind, "")
        if record is None:
            raise LookupError(f"{kind} of this network is not known yet")
        return record
