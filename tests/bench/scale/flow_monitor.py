"""When is a flow in the switch? Open vSwitch tells of each one that comes, changes or goes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from k8s_ovs_lab import Lab

__all__ = ["FlowMonitor"]


class FlowMonitor:
    """Hears of the flows of a node's bridge."""

    def __init__(self, lab: Lab, node: str) -> None:
        self._lab = lab
        self._node = node
        self._heard: list[tuple[float, str]] = []

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Hear meanwhile of what changes."""
        words = ["ovs-ofctl", "-OOpenFlow14", "monitor", "br0", "watch:!initial"]
        with self._lab.spawn(self._node, words) as process:
            thread = threading.Thread(target=self._hear, args=(process.stdout,), daemon=True)
            thread.start()
            try:
                yield
            finally:
                process.terminate()
        thread.join()

    def mark(self) -> int:
        """What is heard from now on has this number or a later one."""
        return len(self._heard)

    def when(self, since: int, event: str, text: str) -> float | None:
        """When the first flow with this text was ADDED or DELETED (time.monotonic()); None: it has
        not been yet."""
        for at, line in self._heard[since:]:
            if f"event={event}" in line and text in line:
                return at
        return None

    def _hear(self, lines: Iterator[str]) -> None:
        for line in lines:
            self._heard.append((time.monotonic(), line))
