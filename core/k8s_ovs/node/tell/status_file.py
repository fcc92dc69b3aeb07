"""What the daemon says of itself: a file beside its socket, which `k8s-ovs status` reads."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from attrs import evolve

from k8s_ovs.hooks.result import Failure
from k8s_ovs.model.network import NetworkConfig
from k8s_ovs.model.node import LocalNode
from k8s_ovs.model.node_status import NodeStatus
from k8s_ovs.model.world import CONFIG, LOCAL_NODE, PODS, World
from k8s_ovs.node.ingest import Ingest
from k8s_ovs.node.settings import NodeSettings
from k8s_ovs.node.setup import Setup
from k8s_ovs.node.switch import Commits
from k8s_ovs.node.tell.metrics import Scene
from k8s_ovs.reconcile.reconciler import Reconciler

__all__ = ["StatusFile", "node_status", "scene_of", "status_of"]

# Read once: while the package is being upgraded there is none to be found.
_VERSION = version("k8s-ovs")

_AT_MOST_EVERY = 1.0


class StatusFile:
    """Written at most once a second, and at once when the network becomes ready or is not so.

    due_at: when a change that came too early is to be written (time.monotonic()); None: all is.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ready: bool | None = None
        self._written: Mapping[str, Any] = {}
        self._next = 0.0
        self.due_at: float | None = None

    def write(self, ready: bool, status: Callable[[], Mapping[str, Any]]) -> None:
        """`status` is asked for only when it is time to write."""
        now = time.monotonic()
        if ready == self._ready and now < self._next:
            self.due_at = self._next
            return
        self.due_at, self._ready, self._next = None, ready, now + _AT_MOST_EVERY
        said = status()
        if said == self._written:
            return
        beside = self._path.with_suffix(".new")
        beside.write_text(json.dumps(said, indent=1) + "\n")
        beside.replace(self._path)
        self._written = said


def status_of(
    settings: NodeSettings,
    waiting_for: str,
    problems: Iterable[str],
    setup: Setup,
    ingest: Ingest,
) -> dict[str, Any]:
    """The daemon's state as JSON values; `waiting_for` "": it is ready."""
    reconciler = setup.reconciler
    status: dict[str, Any] = {
        "node": settings.hostname,
        "pid": os.getpid(),
        "version": _VERSION,
        "ready": not waiting_for,
        "waiting_for": waiting_for,
        "revision": ingest.revision,
        "sources": {name: state.connected for name, state in sorted(ingest.sources.items())},
    }
    if reconciler is not None:
        world = reconciler.world
        status["here"] = _local_node(world)
        status["plugins"] = list(reconciler.manager.names)
        status["pods"] = len(world.of(PODS))
        status["flows"] = len(reconciler.desired)
        status["of_plugins"] = _of_plugins(setup)
    return status | {"problems": _all_problems(problems, reconciler)}


def node_status(
    settings: NodeSettings, applied: int, waiting_for: str, problems: Iterable[str], setup: Setup
) -> NodeStatus:
    """What all may know of this node. applied: etcd's revision that its flows are of;
    `waiting_for` "": it is ready."""
    reconciler = setup.reconciler
    local_node = reconciler.world.of(LOCAL_NODE).get("") if reconciler else None
    return NodeStatus(
        node=settings.hostname,
        host_ip=str(local_node.settled.host_ip) if local_node else "",
        version=_VERSION,
        revision=applied,
        ready=not waiting_for,
        pods=len(reconciler.world.of(PODS)) if reconciler else 0,
        flows=len(reconciler.desired) if reconciler else 0,
        errors=tuple(_all_problems(problems, reconciler)),
        waiting_for=waiting_for or None,
    )


def scene_of(
    waiting_for: str,
    problems: Iterable[str],
    setup: Setup,
    ingest: Ingest,
    *,
    commits: Commits,
    is_leader: bool,
) -> Scene:
    """The daemon's state for its metrics page, whose thread asks while the daemon goes on."""
    reconciler = setup.reconciler
    scene = Scene(
        version=_VERSION,
        ready=not waiting_for,
        is_leader=is_leader,
        connected={source: state.connected for source, state in dict(ingest.sources).items()},
        problems=len(_all_problems(problems, reconciler)),
        commits=commits,
    )
    if reconciler is None:
        return scene
    manager, world = reconciler.manager, reconciler.world
    known = world.of(CONFIG) and world.of(LOCAL_NODE)
    return evolve(
        scene,
        pods=len(world.of(PODS)),
        flows=len(reconciler.desired),
        plugins=(lambda: manager.metrics(manager.view(world))) if known else None,
    )


def _all_problems(problems: Iterable[str], reconciler: Reconciler | None) -> list[str]:
    """`problems`, records that are set aside, and what plugins failed at."""
    said = list(problems)
    if reconciler is not None:
        said += reconciler.world.problems.values()
        said += reconciler.failures
    return said


def _local_node(world: World) -> dict[str, Any]:
    """This node's place in the network; empty while it has none."""
    record = world.of(LOCAL_NODE).get("")
    if record is None:
        return {}
    local_node: LocalNode = record.settled
    config: NetworkConfig = world.of(CONFIG)[""].settled
    return {
        "network": config.name,
        "address": str(local_node.host_ip),
        "subnet": str(local_node.subnet),
        "mtu": local_node.mtu,
    }


def _of_plugins(setup: Setup) -> dict[str, Any]:
    """What each plugin's status hook says."""
    reconciler = setup.reconciler
    if reconciler is None:
        return {}
    view = reconciler.manager.view(reconciler.world)
    said: dict[str, Any] = {}
    for plugin, result in reconciler.manager.status(view):
        said[plugin] = str(result) if isinstance(result, Failure) else dict(result[0])
    return said
