"""Which of a kind's records keep what another one keeps already? The one that came first counts.

What is looked at again is what has changed, and what that touches.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Iterator, Mapping
from ipaddress import IPv4Network
from typing import Any, NamedTuple

from k8s_ovs.node.records.outcome import Outcome, Valid

__all__ = ["ExclusiveKind"]


class _Claim(NamedTuple):
    """rank: etcd's revision, or 0: it was in force before."""

    rank: int
    key: str
    held: IPv4Network


class ExclusiveKind:
    """One kind of which no two records may hold what overlaps.

    holds: what a value keeps. settled: the value of a key that is in force, or None.
    """

    def __init__(
        self, holds: Callable[[Any], IPv4Network | None], settled: Callable[[str], Any]
    ) -> None:
        self._holds = holds
        self._settled = settled
        self._claimed: dict[str, set[IPv4Network]] = {}
        self._places = _Places()

    def contradictions(
        self, dirty: Iterable[str], found: Mapping[str, Outcome]
    ) -> tuple[set[str], dict[str, tuple[IPv4Network, _Claim]]]:
        """The keys that are touched by a change of the `dirty` ones, and which of those contradict
        another one: what each holds, and the other one.

        found: of each key what is written there comes to by itself; it lacks what is gone.
        """
        near = self._near(set(dirty), found)
        settled = {
            key: value for key in near & found.keys() if (value := self._settled(key)) is not None
        }
        claims = {claim.key: claim for claim in self._written(near, found, settled)}
        held = {key for key in settled if not isinstance(found[key], Valid)}
        wrong: dict[str, tuple[IPv4Network, _Claim]] = {}
        while True:
            # A record that is refused keeps its last settled value, which is nobody else's then.
            claims |= {
                key: _Claim(0, key, kept)
                for key in held
                if (kept := self._holds(settled[key])) is not None
            }
            for claim, other in _clashes(claims.values()):
                wrong.setdefault(claim.key, (claim.held, other))
            back = (settled.keys() & wrong.keys()) - held
            if not back:
                return near, wrong
            held |= back

    def _written(
        self, near: set[str], found: Mapping[str, Outcome], settled: Mapping[str, Any]
    ) -> Iterator[_Claim]:
        """What the records claim as they are written; a request as it was before."""
        for key in near:
            each, before = found.get(key), settled.get(key)
            if not isinstance(each, Valid) or (each.asks and before is None):
                continue
            kept = None if before is None else self._holds(before)
            wanted = kept if each.asks else self._holds(each.value)
            if wanted is not None:
                # What is in force already came first, however late it was written again.
                older = before is not None and wanted == kept
                yield _Claim(0 if older else each.revision, key, wanted)

    def _near(self, dirty: set[str], found: Mapping[str, Outcome]) -> set[str]:
        """The dirty keys, and all that overlap with what they claim or claimed, and so on."""
        near: set[str] = set()
        left = set(dirty)
        for key in dirty:
            for network in self._claimed.get(key, ()):
                left |= self._places.touching(network)
            self._claim(key, found.get(key))
        while left:
            near |= left
            touched = (
                self._places.touching(network)
                for key in left
                for network in self._claimed.get(key, ())
            )
            left = set().union(*touched) - near
        return near

    def _claim(self, key: str, outcome: Outcome) -> None:
        """Note what the key may hold now: by what is written there, or what is in force."""
        values = [] if outcome is None else [self._settled(key)]
        if isinstance(outcome, Valid):
            values.append(outcome.value)
        held = (self._holds(each) for each in values if each is not None)
        now = {network for network in held if network is not None}
        before = self._claimed.pop(key, set())
        for network in before - now:
            self._places.remove(key, network)
        for network in now - before:
            self._places.add(key, network)
        if now:
            self._claimed[key] = now


def _clashes(claims: Iterable[_Claim]) -> Iterator[tuple[_Claim, _Claim]]:
    """Of claims those that overlap an older one that counts, each with that one."""
    # Those that count overlap nowhere, so just the neighbours of a new one can be in its way.
    starts: list[int] = []
    valid: list[_Claim] = []
    for claim in sorted(claims):
        first = int(claim.held.network_address)
        at = bisect_right(starts, first)
        neighbours = valid[max(at - 1, 0) : at + 1]
        other = next((each for each in neighbours if each.held.overlaps(claim.held)), None)
        if other is not None:
            yield claim, other
        else:
            starts.insert(at, first)
            valid.insert(at, claim)


class _Places:
    """Keys by what they claim. Networks that overlap lie one in the other."""

    def __init__(self) -> None:
        self._keys: dict[tuple[int, int], set[str]] = {}
        self._starts: list[tuple[int, int]] = []

    def add(self, key: str, network: IPv4Network) -> None:
        place = _place(network)
        if place not in self._keys:
            self._keys[place] = set()
            insort(self._starts, place)
        self._keys[place].add(key)

    def remove(self, key: str, network: IPv4Network) -> None:
        place = _place(network)
        self._keys[place].discard(key)
        if not self._keys[place]:
            del self._keys[place]
            del self._starts[bisect_left(self._starts, place)]

    def touching(self, network: IPv4Network) -> set[str]:
        """The keys that claim something of `network`."""
        first, length = _place(network)
        found: set[str] = set()
        for prefix in range(length):  # what it lies in
            around = (first >> (32 - prefix) << (32 - prefix), prefix)
            found |= self._keys.get(around, set())
        last = first + network.num_addresses
        inside = self._starts[
            bisect_left(self._starts, (first, 0)) : bisect_left(self._starts, (last, 0))
        ]
        for place in inside:
            found |= self._keys[place]
        return found


def _place(network: IPv4Network) -> tuple[int, int]:
    return int(network.network_address), network.prefixlen
