"""The desired flows, who wants each, and which of them the switch has.

A flow is known by its cookie, which is a hash of its content, so comparing cookies is comparing
flows. Several owners may want the same flow: it stays as long as one does. Flows of plugins that
do not know yet which they want stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import frozen, mutable

from k8s_ovs.pipeline.action import Meter
from k8s_ovs.pipeline.wire import WireFlow, owner_of
from k8s_ovs.reconcile.claims import Claims
from k8s_ovs.reconcile.subject import FlowOwner

__all__ = ["Delta", "DesiredFlows", "FlowConflict"]


@frozen
class FlowConflict:
    """A flow that could not be taken. clash: how it stands to the other owner's."""

    owner: FlowOwner
    other: FlowOwner
    flow: WireFlow
    clash: str = "has the same table, priority and match as"


@frozen
class Delta:
    """One bundle: flows to add, cookies of flows to delete.

    new_meters, other_meters: to add and to change before; old_meters: numbers to delete after it.
    """

    adds: tuple[WireFlow, ...] = ()
    deletes: tuple[int, ...] = ()
    new_meters: tuple[Meter, ...] = ()
    other_meters: tuple[Meter, ...] = ()
    old_meters: tuple[int, ...] = ()

    def __str__(self) -> str:
        added, deleted = {flow.cookie for flow in self.adds}, set(self.deletes)
        parts = {
            "missing": len(added - deleted),
            "changed": len(added & deleted),
            "unexpected": len(deleted - added),
            "meters missing or changed": len(self.new_meters) + len(self.other_meters),
            "meters unexpected": len(self.old_meters),
        }
        return ", ".join(f"{count} {what}" for what, count in parts.items() if count)

    @property
    def size(self) -> int:
        """How many flows and meters differ."""
        flows = {flow.cookie for flow in self.adds} | set(self.deletes)
        return len(flows) + sum(map(len, (self.new_meters, self.other_meters, self.old_meters)))

    def beyond(self, other: Delta) -> Delta:
        """What differs here and not in `other`."""
        cookies = {flow.cookie for flow in other.adds}
        return Delta(
            tuple(flow for flow in self.adds if flow.cookie not in cookies),
            tuple(cookie for cookie in self.deletes if cookie not in other.deletes),
            tuple(each for each in self.new_meters if each not in other.new_meters),
            tuple(each for each in self.other_meters if each not in other.other_meters),
            tuple(number for number in self.old_meters if number not in other.old_meters),
        )

    def __bool__(self) -> bool:
        flows = self.adds or self.deletes
        return bool(flows or self.new_meters or self.other_meters or self.old_meters)


@frozen
class _Meant:
    """The conjunction that a number means in one table."""

    plugin: str
    name: str
    clauses: int

    def __str__(self) -> str:
        return f'conjunction "{self.name}" of {self.clauses} clauses'


@mutable
class _Desired:
    """A flow and those who want it, in order."""

    flow: WireFlow
    owners: tuple[FlowOwner, ...] = ()


