"""Network namespaces of a test's own: one that plays the node, and as many pods as it likes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from itertools import count

import pytest
from attrs import frozen

from k8s_ovs.link.namespace import entered, opened

_numbers = count()


@frozen
class Netns:
    """A network namespace by name; `path` is what a runtime would give as CNI_NETNS."""

    name: str

    @property
    def path(self) -> str:
        return f"/run/netns/{self.name}"

    def run(self, command: str, check: bool = True, timeout: float = 30.0) -> str:
        """The output of a command (words separated by blanks) that runs inside."""
        done = subprocess.run(
            ["nsenter", f"--net={self.path}", *command.split()],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=check,
        )
        return done.stdout


@pytest.fixture
def new_netns() -> Iterator[Callable[[str], Netns]]:
    """Makes namespaces; they go when the test does."""
    made: list[Netns] = []

    def make(role: str) -> Netns:
        netns = Netns(f"kovst-{os.getpid()}-{next(_numbers)}-{role}")
        subprocess.run(["ip", "netns", "add", netns.name], check=True, timeout=30)
        made.append(netns)
        netns.run("ip link set lo up")
        return netns

    yield make
    for netns in made:
        subprocess.run(["ip", "netns", "delete", netns.name], check=True, timeout=30)


@pytest.fixture
def node(new_netns: Callable[[str], Netns]) -> Iterator[Netns]:
    """The node: a namespace that the test itself is in."""
    netns = new_netns("node")
    with opened(netns.path) as descriptor, entered(descriptor):
        yield netns
