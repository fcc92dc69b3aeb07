"""What several plugins want of one pod's interface, as one."""

from __future__ import annotations

from collections.abc import Iterable

from k8s_ovs.model.pod import Rates
from k8s_ovs.plugin.values import LinkSettings

__all__ = ["merged"]


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
