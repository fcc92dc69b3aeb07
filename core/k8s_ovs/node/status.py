"""What the daemon says of itself: a file beside its socket, which `k8s-ovs status` reads."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from k8s_ovs.node.intake import Intake
from k8s_ovs.node.settings import NodeSettings
from k8s_ovs.node.setup import Setup
from k8s_ovs.plugin.manager import Failure
from k8s_ovs.plugin.view import PODS, QUARANTINE

__all__ = ["StatusFile", "status_of"]

_AT_MOST_EVERY = 1.0


class StatusFile:
    """Written when something changed, at most once a second."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written: Mapping[str, Any] = {}
        self._written_at = 0.0

    def write(self, status: Mapping[str, Any]) -> None:
        urgent = status.get("ready") != self._written.get("ready")
        if status == self._written:
            return
        if not urgent and time.monotonic() - self._written_at < _AT_MOST_EVERY:
            return
        beside = self._path.with_suffix(".new")
        beside.write_text(json.dumps(status, indent=1) + "\n")
        beside.replace(self._path)
        self._written, self._written_at = status, time.monotonic()


def status_of(
    settings: NodeSettings,
    waiting_for: str,
    problems: Iterable[str],
    setup: Setup,
    intake: Intake,
) -> dict[str, Any]:
    """The daemon's state as JSON values; `waiting_for` "": it is ready."""
    reconciler = setup.reconciler
    status: dict[str, Any] = {
        "node": settings.hostname,
        "pid": os.getpid(),
        "version": version("k8s-ovs"),
        "ready": not waiting_for,
        "waiting_for": waiting_for,
        "revision": intake.revision,
        "sources": {name: sight.visible for name, sight in sorted(intake.sight.items())},
    }
    said = list(problems)
    if reconciler is not None:
        world = reconciler.world
        said += [record.value for record in world.of(QUARANTINE).values()]
        said += reconciler.failures
        status["plugins"] = list(reconciler.manager.names)
        status["pods"] = len(world.of(PODS))
        status["flows"] = len(reconciler.book)
        status["of_plugins"] = _of_plugins(setup)
    return status | {"problems": said}


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
