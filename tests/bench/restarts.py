"""What does a restart of the daemon, or of a part of Open vSwitch, cost a node's packets?

A pod sends 1,000 echo requests a second each to a pod of another node, to a pod of its own and to
outside the cluster, while a program of its node ends and starts again.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from statistics import median
from typing import Any

from attrs import frozen

from k8s_ovs_lab import Lab
from k8s_ovs_lab.lab_net import LabNet
from k8s_ovs_lab.layout import LabNode
from k8s_ovs_lab.lifecycle import is_ready
from k8s_ovs_lab.process import await_that
from k8s_ovs_testing.ovs import OvsProcess
from k8s_ovs_testing.traffic.traffic import PingStream

__all__ = ["LOSSLESS", "measure"]

_NODE, _OTHER = "node1", "node2"
_SENDER, _NEIGHBOUR, _FAR = "sender", "neighbour", "far"
_PODS = {_SENDER: _NODE, _NEIGHBOUR: _NODE, _FAR: _OTHER}
#: The sender's paths: what they are called, and where they lead.
_PATHS = {"between nodes": _FAR, "on the node": _NEIGHBOUR, "to outside": "outside"}
#: Seconds: between two requests; that the streams run before; that the node is ready afterwards.
_EVERY, _BEFORE, _STEADY = 0.001, 1.0, 3.0
#: In an emulated machine a daemon takes half a minute to start.
_WITHIN = 300.0


@frozen
class _Restart:
    """What ends, and what starts again."""

    end: Callable[[Lab], None]
    start: Callable[[Lab], None]


_KILLED, _UPGRADED = "daemon killed", "daemon upgraded"
#: Of these no packet may be lost.
LOSSLESS = (_KILLED, _UPGRADED)


def _start_daemon(lab: Lab) -> None:
    lab.start_daemon(_NODE, wait=False)


def _start_vswitchd(lab: Lab) -> None:
    _switch(lab).start_vswitchd()
    lab.start_ovs(_NODE)  # the node's address, where Open vSwitch carries it


_RESTARTS = {
    _KILLED: _Restart(lambda lab: lab.part(f"{_NODE}/daemon").kill(), _start_daemon),
    _UPGRADED: _Restart(lambda lab: lab.stop_daemon(_NODE), _start_daemon),
    "ovs-vswitchd": _Restart(lambda lab: _switch(lab).stop_vswitchd(), _start_vswitchd),
    "ovsdb-server": _Restart(
        lambda lab: _switch(lab).stop_server(), lambda lab: _switch(lab).start_server()
    ),
}


def measure(lab: Lab, rounds: int, progress: Callable[[str], None]) -> dict[str, Any]:
    """{"per_second": asked for, "rounds": ..., "restarts": {title: see `_told`}}.

    lab: of one node; another one joins meanwhile.
    """
    progress("a second node, and pods that send")
    lab.add_node(_OTHER)
    for name, node in _PODS.items():
        lab.run_pod(node, name)
    found: dict[str, list[_Round]] = {title: [] for title in _RESTARTS}
    for number in range(rounds):
        for title, restart in _RESTARTS.items():
            progress(f"round {number + 1} of {rounds}: {title}")
            found[title].append(_round(LabNet(lab), restart))
    for name in _PODS:
        lab.delete_pod(name)
    lab.remove_node(_OTHER)
    restarts = {title: _told(each) for title, each in found.items()}
    return {"per_second": round(1 / _EVERY), "rounds": rounds, "restarts": restarts}


@frozen
class _Path:
    """Of one path in one round. gap: the longest, in seconds."""

    sent: int
    per_second: float
    lost: int
    gap: float


@frozen
class _Round:
    """end_s: until the program had ended. ready_s: from the start command until the daemon said
    that it is ready again; 0: it had never said anything else."""

    end_s: float
    ready_s: float
    paths: dict[str, _Path]


def _told(rounds: Sequence[_Round]) -> dict[str, Any]:
    """{"end_s", "ready_s", "paths": {title: {"sent" in all, "per_second" really, "lost" and
    "gap_ms" in a round}}}; lost, gap_ms, end_s and ready_s as median and worst."""
    paths = {
        title: {
            "sent": sum(each.paths[title].sent for each in rounds),
            "per_second": round(median(each.paths[title].per_second for each in rounds)),
            "lost": _cut([each.paths[title].lost for each in rounds], 0),
            "gap_ms": _cut([each.paths[title].gap * 1e3 for each in rounds], 0),
        }
        for title in _PATHS
    }
    end, ready = (_cut([getattr(each, of) for each in rounds], 1) for of in ("end_s", "ready_s"))
    return {"end_s": end, "ready_s": ready, "paths": paths}


def _cut(values: Sequence[float], digits: int) -> dict[str, float]:
    return {"median": round(median(values), digits), "worst": round(max(values), digits)}


def _round(net: LabNet, restart: _Restart) -> _Round:
    _await_well(net)
    statuses = _Statuses(net.lab.node(_NODE))
    with _streams(net) as streams, statuses.followed():
        begin = time.monotonic()
        time.sleep(_BEFORE)
        ended = time.monotonic()
        restart.end(net.lab)
        end_s = time.monotonic() - ended
        started = time.time()
        restart.start(net.lab)
        await_that("the daemon is ready", lambda: statuses.steady(started), _WITHIN)
        paths = _paths(streams, begin)
        return _Round(end_s, max(statuses.since - started, 0.0), paths)


def _paths(streams: dict[str, PingStream], begin: float) -> dict[str, _Path]:
    """What became of the streams since their begin (time.monotonic()); they stop."""
    seconds = time.monotonic() - begin
    rates = {title: each.sent / seconds for title, each in streams.items()}
    with ThreadPoolExecutor(len(streams)) as ending:
        lost = dict(zip(streams, ending.map(PingStream.stop, streams.values()), strict=True))
    return {
        title: _Path(each.sent, rates[title], lost[title], each.longest_gap)
        for title, each in streams.items()
    }


@contextmanager
def _streams(net: LabNet) -> Iterator[dict[str, PingStream]]:
    """A stream on each path meanwhile."""
    with ExitStack() as stack:
        streams = {}
        for title, place in _PATHS.items():
            streams[title] = PingStream(net.netns(_SENDER), net.address(place), _EVERY)
            stack.callback(streams[title].stop)
        yield streams


def _await_well(net: LabNet) -> None:
    """Until each path carries packets and their caches are warm."""
    for place in _PATHS.values():
        await_that(
            f"packets to {place}", lambda to=place: net.pings(_SENDER, net.address(to)), _WITHIN
        )


class _Statuses:
    """What a node's daemon says in its status file while it is followed."""

    def __init__(self, node: LabNode) -> None:
        self._node = node
        self._ending = threading.Event()
        #: Process and readiness that it told last, and when it told them first (time.time()).
        self._said: tuple[int, bool] | None = None
        self.since = 0.0

    @contextmanager
    def followed(self) -> Iterator[None]:
        """Look at the file meanwhile, every 20 ms."""
        thread = threading.Thread(target=self._follow, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ending.set()
            thread.join()

    def steady(self, started: float) -> bool:
        """Whether the daemon that runs has been ready for a while since something was started
        (time.time()). Raises Unavailable: not now."""
        return is_ready(self._node) and time.time() - max(self.since, started) > _STEADY

    def _follow(self) -> None:
        while not self._ending.wait(0.02):
            # The daemon replaces it as a whole.
            with (self._node.directory / "status.json").open() as file:
                written, status = os.fstat(file.fileno()).st_mtime, json.load(file)
            if (said := (status["pid"], status["ready"])) != self._said:
                self._said, self.since = said, written


def _switch(lab: Lab) -> OvsProcess:
    node = lab.node(_NODE)
    return OvsProcess(node.ovs_directory, node.netns)
