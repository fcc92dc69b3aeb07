"""What the daemon says of itself: a file beside its socket, which `k8s-ovs status` reads."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from k8s_ovs.hooks.result import Failure
from k8s_ovs.node.tell.node_state import NodeState

__all__ = ["StatusFile", "status_json"]

_AT_MOST_EVERY = 1.0


class StatusFile:
    """Written at most once per `every` seconds, and at once when the network becomes ready or is
    no longer.

    due_at: when a change that came too early is to be written (time.monotonic()); None: all is.
    """

    def __init__(self, path: Path, every: float = _AT_MOST_EVERY) -> None:
        self._path = path
        self._every = every
        self._ready: bool | None = None
        self._written: Mapping[str, Any] = {}
        self._next = 0.0
        self.due_at: float | None = None

    def write(self, state: NodeState) -> None:
        """Plugins are asked for their part only when it is time to write."""
        now = time.monotonic()
        if state.ready == self._ready and now < self._next:
            self.due_at = self._next
            return
        self.due_at, self._ready, self._next = None, state.ready, now + self._every
        said = status_json(state)
        if said == self._written:
            return
        beside = self._path.with_suffix(".new")
        beside.write_text(json.dumps(said, indent=1) + "\n")
        beside.replace(self._path)
        self._written = said


def status_json(state: NodeState) -> dict[str, Any]:
    """The file's content as JSON values. What only a configuration brings is left out without."""
    status: dict[str, Any] = {
        "node": state.hostname,
        "pid": state.pid,
        "version": state.version,
        "ready": state.ready,
        "waiting_for": state.waiting_for,
        "revision": state.seen_revision,
        "sources": dict(state.sources),
    }
    if state.manager is not None:
        status |= {
            "here": _local_node(state),
            "plugins": list(state.plugins),
            "pods": state.pods,
            "flows": state.flows,
            "of_plugins": _of_plugins(state),
        }
    return status | {"problems": list(state.problems)}


def _local_node(state: NodeState) -> dict[str, Any]:
    """This node in the network; empty while it has no subnet."""
    config, local_node = state.config, state.local_node
    if config is None or local_node is None:
        return {}
    return {
        "network": config.name,
        "address": str(local_node.host_ip),
        "subnet": str(local_node.subnet),
        "mtu": local_node.mtu,
    }


def _of_plugins(state: NodeState) -> dict[str, Any]:
    """What each plugin's status hook says."""
    return {
        plugin: str(result) if isinstance(result, Failure) else dict(result[0])
        for plugin, result in state.plugin_status()
    }
