"""What the daemon says of itself: a file beside its socket, which `k8s-ovs status` reads."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from k8s_ovs.hooks.result import Failure, Results
from k8s_ovs.node.tell.node_state import NodeState
from k8s_ovs.output import Output

__all__ = ["StatusFile", "status_json"]

_AT_MOST_EVERY = 1.0
_LONGEST_WAIT = 10.0


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
        # The last state of which all plugins have answered, and what they said.
        self._asked: tuple[NodeState, Results[Mapping[str, Any]]] | None = None
        self._stamp: tuple[int, ...] = ()
        self._next = 0.0
        self._output = Output(f"status file {path}", longest_wait=_LONGEST_WAIT)
        self.due_at: float | None = None

    @property
    def problem(self) -> str:
        """Why the file cannot be written; "": it can."""
        return self._output.problem

    def write(self, state: NodeState) -> None:
        """Plugins are asked for their part only when it is time to write, and what they look at is
        another one. Never raises: what cannot be written is a problem, and is tried again."""
        now = time.monotonic()
        if self._output.put_off:
            self.due_at = self._output.due_at
            return
        if not self._output.problem and state.ready == self._ready and now < self._next:
            self.due_at = self._next
            return
        self.due_at, self._ready, self._next = None, state.ready, now + self._every
        if not self._output.attempt(lambda: self._put(status_json(state, self._answers(state)))):
            self.due_at = self._output.due_at

    def _answers(self, state: NodeState) -> Results[Mapping[str, Any]]:
        """What the plugins say: of the same records the same, as long as none failed."""
        if self._asked is not None:
            before, answers = self._asked
            if state.manager is before.manager and state.world is before.world:
                return answers
        answers = state.plugin_status()
        failed = any(isinstance(result, Failure) for _, result in answers)
        self._asked = None if failed else (state, answers)
        return answers

    def _put(self, said: Mapping[str, Any]) -> None:
        if said == self._written and _stamp(self._path) == self._stamp:
            return
        beside = self._path.with_suffix(".new")
        try:
            beside.write_text(json.dumps(said, indent=1) + "\n")
            beside.replace(self._path)
        except OSError:
            with suppress(OSError):
                beside.unlink(missing_ok=True)  # half a file would take the place of what is whole
            raise
        self._written, self._stamp = said, _stamp(self._path)


def _stamp(path: Path) -> tuple[int, ...]:
    """What changes when somebody else writes, replaces or removes the file."""
    try:
        found = path.lstat()
    except OSError:
        return ()
    return found.st_ino, found.st_mode, found.st_uid, found.st_size, found.st_mtime_ns


def status_json(state: NodeState, answers: Results[Mapping[str, Any]]) -> dict[str, Any]:
    """The file's content as JSON values. answers: the plugins' (`NodeState.plugin_status`). What
    only a configuration brings is left out without."""
    status: dict[str, Any] = {
        "node": state.hostname,
        "pid": state.pid,
        "version": state.version,
        "ready": state.ready,
        "waiting_for": state.waiting_for,
        "revision": state.seen_revision,
        "leader": state.is_leader,
        "sources": dict(state.sources),
    }
    if state.etcd:
        status["etcd"] = list(state.etcd)
    if state.manager is not None:
        status |= {
            "here": _local_node(state),
            "plugins": list(state.plugins),
            "pods": state.pods,
            "flows": state.flows,
            "of_plugins": _of_plugins(answers),
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


def _of_plugins(answers: Results[Mapping[str, Any]]) -> dict[str, Any]:
    """What each plugin's status hook says."""
    return {
        plugin: str(result) if isinstance(result, Failure) else result[0] if result else {}
        for plugin, result in answers
    }
