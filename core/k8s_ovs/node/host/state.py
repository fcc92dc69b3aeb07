"""The one hand that compares what the node should have with what it has, and puts it right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

from attrs import frozen

from k8s_ovs.errors import K8sOvsError
from k8s_ovs.link.address_driver import AddressDriver
from k8s_ovs.link.ethtool import OffloadDriver
from k8s_ovs.link.nftables import NftDriver
from k8s_ovs.link.shaping.driver import RateDriver
from k8s_ovs.link.sysctl import SysctlDriver
from k8s_ovs.link.veth_driver import InterfaceDriver, VethDriver
from k8s_ovs.node.switch import BRIDGE, Switch
from k8s_ovs.ovs.openflow.port_driver import PortConfigDriver
from k8s_ovs.ovs.ovsdb.driver import SwitchDriver
from k8s_ovs.state.diff import Difference, diff
from k8s_ovs.state.driver import Driver
from k8s_ovs.state.value import Key, Value

__all__ = ["HostState", "Look", "Unknown", "host_state"]

T = TypeVar("T", Value, Difference)

#: How often a driver is asked again: addresses bring routes, and take them.
_ROUNDS = 3


@frozen
class Unknown:
    """Kinds of things that a driver could not read or change, and why."""

    kinds: frozenset[str]
    reason: K8sOvsError

    def __str__(self) -> str:
        return f"{', '.join(sorted(self.kinds))}: {self.reason}"


@frozen
class Look:
    """What differs, and what could not be read or changed."""

    differences: tuple[Difference, ...] = ()
    unknown: tuple[Unknown, ...] = ()

    def why_unknown(self, kind: str) -> K8sOvsError | None:
        """Why things of this kind could not be read or changed; None: they could."""
        return next((each.reason for each in self.unknown if kind in each.kinds), None)


class HostState:
    """drivers: in the order in which one builds on another."""

    def __init__(self, drivers: Sequence[Driver]) -> None:
        self._drivers = tuple(drivers)
        # What was found wrong and is not told yet: a driver may fail after it has changed it.
        self._untold: dict[Key, Difference] = {}

    @property
    def kinds(self) -> frozenset[str]:
        """Of the values that can be asked for."""
        return frozenset().union(*(driver.kinds for driver in self._drivers))

    def look(self, desired: Sequence[Value]) -> Look:
        """Compare; nothing is changed. With nothing desired, all that is ours is unexpected."""
        found: list[Difference] = []
        unknown: list[Unknown] = []
        for driver, own in self._shared_out(desired, whole=not desired):
            try:
                found += diff(own, driver.read(own))
            except K8sOvsError as error:
                unknown.append(Unknown(driver.kinds, error))
        return Look(tuple(found), tuple(unknown))

    def repair(self, desired: Sequence[Value]) -> tuple[list[Difference], Look]:
        """Put right what differs, each driver after those that it builds on.

        What was changed, and how it looks then; one that fails keeps no other from its work. What
        such a one has changed all the same is in the answer as soon as it can be looked at. What
        nothing of its driver is desired of stays: `apply` removes it.
        """
        done: list[Difference] = []
        left: list[Difference] = []
        unknown: list[Unknown] = []
        for driver, own in self._shared_out(desired):
            try:
                remaining = self._put_right(driver, own)
            except K8sOvsError as error:
                unknown.append(Unknown(driver.kinds, error))
            else:
                left += remaining
                done += self._told(driver, own, remaining)
        return done, Look(tuple(left), tuple(unknown))

    def apply(self, differences: Sequence[Difference]) -> Look:
        """Put right what a look has found; what is unexpected is removed. What is left, and why."""
        left: list[Difference] = []
        unknown: list[Unknown] = []
        for driver, own in self._shared_out(differences):
            try:
                driver.apply(own)
            except K8sOvsError as error:
                left += own
                unknown.append(Unknown(driver.kinds, error))
        return Look(tuple(left), tuple(unknown))

    def _shared_out(
        self, things: Sequence[T], *, whole: bool = False
    ) -> Iterator[tuple[Driver, list[T]]]:
        """Each driver with its own of the things. whole: also those that none is for."""
        for driver in self._drivers:
            own = [each for each in things if each.key.kind in driver.kinds]
            if own or whole:
                yield driver, own

    def _put_right(self, driver: Driver, own: Sequence[Value]) -> list[Difference]:
        """What still differs in the end."""
        now = diff(own, driver.read(own))
        for _ in range(_ROUNDS):
            self._untold = {each.key: each for each in now} | self._untold
            if not now:
                break
            driver.apply(now)
            now = diff(own, driver.read(own))
        return now

    def _told(
        self, driver: Driver, own: Sequence[Value], remaining: Sequence[Difference]
    ) -> list[Difference]:
        """What of these kinds is right now, each once."""
        still = {each.key for each in remaining}
        wanted = {each.key for each in own}
        ended = [
            each
            for key, each in self._untold.items()
            if key.kind in driver.kinds and key not in still
        ]
        for each in ended:
            del self._untold[each.key]
        return [each for each in ended if each.expected is None or each.key in wanted]


def host_state(switch: Switch, *before: Driver, delete_veths: bool = False) -> HostState:
    """With all drivers of a node, in their order. before: drivers that come first; delete_veths:
    those that are unexpected."""
    return HostState(
        [
            *before,
            SwitchDriver(switch.ovsdb, BRIDGE),
            PortConfigDriver(switch.openflow_connection),
            AddressDriver(),
            SysctlDriver(),
            OffloadDriver(),
            VethDriver(delete=delete_veths),
            NftDriver(),
            InterfaceDriver(),
            RateDriver(),
        ]
    )
