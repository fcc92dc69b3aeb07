"""The flows that should stand, who wants each, and what of it the switch has.

A flow is known by its cookie, which is a hash of its content, so comparing cookies is comparing
flows. Several holders may want the same flow: it stands as long as one does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import field, frozen, mutable

from k8s_ovs.pipeline.wire import WireFlow
from k8s_ovs.reconcile.subject import Holder

__all__ = ["Conflict", "Delta", "FlowBook"]


@frozen
class Conflict:
    """A flow that could not be taken: another one has the same table, priority and match."""

    holder: Holder
    other: Holder
    flow: WireFlow


@frozen
class Delta:
    """One bundle: flows to add, cookies of flows to delete."""

    adds: tuple[WireFlow, ...] = ()
    deletes: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.adds or self.deletes)


@mutable
class _Stand:
    """A flow and those who want it, in order; dict for its order."""

    flow: WireFlow
    holders: dict[Holder, None] = field(factory=dict)


class FlowBook:
    """Desired flows by holder; the difference to what the switch has."""

    def __init__(self) -> None:
        self._held: dict[Holder, tuple[WireFlow, ...]] = {}
        self._stands: dict[int, _Stand] = {}
        self._by_key: dict[bytes, int] = {}
        self._installed: set[int] = set()
        self._touched: set[int] = set()
        self._refused: dict[Holder, str] = {}

    def __len__(self) -> int:
        return len(self._stands)

    def holders(self) -> frozenset[Holder]:
        return frozenset(self._held)

    def flows(self) -> Iterable[tuple[WireFlow, tuple[Holder, ...]]]:
        """Every flow that should stand, with those who want it."""
        return [(stand.flow, tuple(stand.holders)) for stand in self._stands.values()]

    def replace(self, changes: Mapping[Holder, tuple[WireFlow, ...]]) -> list[Conflict]:
        """Give each holder its new flows; an empty tuple forgets the holder.

        All old flows go first, so that one subject may take over the match of another.
        """
        for holder in changes:
            for flow in self._held.pop(holder, ()):
                self._release(holder, flow)
        conflicts: list[Conflict] = []
        for holder, flows in changes.items():
            # A plugin may say the same flow twice; it is held once.
            taken = tuple(
                flow for flow in dict.fromkeys(flows) if self._take(holder, flow, conflicts)
            )
            if taken:
                self._held[holder] = taken
        return conflicts

    def found(self, cookies: Iterable[int]) -> None:
        """The switch was read: it has the flows with these cookies and no others."""
        self._installed = set(cookies)
        self._touched = self._installed ^ self._stands.keys()

    def delta(self) -> Delta:
        """What has to change on the switch."""
        adds = [c for c in self._touched if c in self._stands and c not in self._installed]
        deletes = [c for c in self._touched if c not in self._stands and c in self._installed]
        return Delta(tuple(self._stands[cookie].flow for cookie in adds), tuple(deletes))

    def refuse(self, cookies: Iterable[int], reason: str) -> None:
        """The switch does not take these flows: forget them. `take_refused` tells whose."""
        for cookie in cookies:
            stand = self._stands.get(cookie)
            for holder in tuple(stand.holders) if stand else ():
                self._held[holder] = tuple(f for f in self._held[holder] if f.cookie != cookie)
                self._release(holder, stand.flow)  # type: ignore[union-attr]  # has holders
                self._refused[holder] = reason

    def take_refused(self) -> dict[Holder, str]:
        """Whose flows the switch has refused since the last call, with its words."""
        refused, self._refused = self._refused, {}
        return refused

    def committed(self, delta: Delta) -> None:
        """`delta` is on the switch now."""
        self._installed.update(flow.cookie for flow in delta.adds)
        self._installed.difference_update(delta.deletes)
        self._touched.clear()

    def _release(self, holder: Holder, flow: WireFlow) -> None:
        stand = self._stands[flow.cookie]
        stand.holders.pop(holder, None)
        if not stand.holders:
            del self._stands[flow.cookie]
            del self._by_key[flow.key]
            self._touched.add(flow.cookie)

    def _take(self, holder: Holder, flow: WireFlow, conflicts: list[Conflict]) -> bool:
        cookie = self._by_key.setdefault(flow.key, flow.cookie)
        if cookie != flow.cookie:
            other = next(iter(self._stands[cookie].holders))
            conflicts.append(Conflict(holder, other, flow))
            return False
        stand = self._stands.get(cookie)
        if stand is None:
            stand = self._stands[cookie] = _Stand(flow)
            self._touched.add(cookie)
        stand.holders[holder] = None
        return True
