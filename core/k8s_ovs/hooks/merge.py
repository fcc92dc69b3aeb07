"""What several plugins want of one pod, as one: its interface, its address."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network

from k8s_ovs.errors import InvalidRecord
from k8s_ovs.model.pod import Rates
from k8s_ovs.plugin.values import AddressChoice, LinkSettings

__all__ = ["merged", "merged_choices"]


def merged(wanted: Iterable[LinkSettings]) -> LinkSettings:
    """One setting of several plugins': the first MTU, all routes, the lowest rates."""
    settings = list(wanted)
    return LinkSettings(
        mtu=next((each.mtu for each in settings if each.mtu), None),
        routes=tuple(route for each in settings for route in each.routes),
        rates=Rates(
            _lowest(each.rates.to_pod for each in settings),
            _lowest(each.rates.from_pod for each in settings),
        ),
        must_hold=any(each.must_hold for each in settings if each.rates != Rates()),
    )


def merged_choices(wanted: Iterable[AddressChoice]) -> AddressChoice:
    """What all of them allow. Raises InvalidRecord where that is no address."""
    choices = list(wanted)
    within: tuple[IPv4Network, ...] = ()
    for networks in (each.within for each in choices if each.within):
        shared = _shared(within, networks) if within else networks
        if not shared:
            found = (", ".join(map(str, each)) for each in (within, networks))
            raise InvalidRecord(f"found {' and '.join(found)}, expected some address in both")
        within = shared
    return AddressChoice(within, tuple(each for choice in choices for each in choice.without))


def _shared(
    some: Iterable[IPv4Network], others: tuple[IPv4Network, ...]
) -> tuple[IPv4Network, ...]:
    """Of two networks that overlap one is inside the other."""
    return tuple(
        dict.fromkeys(
            max(one, other, key=lambda network: network.prefixlen)
            for one in some
            for other in others
            if one.overlaps(other)
        )
    )


def _lowest(rates: Iterable[int | None]) -> int | None:
    return min((rate for rate in rates if rate is not None), default=None)
