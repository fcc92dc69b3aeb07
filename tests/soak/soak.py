"""A node under very many requests, some of which die on their way, while its daemon is killed.

All is taken back now and then: nothing may be left over, and memory may not grow.
"""

from __future__ import annotations

import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import define, field, frozen
from tests.bench.machine import rss_mib
from tests.soak.sandbox import Sandbox

from k8s_ovs.errors import K8sOvsError
from k8s_ovs.node.tell.read_status import read_status
from k8s_ovs_lab import Lab, servers
from k8s_ovs_lab.command import inside
from k8s_ovs_lab.layout import LabNode
from k8s_ovs_lab.process import await_that
from k8s_ovs_lab.underlay import add_namespace, remove_namespaces

__all__ = ["Checkpoint", "Soak"]

NODE = "node1"
_WORKERS = 6
_SANDBOXES_EACH = 5
#: Seconds for what was taken back to be gone.
_WITHIN = 60.0
_OPEN_VSWITCH = ("ovs-vswitchd", "ovsdb-server")


@frozen
class Checkpoint:
    """At a moment at which nothing should be left: how many requests there were until then, how
    many of those failed, seconds since the start, and resident MiB by program."""

    requests: int
    failures: int
    seconds: float
    memory: dict[str, float]


@define
class Soak:
    """lab: with a node, to which no pod is attached. program: the CNI program. seed: of chance.
    tell: gets each checkpoint."""

    lab: Lab
    program: Path
    seed: int
    tell: Callable[[Checkpoint], None]
    sandboxes: list[Sandbox] = field(factory=list)
    kills: int = 0
    began: float = field(factory=time.monotonic)

    @property
    def requests(self) -> int:
        """So far."""
        return sum(each.requests for each in self.sandboxes)

    @property
    def node(self) -> LabNode:
        return self.lab.node(NODE)

    def run(self, requests: int, every: int, kill_every: float) -> list[Checkpoint]:
        """So many requests more, a checkpoint after so many of them.

        kill_every: seconds between two kills of the daemon; 0: none, and then no answer may be an
        error. Raises K8sOvsError for what is left over, and for answers that must not be.
        """
        self._prepare()
        clean, checkpoints, ends = self._traces(), [self._checkpoint()], self.requests + requests
        while self.requests < ends:
            with self._killing(kill_every):
                self._work(min(self.requests + every, ends))
            self._expect_nothing_left(clean)
            checkpoints.append(self._checkpoint())
            failed = checkpoints[-1].failures - checkpoints[-2].failures
            if failed and not kill_every:
                raise K8sOvsError(
                    f"{failed} answers were errors, expected none: nothing was killed"
                )
        return checkpoints

    def close(self) -> None:
        """The sandboxes' network namespaces go."""
        remove_namespaces([each.netns for each in self.sandboxes])

    def _prepare(self) -> None:
        objects = servers.objects(self.lab.layout)
        for number in range(len(self.sandboxes), _WORKERS * _SANDBOXES_EACH):
            netns = f"{self.lab.layout.name}-soak{number}"
            add_namespace(netns)
            objects.create_pod(self.node, "default", netns, {}, {})
            chance = random.Random(f"{self.seed} {number}")  # noqa: S311 - to be repeated
            self.sandboxes.append(Sandbox(self.node, netns, self.program, chance))

    def _work(self, until: int) -> None:
        """All sandboxes, some at a time, until there were so many requests; then all is empty."""

        def work(mine: Sequence[Sandbox]) -> None:
            with inside(self.node.netns):
                while self.requests < until:
                    for sandbox in mine:
                        sandbox.step()
                        self._expect_own_addresses()

        def empty(mine: Sequence[Sandbox]) -> None:
            with inside(self.node.netns):
                for sandbox in mine:
                    sandbox.empty()

        shares = [self.sandboxes[number::_WORKERS] for number in range(_WORKERS)]
        with ThreadPoolExecutor(_WORKERS) as workers:
            list(workers.map(work, shares))
        with ThreadPoolExecutor(_WORKERS) as workers:
            list(workers.map(empty, shares))

    def _expect_own_addresses(self) -> None:
        found = Counter(each.address for each in self.sandboxes if each.address)
        if twice := [address for address, count in found.items() if count > 1]:
            raise K8sOvsError(f"{', '.join(twice)}: found in two sandboxes, expected in one")

    @contextmanager
    def _killing(self, every: float) -> Iterator[None]:
        """Meanwhile the daemon is killed and started again, and again."""
        over = threading.Event()

        def kill() -> None:
            while not over.wait(every):
                self.lab.part(f"{NODE}/daemon").kill()
                self.kills += 1
                self.lab.start_daemon(NODE)

        if not every:
            yield
            return
        with ThreadPoolExecutor(1) as thread:
            killing = thread.submit(kill)
            try:
                yield
            finally:
                over.set()
            killing.result()

    def _expect_nothing_left(self, clean: dict[str, Any]) -> None:
        def is_clean() -> bool:
            found = self._traces()
            if left := {name: found[name] for name in found if found[name] != clean[name]}:
                expected = {name: clean[name] for name in left}
                raise K8sOvsError(f"left over: found {left}, expected {expected}")
            return True

        await_that("nothing to be left over", is_clean, _WITHIN)

    def _traces(self) -> dict[str, Any]:
        """What a pod leaves on a node, if anything."""
        tables = "Port", "Interface", "QoS", "Queue"
        in_switch = "dump-flows", "dump-meters"
        return {
            **{table: len(self._lines("ovs-vsctl", "-fcsv", "list", table)) for table in tables},
            **{
                what: len(self._lines("ovs-ofctl", "-OOpenFlow15", what, "br0"))
                for what in in_switch
            },
            "devices": [name for name in self._devices(self.node.netns) if "kovs" in name],
            "in sandboxes": [
                f"{each.netns}: {name}"
                for each in self.sandboxes
                for name in self._devices(each.netns)
                if name != "lo"
            ],
            "status": {name: self._status().get(name) for name in ("ready", "pods", "problems")},
        }

    def _status(self) -> dict[str, Any]:
        return dict(read_status(self.node.directory / "status.json"))

    def _devices(self, netns: str) -> list[str]:
        with inside(netns):
            return [name for _, name in socket.if_nameindex()]

    def _lines(self, *words: str) -> list[str]:
        return self.lab.exec(NODE, list(words)).stdout.splitlines()

    def _checkpoint(self) -> Checkpoint:
        pids = {
            "daemon": self.node.directory / "daemon.pid",
            **{name: self.node.ovs_directory / f"{name}.pid" for name in _OPEN_VSWITCH},
        }
        memory = {name: rss_mib(int(path.read_text().split()[0])) for name, path in pids.items()}
        failures = sum(each.failures for each in self.sandboxes)
        seconds = round(time.monotonic() - self.began, 1)
        found = Checkpoint(self.requests, failures, seconds, memory)
        self.tell(found)
        return found
