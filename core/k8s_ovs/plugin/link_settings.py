"""What should a pod's interface be like? What each plugin says, and what they come to together."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network

from attrs import field, frozen

from k8s_ovs.model.pod import Rates

__all__ = ["LinkSettings", "merged"]


@frozen
class LinkSettings:
    """What a plugin wants of a pod's interface.

    mtu: bytes; None: the network's. routes: more routes, through the gateway.
    rates: limits, which are kept by letting packets wait. must_hold: a pod for which this node's
    kernel cannot do that is refused; False: it runs without, and that is told.
    """

    mtu: int | None = None
    routes: tuple[IPv4Network, ...] = ()
    rates: Rates = field(factory=Rates)
    must_hold: bool = True


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


def _lowest(rates: Iterable[int | None]) -> int | None:
    return min((rate for rate in rates if rate is not None), default=None)
