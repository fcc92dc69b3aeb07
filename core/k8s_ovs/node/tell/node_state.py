"""The state of this node after a reconcile: one value, from which all reports of it are made.

Status file, etcd record, metrics and events show the same. It is immutable in all its parts, so
other threads may read it while the daemon runs.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from importlib.metadata import version
from ipaddress import IPv4Address
from types import MappingProxyType
from typing import Any

from attrs import field, frozen

from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.hooks.result import Results
from k8s_ovs.model.network import NetworkConfig
from k8s_ovs.model.node import LocalNode
from k8s_ovs.model.subnet_use import SubnetUse
from k8s_ovs.model.world import CONFIG, LOCAL_NODE, PODS, World
from k8s_ovs.node.records.ingest import KUBE, Ingest
from k8s_ovs.node.switch import Commits
from k8s_ovs.plugin.values import Metric
from k8s_ovs.reconcile.reconciler import Reconciler

__all__ = ["NodeState", "node_state_of"]

# Read once: while the package is being upgraded there is none to be found.
_VERSION = version("k8s-ovs")


@frozen(eq=False)  # to compare two would be to compare all records of the cluster
class NodeState:
    """The node at the end of one reconcile.

    waiting_for: why its network is not ready; "": it is. seen_revision, applied_revision: etcd's,
    up to which records were seen, and up to which the flows follow from them. sources: whether each
    is connected, by name, sorted. problems: all of them, records and plugins that failed included.
    flows: how many are desired. repairs: how often what somebody changed was put right, by kind.
    subnet_use: which subnet the pods of this node are in. told_use: what etcd has of that.
    manager: None until a configuration was taken over. etcd: ADDRESS:PORT of its endpoints, which
    pods must not reach.
    """

    hostname: str
    pid: int
    version: str
    waiting_for: str
    seen_revision: int
    applied_revision: int
    sources: Mapping[str, bool]
    is_leader: bool
    commits: Commits
    problems: tuple[str, ...]
    manager: PluginManager | None
    world: World
    flows: int
    repairs: Mapping[str, int] = field(factory=dict)
    subnet_use: SubnetUse | None = None
    told_use: SubnetUse | None = None
    etcd: tuple[str, ...] = ()

    @property
    def ready(self) -> bool:
        """Whether pods can be attached."""
        return not self.waiting_for

    @property
    def config(self) -> NetworkConfig | None:
        """The configuration that runs; None: none was taken over yet."""
        config: NetworkConfig | None = self.world.slot(CONFIG, "").settled
        return config

    @property
    def local_node(self) -> LocalNode | None:
        """This node in the network; None while it has no subnet."""
        local_node: LocalNode | None = self.world.slot(LOCAL_NODE, "").settled
        return local_node

    @property
    def plugins(self) -> tuple[str, ...]:
        """Names of the plugins that run."""
        return self.manager.names if self.manager else ()

    @property
    def pods(self) -> int:
        """How many pods are attached here."""
        return len(self.world.of(PODS))

    def plugin_status(self) -> Results[Mapping[str, Any]]:
        """Ask the plugins' status hooks. They take their time: only for what is written."""
        return self.manager.status(self.manager.node_view(self.world)) if self.manager else []

    def plugin_metrics(self) -> Results[Metric] | None:
        """Ask the plugins' metrics hooks; None while this node has no subnet."""
        if self.manager is None or self.config is None or self.local_node is None:
            return None
        return self.manager.metrics(self.manager.node_view(self.world))


def node_state_of(
    hostname: str,
    waiting_for: str,
    *,
    applied_revision: int,
    ingest: Ingest,
    reconciler: Reconciler | None,
    commits: Commits,
    problems: Iterable[str],
    is_leader: bool,
    repairs: Mapping[str, int] = MappingProxyType({}),
    subnet_use: SubnetUse | None = None,
    told_use: SubnetUse | None = None,
    etcd: Collection[tuple[IPv4Address, int]] = (),
) -> NodeState:
    """The state as it is now, for the daemon's own thread. problems: those of the daemon's parts.

    Cheap, as it is made per reconcile: nothing is asked of a plugin.
    """
    sources = {name: state.connected for name, state in sorted(ingest.sources.items())}
    world = reconciler.world if reconciler else World()
    return NodeState(
        hostname=hostname,
        pid=os.getpid(),
        version=_VERSION,
        waiting_for=waiting_for,
        seen_revision=ingest.revision,
        applied_revision=applied_revision,
        sources=MappingProxyType(sources),
        is_leader=is_leader,
        commits=commits,
        problems=(
            *problems,
            *world.problems.values(),
            *(reconciler.failures if reconciler else ()),
            *(_held_flows(reconciler.held, ingest) if reconciler else ()),
            *(_refused(reconciler.manager, ingest) if reconciler else ()),
        ),
        manager=reconciler.manager if reconciler else None,
        world=world,
        flows=len(reconciler.desired) if reconciler else 0,
        repairs=MappingProxyType(dict(repairs)),
        subnet_use=subnet_use,
        told_use=told_use,
        etcd=tuple(f"{address}:{port}" for address, port in sorted(etcd)),
    )


def _held_flows(held: Mapping[str, frozenset[str]], ingest: Ingest) -> Iterator[str]:
    """Which plugins' flows stay as they are, and what they wait for."""
    for plugin, resources in sorted(held.items()):
        states = ((name, ingest.sources.get(KUBE + name)) for name in sorted(resources))
        told = "; ".join(
            f"{KUBE}{name}: {state.detail if state and state.detail else 'not listed yet'}"
            for name, state in states
        )
        yield f"plugin {plugin}: its flows stay as they are until it knows what it reads: {told}"


def _refused(manager: PluginManager, ingest: Ingest) -> Iterator[str]:
    """Which plugins' resources the API server does not know, or does not let this node read."""
    for name, plugin in manager.readers.items():
        state = ingest.sources.get(KUBE + name)
        if state is not None and state.refused:
            yield f"plugin {plugin} cannot read {name} of Kubernetes: {state.detail}"
