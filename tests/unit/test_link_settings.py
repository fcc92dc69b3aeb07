"""What several plugins want of one interface comes to one setting."""

from __future__ import annotations

from ipaddress import IPv4Network

import pytest

from k8s_ovs.hooks.merge import merged
from k8s_ovs.model.pod import Rates
from k8s_ovs.plugin.values import LinkSettings

ONE, TWO = IPv4Network("10.1.0.0/16"), IPv4Network("10.2.0.0/16")


def test_where_nobody_wants_anything_the_interface_is_the_networks() -> None:
    settings = merged([])
    assert (settings.mtu, settings.routes, settings.rates) == (None, (), Rates())


def test_the_first_mtu_counts_and_the_routes_of_all() -> None:
    settings = merged(
        [
            LinkSettings(routes=(ONE,)),
            LinkSettings(mtu=1400, routes=(TWO,)),
            LinkSettings(mtu=1300),
        ]
    )
    assert (settings.mtu, settings.routes) == (1400, (ONE, TWO))


@pytest.mark.parametrize(
    ("wanted", "rates"),
    [
        ([Rates(5_000, None), Rates(None, 7_000)], Rates(5_000, 7_000)),
        ([Rates(5_000, 7_000), Rates(6_000, 6_000)], Rates(5_000, 6_000)),
        ([Rates(), Rates(5_000)], Rates(5_000)),
    ],
)
def test_of_each_direction_the_lowest_rate_counts(wanted: list[Rates], rates: Rates) -> None:
    settings = [LinkSettings(rates=each) for each in wanted]
    assert merged(settings).rates == rates
    assert merged(reversed(settings)).rates == rates


def test_a_limit_must_hold_where_one_who_wants_a_limit_says_so() -> None:
    lax, strict = (
        LinkSettings(rates=Rates(5_000), must_hold=False),
        LinkSettings(rates=Rates(9_000)),
    )
    silent = LinkSettings(mtu=1400)
    assert not merged([lax, silent]).must_hold
    assert merged([lax, strict]).must_hold
    assert merged([strict]).must_hold


def test_what_was_merged_merges_again_to_the_same() -> None:
    settings = [
        LinkSettings(mtu=1400, routes=(ONE,), rates=Rates(5_000), must_hold=False),
        LinkSettings(routes=(TWO,), rates=Rates(None, 7_000)),
    ]
    assert merged([merged(settings)]) == merged(settings)
    assert merged([merged(settings[:1]), merged(settings[1:])]) == merged(settings)
