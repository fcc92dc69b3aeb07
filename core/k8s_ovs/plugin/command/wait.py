"""How a command waits for what it has asked: the answer in etcd, and the nodes that follow.

Not imported by `k8s_ovs.plugin` itself, since only commands need it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import typer

from k8s_ovs.errors import K8sOvsError, TimedOut
from k8s_ovs.plugin.command.cluster import Cluster, NodeStatus, Record

__all__ = ["Deadline", "TimeoutOption", "WaitOption", "answered", "applied", "say_applied"]

#: Options of commands that ask for something.
WaitOption = Annotated[bool, typer.Option("--wait", help="Until every live node has applied it.")]
TimeoutOption = Annotated[
    float, typer.Option("--timeout", min=0, help="Seconds to wait for the answer and the nodes.")
]


class Deadline:
    """So many seconds from now, looked at with growing pauses."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds
        self._pause = 0.02

    def pause(self) -> bool:
        """Wait a little; False: the time is up."""
        left = self._end - time.monotonic()
        time.sleep(min(self._pause, max(left, 0)))
        self._pause = min(self._pause * 1.5, 0.5)
        return left > 0


def answered(
    cluster: Cluster,
    kind: str,
    key: str,
    deadline: Deadline,
    *,
    since: int,
    asks: Callable[[Any], bool],
) -> Record:
    """The record once what was asked at revision `since` has been answered.

    asks: whether a value still asks for something. Raises TimedOut, and K8sOvsError where the
    record is gone.
    """
    while True:
        found = cluster.get(kind, key)
        if found is None:
            raise K8sOvsError(f"{kind}/{key} is gone: somebody has deleted it, or what it is of")
        if found.revision > since and not asks(found.value):
            return found
        if not deadline.pause():
            raise TimedOut(
                f"{kind}/{key} was not answered within {deadline.seconds:g} s: it "
                "stays there until the leader answers it, "
                "see k8s-ovs status on the nodes"
            )


def applied(cluster: Cluster, revision: int, deadline: Deadline) -> Iterator[str]:
    """The names of live nodes, each as soon as its flows are of `revision`.

    Raises TimedOut that names those that lag, and K8sOvsError where no node is live.
    """
    told: set[str] = set()
    while True:
        live = cluster.statuses()
        for node in live:
            if node.revision >= revision and node.node not in told:
                told.add(node.node)
                yield node.node
        late = [each for each in live if each.node not in told]
        if live and not late:
            return
        if not deadline.pause():
            if not live:
                raise K8sOvsError("no node is live: none has written its status")
            raise TimedOut(
                f"not applied within {deadline.seconds:g} s by {_named(late, revision)}; "
                "they will when they can, see k8s-ovs status there"
            )


def say_applied(cluster: Cluster, revision: int, deadline: Deadline) -> None:
    """Print each live node as it follows, and how many they were. Raises what `applied` does."""
    count = 0
    for node in applied(cluster, revision, deadline):
        count += 1
        typer.echo(f"{node} has applied it")
    typer.echo(f"that is all live nodes ({count})")


def _named(late: list[NodeStatus], revision: int) -> str:
    """The nodes that lag, how far, and what holds them up where they say so."""
    return ", ".join(
        f"{node.node} (at revision {node.revision} of {revision}{_held_up(node)})" for node in late
    )


def _held_up(node: NodeStatus) -> str:
    if node.waiting_for is not None:
        return f": it waits for: {node.waiting_for}"
    return f": {node.errors[-1]}" if node.errors else ""
