"""Does a pod with a limit slow one without?

Two pods without a limit send to each other alone, then while a limited one on the same node is at
its limit, then alone again: so the machine's drift meets both.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import mean, median
from typing import Any

from attrs import frozen
from limited import FROM_POD, TO_POD, Pair, Place, k8s_ovs
from load import Load, iperf_client, iperf_server, put, received, running

from k8s_ovs.model.pod import Rates
from k8s_ovs_lab import Lab
from k8s_ovs_lab.process import await_that

__all__ = ["measure"]

#: How much of the limit UDP offers.
_OFFERED = 2.0
#: Seconds that a load may take to begin, and that it goes on longer than it is looked at.
_BEGINS, _LONGER = 30, 60
#: Bytes at the receiver's interface that tell that a load has begun.
_BEGUN = 20_000


@frozen
class _Beside:
    """What the limited pod does: tcp or udp, in one of its directions."""

    protocol: str
    direction: str


_ALL = tuple(_Beside(*each) for each in itertools.product(("tcp", "udp"), (TO_POD, FROM_POD)))


@frozen
class _Run:
    """bits_per_second: of the pods without a limit. limited: of the limited one, in frames.
    processors: the part of all processors that the limited one's two programs took."""

    bits_per_second: int
    limited: float = 0.0
    processors: float = 0.0


def measure(
    lab: Lab, load: Load, rate: int, rounds: int, progress: Callable[[str], None]
) -> list[dict[str, Any]]:
    """For each thing that a pod limited to `rate` bits per second does beside: see `_told`.

    load: of the pods without a limit; its pace is told with each.
    """
    with k8s_ovs(lab).pair(Rates(rate, rate)) as pair, _free_pods(lab) as ends:
        asks = "all" if load.pace is None else f"{load.pace / 1e6:.0f} Mbit/s"
        progress(f"a pod without a limit that asks for {asks} beside one with, {rounds} rounds")
        alone = [_alone(ends, load)]
        beside: dict[_Beside, list[_Run]] = {each: [] for each in _ALL}
        for _ in range(rounds):
            for each in _ALL:
                beside[each].append(_run_beside(ends, load, pair, each, rate))
                alone.append(_alone(ends, load))
    # Runs are between the one alone before and the one after.
    means = [mean(each) for each in itertools.pairwise(alone)]
    return [
        {"pace": load.pace, **_told(each, rate, means[place :: len(_ALL)], beside[each])}
        for place, each in enumerate(_ALL)
    ]


def _told(what: _Beside, rate: int, alone: list[float], runs: list[_Run]) -> dict[str, Any]:
    """ratios: goodput beside the limited pod to goodput alone, round by round; ratio: their median.
    limited: bits per second at the receiver's interface. processors: see _Run."""
    ratios = [run.bits_per_second / each for run, each in zip(runs, alone, strict=True)]
    return {
        "protocol": what.protocol,
        "direction": what.direction,
        "limit": rate,
        "alone": round(median(alone)),
        "beside": round(median(run.bits_per_second for run in runs)),
        "ratio": round(median(ratios), 3),
        "ratios": [round(each, 3) for each in ratios],
        "limited": round(median(run.limited for run in runs)),
        "processors": round(median(run.processors for run in runs), 4),
    }


@contextmanager
def _free_pods(lab: Lab) -> Iterator[tuple[Place, Place]]:
    """Two more pods without a limit, on the node of the others."""
    with ExitStack() as stack:
        places = []
        for name in ("sender", "receiver"):
            pod = lab.run_pod(lab.nodes[0].name, name)
            stack.callback(lab.delete_pod, name)
            places.append(Place(pod.netns, str(pod.ip)))
        yield places[0], places[1]


def _alone(ends: tuple[Place, Place], load: Load) -> int:
    bits: int = put(*ends, load)["bits_per_second"]
    return bits


def _run_beside(
    ends: tuple[Place, Place], load: Load, pair: Pair, what: _Beside, rate: int
) -> _Run:
    sender, receiver = pair.ends(what.direction)
    limited = Load(what.protocol, 1, load.seconds + _LONGER, rate, load.congestion, _OFFERED)
    with (
        iperf_server(receiver) as server,
        running(sender, iperf_client(receiver, limited)) as client,
    ):
        enough = _octets(server.pid) + _BEGUN
        await_that("the limited pod is busy", lambda: _octets(server.pid) > enough, _BEGINS)
        before = _read(client.pid, server.pid)
        bits = _alone(ends, load)
        return _run(bits, before, _read(client.pid, server.pid))


@frozen
class _Reading:
    """at: seconds. octets: that the receiver's interface has got. busy: seconds of a processor
    that sender and receiver have had."""

    at: float
    octets: int
    busy: float


def _read(sender: int, receiver: int) -> _Reading:
    busy = _processor_seconds(sender) + _processor_seconds(receiver)
    return _Reading(time.monotonic(), _octets(receiver), busy)


def _run(bits: int, before: _Reading, after: _Reading) -> _Run:
    seconds = after.at - before.at
    limited = 8 * (after.octets - before.octets) / seconds
    return _Run(bits, limited, (after.busy - before.busy) / seconds / (os.cpu_count() or 1))


def _octets(pid: int) -> int:
    """That the pod's interface in the namespace of a process has got."""
    return received(Path(f"/proc/{pid}/net/dev").read_text())[0]


def _processor_seconds(pid: int) -> float:
    """utime and stime of proc(5), of which the program's name is in parentheses."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
