"""The one hand that compares what the node should have with what it has, and puts it right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import field, frozen

from k8s_ovs.errors import K8sOvsError
from k8s_ovs.link.address_driver import AddressDriver
from k8s_ovs.link.ethtool import OffloadDriver
from k8s_ovs.link.nftables import NftDriver
from k8s_ovs.link.shaping.driver import RateDriver
from k8s_ovs.link.sysctl import SysctlDriver
from k8s_ovs.link.veth_driver import VethDriver
from k8s_ovs.ovs.ovsdb.client import Ovsdb
from k8s_ovs.ovs.ovsdb.driver import SwitchDriver
from k8s_ovs.state.diff import Difference, diff
from k8s_ovs.state.driver import Driver
from k8s_ovs.state.value import Key, Value

__all__ = ["HostState", "Look", "host_state"]

#: How often a driver is asked again: addresses bring routes, and take them.
_ROUNDS = 3


@frozen
class Look:
    """What differs, and what could not be asked, with the reason, by the kinds of its driver."""

    differences: tuple[Difference, ...] = ()
    unknown: Mapping[str, K8sOvsError] = field(factory=dict)


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
        """Compare; nothing is changed."""
        found: list[Difference] = []
        unknown: dict[str, K8sOvsError] = {}
        for driver in self._drivers:
            own = [each for each in desired if each.kind in driver.kinds]
            if own:
                try:
                    found += diff(own, driver.read(own))
                except K8sOvsError as error:
                    unknown[", ".join(sorted(driver.kinds))] = error
        return Look(tuple(found), unknown)

    def repair(self, desired: Sequence[Value]) -> tuple[list[Difference], Look]:
        """Put right what differs, each driver after those that it builds on.

        What was changed, and how it looks then; one that fails keeps no other from its work. What
        such a one has changed all the same is in the answer as soon as it can be looked at.
        """
        done: list[Difference] = []
        left: list[Difference] = []
        unknown: dict[str, K8sOvsError] = {}
        for driver in self._drivers:
            own = [each for each in desired if each.kind in driver.kinds]
            if not own:
                continue
            try:
                remaining = self._put_right(driver, own)
            except K8sOvsError as error:
                unknown[", ".join(sorted(driver.kinds))] = error
            else:
                left += remaining
                done += self._told(driver, own, remaining)
        return done, Look(tuple(left), unknown)

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


def host_state(ovsdb: Ovsdb) -> HostState:
    """With all drivers, in their order."""
    return HostState(
        [
            SwitchDriver(ovsdb),
            AddressDriver(),
            SysctlDriver(),
            OffloadDriver(),
            VethDriver(),
            NftDriver(),
            RateDriver(),
        ]
    )
