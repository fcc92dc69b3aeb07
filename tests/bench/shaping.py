"""Do the rate limits of pods hold, and what do they cost limited pods?

Beside Debian's CNI program `bandwidth`, run by run, alternating, so that the machine's noise meets
both.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import live
import neighbour
from attrs import evolve, frozen
from limited import FROM_POD, TO_POD, Limited, Pair, bandwidth, k8s_ovs, rates_of
from load import Load, put

from k8s_ovs.link.shaping.token_bucket import burst_of
from k8s_ovs.model.pod import Rates
from k8s_ovs_lab import Lab
from k8s_ovs_lab.command import run
from k8s_ovs_lab.underlay import add_namespace, remove_namespaces

__all__ = ["RATES", "Wanted", "measure"]

#: Bits per second.
RATES = {"1M": 10**6, "10M": 10**7, "100M": 10**8, "1G": 10**9}
#: The rate of which TCP runs at full length.
_LONG = "10M"
_SHORTER = 0.4
#: Bits per second that a stream asks for so as not to saturate the machine.
_PACE = 200 * 10**6
#: It is steady, so this many rounds are enough.
_PACED_ROUNDS = 3
#: Bytes of a full frame of pods, for burst_of.
_FRAME = 1464
#: Bits that containerd gives as burst, whatever the rate (its toCNIBandWidth: MaxUint32).
_CONTAINERD_BURST = 2**32 - 1


@frozen
class Wanted:
    """rates: names in RATES. seconds: of a TCP run at 10M; others are shorter. congestion: TCP's
    congestion control; None: the system's. rounds: of a pod without a limit beside one with, at
    most."""

    rates: Sequence[str]
    seconds: int
    congestion: str | None
    rounds: int

    def load(self, rate: str, protocol: str, streams: int) -> Load:
        """What is put on a limit."""
        full = rate == _LONG and protocol == "tcp"
        seconds = self.seconds if full else max(2, round(self.seconds * _SHORTER))
        return Load(protocol, streams, seconds, RATES[rate], self.congestion)


def measure(lab: Lab, peer: str, wanted: Wanted, progress: Callable[[str], None]) -> dict[str, Any]:
    """{"unlimited": ..., "runs": [...], "beside": [...], "live": ...}; see the functions below.

    lab: with one node at least. peer: name of a network namespace to make for the other's node.
    """
    with _subjects(lab, peer) as (ours, theirs, given):
        progress("pods without a limit")
        unlimited = {each.title: _unlimited(each, wanted) for each in (ours, theirs)}
        runs = []
        for rate in wanted.rates:
            for direction in (FROM_POD, TO_POD):
                runs += _turns((ours, theirs), wanted, rate, direction, progress)
            if rate == _LONG:
                runs += _as_containerd_gives_it(given, wanted, rate)
        beside = _beside(lab, wanted, progress)
        progress("a limit that changes")
        changed = live.measure(lab)
        return {
            "fair_queue": _fair_queue(lab, ours),
            "unlimited": unlimited,
            "runs": runs,
            "beside": beside,
            "live": changed,
        }


@contextmanager
def _subjects(lab: Lab, peer: str) -> Iterator[tuple[Limited, Limited, Limited]]:
    """k8s-ovs; `bandwidth` with our burst; and with the one that containerd gives it."""
    with tempfile.TemporaryDirectory(prefix="k8s-ovs-bench-") as name:
        add_namespace(peer)
        try:
            run(["ip", "link", "set", "lo", "up"], netns=peer)
            yield (
                k8s_ovs(lab),
                bandwidth("bandwidth", peer, Path(name), lambda rate: 8 * burst_of(rate, _FRAME)),
                bandwidth("bandwidth, 4 Gbit", peer, Path(name), lambda _: _CONTAINERD_BURST),
            )
        finally:
            remove_namespaces([peer])


def _unlimited(subject: Limited, wanted: Wanted) -> dict[str, int]:
    """Bits per second of TCP, by the number of streams."""
    with subject.pair(Rates()) as pair:
        found = {}
        for streams in (1, 8):
            load = wanted.load("1G", "tcp", streams)
            found[str(streams)] = put(*pair.ends(FROM_POD), load)["bits_per_second"]
        return found


def _turns(
    subjects: Sequence[Limited],
    wanted: Wanted,
    rate: str,
    direction: str,
    progress: Callable[[str], None],
) -> list[dict[str, Any]]:
    """All loads on one limit, of all subjects, one after the other."""
    runs = []
    with ExitStack() as stack:
        rates = rates_of(direction, RATES[rate])
        pairs = {each.title: stack.enter_context(each.pair(rates)) for each in subjects}
        for protocol in ("tcp", "udp"):
            for streams in (1, 8):
                progress(f"{rate} {direction}, {protocol}, {streams} at once")
                load = wanted.load(rate, protocol, streams)
                runs += [_run(title, pair, rate, direction, load) for title, pair in pairs.items()]
    return runs


def _as_containerd_gives_it(given: Limited, wanted: Wanted, rate: str) -> list[dict[str, Any]]:
    runs = []
    for direction in (FROM_POD, TO_POD):
        with given.pair(rates_of(direction, RATES[rate])) as pair:
            load = wanted.load(rate, "tcp", 1)
            runs.append(_run(given.title, pair, rate, direction, load))
    return runs


def _run(title: str, pair: Pair, rate: str, direction: str, load: Load) -> dict[str, Any]:
    """One run: what it was, and what `put` found."""
    said = {
        "subject": title,
        "rate": rate,
        "direction": direction,
        "protocol": load.protocol,
        "streams": load.streams,
        "seconds": load.seconds,
    }
    return said | put(*pair.ends(direction), load)


def _beside(lab: Lab, wanted: Wanted, progress: Callable[[str], None]) -> list[dict[str, Any]]:
    """What neighbour.measure finds: of TCP that takes all it can get, then of TCP at a pace."""
    free, rate = wanted.load("1G", "tcp", 1), RATES[_LONG]
    paced, rounds = evolve(free, pace=_PACE), min(wanted.rounds, _PACED_ROUNDS)
    return [
        *neighbour.measure(lab, free, rate, wanted.rounds, progress),
        *neighbour.measure(lab, paced, rate, rounds, progress),
    ]


def _fair_queue(lab: Lab, ours: Limited) -> str | None:
    """What gives each connection a queue of its own below the limit: fq or htb; None: nothing."""
    with ours.pair(rates_of(FROM_POD, RATES[_LONG])):
        said = lab.exec("limited", ["tc", "qdisc", "show", "dev", "eth0"]).stdout
    return next((each for each in ("fq", "htb") if f"qdisc {each} " in said), None)