class DesiredFlows:
    """Desired flows by owner; the difference to what the switch has."""

    def __init__(self) -> None:
        self._held: dict[FlowOwner, tuple[WireFlow, ...]] = {}
        self._desired: dict[int, _Desired] = {}
        self._by_key: dict[bytes, int] = {}
        self._meters = Claims[int, Meter]()
        # By table and id.
        self._conjunctions = Claims[tuple[str, int], _Meant]()
        self._installed: set[int] = set()
        self._installed_meters: dict[int, Meter] = {}
        self._altered: set[int] = set()
        self._touched: set[int] = set()
        self._refused: dict[FlowOwner, str] = {}
        self._frozen: frozenset[int] = frozenset()
        self._frozen_with: frozenset[int] = frozenset()
        # Frozen ones that a flow of the same match, which came later, may have taken the place of.
        self._doubtful: set[int] = set()

    def __len__(self) -> int:
        return len(self._desired)

    def owners(self) -> frozenset[FlowOwner]:
        return frozenset(self._held)

    def flows(self) -> Iterable[tuple[WireFlow, tuple[FlowOwner, ...]]]:
        """Every desired flow, with those who want it."""
        return [(desired.flow, desired.owners) for desired in self._desired.values()]

    def of(self, owner: FlowOwner) -> tuple[WireFlow, ...]:
        """The flows that `owner` wants."""
        return self._held.get(owner, ())

    def freeze(self, owners: Iterable[int], cookies: Iterable[int]) -> None:
        """Delete none of the flows that have the bits of these owners in their cookies, and no
        meters, as they may be those of such flows; until the next call.

        cookies: of flows without which those of the owners mean something else. While the switch
        lacks one of them, nothing is frozen.
        """
        before, self._frozen = self._frozen, frozenset(owners)
        self._frozen_with = frozenset(cookies)
        if before - self._frozen:
            self._touched |= self._installed ^ self._desired.keys()

    def replace(self, changes: Mapping[FlowOwner, tuple[WireFlow, ...]]) -> list[FlowConflict]:
        """Give each owner its new flows; an empty tuple forgets the owner.

        All old flows go first, so that one subject may take over the match of another.
        """
        for owner in changes:
            for flow in self._held.pop(owner, ()):
                self._release(owner, flow)
        conflicts: list[FlowConflict] = []
        for owner, flows in changes.items():
            # A plugin may say the same flow twice; it is held once.
            taken = tuple(
                flow for flow in dict.fromkeys(flows) if self._take(owner, flow, conflicts)
            )
            if taken:
                self._held[owner] = taken
        return conflicts

    def found(
        self,
        cookies: Iterable[int],
        meters: Mapping[int, Meter] | None = None,
        altered: Iterable[int] = (),
    ) -> None:
        """The switch was read: it has the flows with these cookies, these meters, and no others.

        altered: those of the cookies whose flows somebody changed: they are made anew.
        """
        self._installed = set(cookies)
        self._installed_meters = dict(meters or {})
        self._altered = set(altered)
        self._doubtful.clear()
        self._touched = (self._installed ^ self._desired.keys()) | self._altered

    def delta(self) -> Delta:
        """What has to change on the switch."""
        wrong = self._altered | self._doubtful
        right = self._installed - wrong if wrong else self._installed
        frozen = self._frozen_now()
        adds = [c for c in self._touched if c in self._desired and c not in right]
        deletes = [
            c
            for c in self._touched
            if (c in self._altered or (c not in self._desired and c in self._installed))
            and (c in self._desired or owner_of(c) not in frozen)
        ]
        wanted = self._meters.values()
        there = self._installed_meters
        return Delta(
            tuple(self._desired[cookie].flow for cookie in adds),
            tuple(deletes),
            new_meters=tuple(each for each in wanted if each.number not in there),
            other_meters=tuple(e for e in wanted if there.get(e.number, e) != e),
            old_meters=() if frozen else tuple(there.keys() - self._meters.keys()),
        )

    def _frozen_now(self) -> frozenset[int]:
        return self._frozen if self._frozen_with <= self._installed else frozenset()

    def metered(self, delta: Delta, refused: Mapping[int, str]) -> None:
        """The meters of `delta` are on the switch now, but for those that it refused, by number
        with its words: the flows that name them are forgotten."""
        put = {each.number: each for each in (*delta.new_meters, *delta.other_meters)}
        self._installed_meters |= {n: each for n, each in put.items() if n not in refused}
        for number, reason in refused.items():
            self.refuse(self._meters.cookies(number), reason)

    def refuse(self, cookies: Iterable[int], reason: str) -> None:
        """The switch does not take these flows: forget them. `take_refused` tells whose."""
        for cookie in cookies:
            desired = self._desired.get(cookie)
            for owner in desired.owners if desired else ():
                self._held[owner] = tuple(f for f in self._held[owner] if f.cookie != cookie)
                self._release(owner, desired.flow)  # type: ignore[union-attr]  # has owners
                self._refused[owner] = reason

    def take_refused(self) -> dict[FlowOwner, str]:
        """Whose flows the switch has refused since the last call, with its words."""
        refused, self._refused = self._refused, {}
        return refused

    def committed(self, delta: Delta) -> None:
        """`delta` is on the switch now."""
        added = {flow.cookie for flow in delta.adds}
        if added and (frozen := self._frozen_now()):
            others = self._installed - self._desired.keys()
            self._doubtful |= {cookie for cookie in others if owner_of(cookie) in frozen}
        self._doubtful -= added
        self._installed.difference_update(delta.deletes)
        self._installed |= added
        self._altered.clear()
        for number in delta.old_meters:
            self._installed_meters.pop(number, None)
        self._touched.clear()

    def _release(self, owner: FlowOwner, flow: WireFlow) -> None:
        desired = self._desired[flow.cookie]
        desired.owners = tuple(each for each in desired.owners if each != owner)
        if not desired.owners:
            del self._desired[flow.cookie]
            del self._by_key[flow.key]
            self._touched.add(flow.cookie)
            if flow.meter is not None:
                self._meters.release(flow.meter.number, flow.cookie)
            for each in flow.conjunctions:
                self._conjunctions.release((flow.flow.table.name, each.number), flow.cookie)

    def _take(self, owner: FlowOwner, flow: WireFlow, conflicts: list[FlowConflict]) -> bool:
        cookie = self._by_key.setdefault(flow.key, flow.cookie)
        if cookie != flow.cookie:
            other = self._desired[cookie].owners[0]
            conflicts.append(FlowConflict(owner, other, flow))
            return False
        desired = self._desired.get(cookie)
        if desired is None and (flow.meter is not None or flow.conjunctions):
            clash = self._clash(owner, flow)
            if clash is not None:
                del self._by_key[flow.key]
                other = self._desired[clash[0]].owners[0]
                conflicts.append(FlowConflict(owner, other, flow, clash[1]))
                return False
            self._claim(owner, flow)
        if desired is None:
            desired = self._desired[cookie] = _Desired(flow)
            self._touched.add(cookie)
        if owner not in desired.owners:
            desired.owners += (owner,)
        return True

    def _clash(self, owner: FlowOwner, flow: WireFlow) -> tuple[int, str] | None:
        """The cookie of a flow that means something else by a number that this one names, and how
        the two differ, in words."""
        if flow.meter is not None:
            metering = self._meters.other(flow.meter.number, flow.meter)
            if metering is not None:
                return metering[0], "has the same meter as"
        for each in flow.conjunctions:
            meant = _Meant(owner.plugin, each.name, each.of)
            other = self._conjunctions.other((flow.flow.table.name, each.number), meant)
            if other is not None:
                return other[0], f"names {meant} by the id that stands for {other[1]} in"
        return None

    def _claim(self, owner: FlowOwner, flow: WireFlow) -> None:
        if flow.meter is not None:
            self._meters.take(flow.meter.number, flow.meter, flow.cookie)
        for each in flow.conjunctions:
            meant = _Meant(owner.plugin, each.name, each.of)
            self._conjunctions.take((flow.flow.table.name, each.number), meant, flow.cookie)
