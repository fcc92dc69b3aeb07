"""What a hook sees of the world, and what it looked at.

A hook gets the world through a `View`, which notes each record that was looked up, found or not, so
that the core can call the hook again when one of them changes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping
from ipaddress import IPv4Network
from types import MappingProxyType
from typing import Any, TypeVar

from attrs import field, frozen

from k8s_ovs.errors import PluginError, shown
from k8s_ovs.model.network import NetworkConfig
from k8s_ovs.model.node import NODE_ADDRESS, KubeNode, LocalNode
from k8s_ovs.model.pod import Pod
from k8s_ovs.model.subnet import HELD_IN, WIDE, HostSubnet, blocks_of
from k8s_ovs.model.world import (
    ASKED,
    CONFIG,
    CONNECTED,
    DELETED,
    LOCAL_NODE,
    NODES,
    PODS,
    PROBLEM,
    REVISION,
    SETTLED,
    SLOT,
    SUBNETS,
    UNSYNCED,
    Deleted,
    Read,
    Slot,
    Tag,
    World,
)
from k8s_ovs.pipeline.table import Pipeline
from k8s_ovs.plugin.early_reads import EarlyReads
from k8s_ovs.plugin.question import Each, Query, Question

__all__ = ["Answering", "PluginSet", "View"]

T = TypeVar("T")

#: Answers a question that the view asks about its world, and notes there what is not listed yet.
Answering = Callable[[Question, "View"], Any]


@frozen
class PluginSet:
    """What a view needs to know of the plugins that run.

    tenant_of, vni_of: the mode's answers. holds: of kinds whose records keep parts of Network, what
    each keeps (see `RecordKind.holds`). for_allocation: kinds that only allocations look at.
    """

    tenant_of: Callable[[View, Pod], int | None]
    vni_of: Callable[[View, Pod], int | None]
    pipeline: Pipeline
    holds: Mapping[str, Callable[[Any], IPv4Network | None]] = field(
        factory=lambda: MappingProxyType({})
    )
    for_allocation: frozenset[str] = frozenset()


class View:
    """A world as one hook call sees it. `reads` and `asked` say what was looked up, and in which
    order what was asked; `early`, what was looked up too early. answering: remembers answers; None:
    each is made anew. hidden: kinds at which its hook may not look. away: resources at which it is
    too early to look although they have been listed."""

    def __init__(
        self,
        world: World,
        plugins: PluginSet,
        answering: Answering | None = None,
        hidden: frozenset[str] = frozenset(),
        away: frozenset[str] = frozenset(),
    ) -> None:
        self._world = world
        self._plugins = plugins
        self._answering = answering
        self._hidden = hidden
        unsynced: Collection[str] = world.settled(UNSYNCED)
        self._unsynced = away.union(unsynced) if away else unsynced
        self.early = EarlyReads(self._unsynced)
        self.reads: set[Read] = set()
        self.asked: dict[Question, None] = {}

    @property
    def config(self) -> NetworkConfig:
        """The network's configuration. Raises LookupError where it is not known yet."""
        config: NetworkConfig = self._single(CONFIG)
        return config

    @property
    def local_node(self) -> LocalNode:
        """This node: its subnet, address, ports. Raises LookupError where it is not known yet."""
        local_node: LocalNode = self._single(LOCAL_NODE)
        return local_node

    @property
    def pipeline(self) -> Pipeline:
        """All tables, the plugins' among them."""
        return self._plugins.pipeline

    def subnet(self, host_ip: str) -> HostSubnet | None:
        """The record of the host at `host_ip`."""
        found: HostSubnet | None = self.get(SUBNETS, host_ip)
        return found

    def subnets(self) -> Mapping[str, HostSubnet]:
        """All hosts' records, by address."""
        return self.all(SUBNETS)

    def taken(self, besides: str = "") -> Mapping[IPv4Network, str]:
        """Parts of Network that are not free, and the keys of the records that hold them. Only
        where allocations are made.

        besides: a key whose own records do not count.
        """
        taken: dict[IPv4Network, str] = {}
        for kind, holds in self._plugins.holds.items():
            for key, value in self.all(kind).items():
                if key != besides and (held := holds(value)) is not None:
                    taken.setdefault(held, key)
        return taken

    def taken_near(self, network: IPv4Network) -> Iterator[IPv4Network]:
        """Of parts of Network that are not free, all that overlap `network`, and neighbours. Only
        a change among those makes the hook be called again."""
        blocks = tuple(blocks_of(network))
        if WIDE in blocks:
            yield from self.taken()
            return
        for kind, holds in self._plugins.holds.items():
            for block in (*blocks, WIDE):
                for value in self.having(kind, HELD_IN, block).values():
                    if (held := holds(value)) is not None:
                        yield held

    def deleted(self, kind: str) -> Mapping[str, Deleted]:
        """Records of `kind` that were deleted within the hold-down and are not there again, by key.
        Only where allocations are made."""
        found: Mapping[str, Deleted] | None = self.get(DELETED, kind)
        return found or {}

    def nodes(self) -> Mapping[str, KubeNode]:
        """Kubernetes' nodes, by name. Only where allocations are made."""
        return self.all(NODES)

    def nodes_at(self, address: str) -> Mapping[str, KubeNode]:
        """Those of Kubernetes' nodes that have this address, by name. As `nodes`, and only a change
        among them makes the hook be called again."""
        return self.having(NODES, NODE_ADDRESS, address)

    def pods(self) -> Mapping[str, Pod]:
        """The pods on this node, by the name of their port."""
        return self.all(PODS)

    def tenant_of(self, pod: Pod) -> int | None:
        """The tenant that the mode says `pod` is in; None: not known yet."""
        with self.early.apart():
            return self._plugins.tenant_of(self, pod)

    def vni_of(self, pod: Pod) -> int | None:
        """The VNI that the pod's packets carry; None: not known yet."""
        with self.early.apart():
            return self._plugins.vni_of(self, pod)

    def get(self, kind: str, key: str) -> Any:
        """The settled value of the record `key` of `kind`, or None."""
        return self._read(kind, key, SETTLED).settled

    def request(self, kind: str, key: str) -> Any:
        """The record `key` of `kind` as somebody asks for it, not answered yet; or None."""
        return self._read(kind, key, ASKED).asked

    def problem(self, kind: str, key: str) -> str | None:
        """Why what is written under the key is invalid, and not taken; None: it is valid."""
        return self._read(kind, key, PROBLEM).problem

    def revision(self, kind: str, key: str) -> int:
        """etcd's mod_revision of what is written under the key now, valid or not; 0: nothing is.
        What a `Write` expects."""
        return self._read(kind, key, REVISION).revision

    def slot(self, kind: str, key: str) -> Slot:
        """All that is known of one key."""
        return self._read(kind, key, SLOT)

    def all(self, kind: str) -> Mapping[str, Any]:
        """The settled values of all records of `kind`, by key."""
        self._look(kind, None, SETTLED)
        return self._world.settled(kind)

    def slots(self, kind: str) -> Mapping[str, Slot]:
        """The slots of all keys of `kind`, also of those without a settled value."""
        self._look(kind, None, SLOT)
        return self._world.of(kind)

    def having(self, kind: str, index: str, value: Hashable) -> Mapping[str, Any]:
        """Settled values of `kind` that its index of this name finds by `value`, by key.

        Only a change among those makes the hook be called again.
        """
        found = self._keys_having(kind, Tag(index, value), SETTLED)
        return {key: self._world.slot(kind, key).settled for key in found}

    def asking(self, kind: str, index: str, value: Hashable) -> Mapping[str, Any]:
        """Requests of `kind` that its index finds by `value`, by key, as `having`."""
        found = self._keys_having(kind, Tag(index, value), ASKED)
        return {key: self._world.slot(kind, key).asked for key in found}

    def ask(self, function: Callable[..., T], *arguments: Hashable) -> T:
        """What the pure function `function(view, *arguments)` returns: it is called again when
        something changes that it has looked at, and who asks only where it returns something else.
        """
        query = Query(function, arguments)
        try:
            hash(query)
        except TypeError:
            text = f"view.ask: found {shown(arguments)}, expected hashable arguments"
            raise TypeError(text) from None
        found: T = self._answer(query)
        return found

    def each(self, function: Callable[[View, str], T | None], *kinds: str) -> Mapping[str, T]:
        """What `function(view, key)` returns for each key of these kinds, by key, without None. It
        is called again for the keys alone for which something has changed."""
        for kind in kinds:
            self._refuse_hidden(kind)
        found: Mapping[str, T] = self._answer(Each(function, kinds))
        return found

    def connected(self, resource: str) -> bool | None:
        """Whether records of this resource of Kubernetes are up to date: False while the API server
        is disconnected, None until it is known. Who asks judges by what is known, as with `synced`.
        """
        self.early.mind(resource)
        found: bool | None = self.get(CONNECTED, resource)
        return found

    def synced(self, resource: str) -> bool:
        """Whether this resource of Kubernetes has been listed since the daemon began to watch it.
        The answer of a hook that asks counts before, too: it judges by what is known."""
        self.early.mind(resource)
        return not self.get(UNSYNCED, resource)

    def _answer(self, question: Question) -> Any:
        if self._answering is not None:
            self.asked[question] = None
            return self._answering(question, self)
        if isinstance(question, Query):
            return question.function(self, *question.arguments)
        keys = dict.fromkeys(key for kind in question.kinds for key in self.slots(kind))
        found = {key: question.function(self, key) for key in keys}
        return {key: value for key, value in found.items() if value is not None}

    def _refuse_hidden(self, kind: str) -> None:
        if kind in self._hidden:
            raise PluginError(
                f"{kind}: only allocations look at it, since not every node reads it "
                "(for_allocation)"
            )

    def _look(self, kind: str, key: str | Tag | None, part: str) -> None:
        self._refuse_hidden(kind)
        self.reads.add((kind, key, part))
        if kind in self._unsynced:
            self.early.note((kind,))

    def _read(self, kind: str, key: str, part: str) -> Slot:
        self._look(kind, key, part)
        return self._world.slot(kind, key)

    def _keys_having(self, kind: str, tag: Tag, part: str) -> Iterable[str]:
        self._look(kind, tag, part)
        return self._world.keys_of(kind, tag, part)

    def _single(self, kind: str) -> Any:
        found = self.get(kind, "")
        if found is None:
            raise LookupError(f"the {kind} of this network is not known yet")
        return found
