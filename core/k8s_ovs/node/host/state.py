"""The one hand that compares what the node should have with what it has, and puts it right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import field, frozen

from k8s_ovs.errors import K8sOvsError
from k8s_ovs.link.address_driver import AddressDriver
from k8s_ovs.link.ethtool import OffloadDriver
from k8s_ovs.link.nftables import NftDriver
from k8s_ovs.link.sysctl import SysctlDriver
from k8s_ovs.link.veth_driver import VethDriver
from k8s_ovs.ovs.ovsdb.client import Ovsdb
from k8s_ovs.ovs.ovsdb.driver import SwitchDriver
from k8s_ovs.state.diff import Difference, diff
from k8s_ovs.state.driver import Driver
from k8s_ovs.state.value import Value

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

        What was changed, and how it looks then; one that fails keeps no other from its work.
        """
        done: list[Difference] = []
        left: list[Difference] = []
        unknown: dict[str, K8sOvsError] = {}
        for driver in self._drivers:
            own = [each for each in desired if each.kind in driver.kinds]
            if not own:
                continue
            try:
                changed, remaining = _repaired(driver, own)
                done += changed
                left += remaining
            except K8sOvsError as error:
                unknown[", ".join(sorted(driver.kinds))] = error
        return done, Look(tuple(left), unknown)


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
        ]
    )


def _repaired(driver: Driver, own: Sequence[Value]) -> tuple[list[Difference], list[Difference]]:
    """What was changed, and what still differs."""
    first = diff(own, driver.read(own))
    now = first
    for _ in range(_ROUNDS):
        if not now:
            break
        driver.apply(now)
        now = diff(own, driver.read(own))
    still = {each.key for each in now}
    return [each for each in first if each.key not in still], now
