"""How soon does a running pod feel that its annotation has changed?"""

from __future__ import annotations

import itertools
import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from attrs import frozen
from limited import ANNOTATIONS, FROM_POD, k8s_ovs, rates_of
from load import iperf_server, received, running

from k8s_ovs.errors import K8sOvsError
from k8s_ovs_lab import Lab, servers
from k8s_ovs_lab.command import inside

__all__ = ["measure"]

#: Seconds at which a change is asked for, the limit before it and after it in Mbit/s; None: none.
_CHANGES: tuple[tuple[float, int, int | None], ...] = ((3.0, 10, 50), (6.0, 50, None))
_FIRST = _CHANGES[0][1]
_SECONDS = 9
_CLIENT = ("iperf3", f"--time={_SECONDS + 1}", "--client")
#: Seconds between two readings, and between two points of the series.
_EVERY, _POINT = 0.02, 0.1
#: A change is felt when this many times the old limit comes in one interval: the bucket of the old
#: one, full, does not give that.
_FELT = 2.0


@frozen
class _Reading:
    """Seconds since the start, and bytes that the receiving pod's interface has got."""

    at: float
    octets: int


def measure(lab: Lab) -> dict[str, Any]:
    """A pod sends by TCP while its limit goes from 10M to 50M to none.

    every_s, mbit_per_second: the series, in frames at the receiver's interface. first_limit: in
    Mbit/s. changes: as `_told` has them.
    """
    with (
        k8s_ovs(lab).pair(rates_of(FROM_POD, _FIRST * 10**6)) as pair,
        iperf_server(pair.free) as server,
        ThreadPoolExecutor(1) as asking,
        running(pair.limited, [*_CLIENT, pair.free.address]) as client,
    ):
        begin = time.monotonic()
        asked = [asking.submit(_change, lab, begin + at, after) for at, _, after in _CHANGES]
        readings = list(_readings(server.pid, begin))
        requests = [each.result() for each in asked]
        if client.wait(30):
            raise K8sOvsError(f"iperf3 failed: {client.communicate()[0]}")
    return {
        "every_s": _POINT,
        "mbit_per_second": _series(readings),
        "first_limit": _FIRST,
        "changes": [
            _told(before, after, readings, sent - begin, answered - begin)
            for (_, before, after), (sent, answered) in zip(_CHANGES, requests, strict=True)
        ],
    }


def _told(
    before: int,
    after: int | None,
    readings: Sequence[_Reading],
    sent: float,
    answered: float,
) -> dict[str, Any]:
    """When a change was asked for, the limits before and after it, milliseconds from before the
    request to the API server until its answer, and until the effect."""
    return {
        "at_s": round(sent, 3),
        "before": before,
        "after": after,
        "answered_ms": round((answered - sent) * 1e3, 1),
        "felt_ms": _felt_ms(readings, sent, before),
    }


def _change(lab: Lab, due: float, limit: int | None) -> tuple[float, float]:
    """Ask the API server for a limit at a moment; when that was, and when it had answered."""
    objects = servers.objects(lab.layout)
    annotation = {ANNOTATIONS[FROM_POD]: None if limit is None else f"{limit}M"}
    body = {"metadata": {"annotations": annotation}}
    time.sleep(max(0.0, due - time.monotonic()))
    with inside(objects.netns):
        sent = time.monotonic()
        objects.kube.patch("/api/v1/namespaces/default/pods/limited", body)
        return sent, time.monotonic()


def _readings(pid: int, begin: float) -> Iterator[_Reading]:
    """The counters of eth0 in the namespace of a process, until the end."""
    path = Path(f"/proc/{pid}/net/dev")
    at = 0.0
    while at < _SECONDS:
        octets, _ = received(path.read_text())
        at = time.monotonic() - begin
        yield _Reading(at, octets)
        time.sleep(_EVERY)


def _series(readings: Sequence[_Reading]) -> list[float]:
    """Mbit/s, point by point; between two readings bytes come evenly."""
    count = int(readings[-1].at / _POINT)
    totals = [_octets_at(readings, number * _POINT) for number in range(count + 1)]
    return [round((b - a) * 8 / _POINT / 1e6, 2) for a, b in itertools.pairwise(totals)]


def _octets_at(readings: Sequence[_Reading], at: float) -> float:
    number = bisect_left(readings, at, key=lambda each: each.at)
    if number == 0:
        return readings[0].octets
    a, b = readings[number - 1 : number + 1]
    return a.octets + (b.octets - a.octets) * (at - a.at) / (b.at - a.at)


def _felt_ms(readings: Sequence[_Reading], sent: float, before: int) -> float | None:
    """Milliseconds until the end of the first interval that shows it; None: none did."""
    for a, b in itertools.pairwise(readings):
        mbits = (b.octets - a.octets) * 8 / (b.at - a.at) / 1e6
        if a.at >= sent and mbits > _FELT * before:
            return round((b.at - sent) * 1e3, 1)
    return None
