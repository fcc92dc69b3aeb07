"""What `k8s-ovs pod` says of a pod and its limits, from values."""

from __future__ import annotations

from decimal import Decimal
from ipaddress import IPv4Address

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from k8s_ovs.cli.host.pod import LimitedPod, as_json, limits, row, said_rate
from k8s_ovs.link.shaping.pod_rates import PodQueues
from k8s_ovs.link.shaping.token_bucket import Queue
from k8s_ovs.ovs.openflow.meters import Metered
from k8s_ovs_testing.world import sample_pod

POD = evolve(sample_pod(1), namespace="shop", name="web", ip=IPv4Address("172.11.4.7"))
BOTH = PodQueues(Queue(1_500_000, 75_061, 1_134, 0), Queue(10_000_000, 3_802_330, 2_616, 7))
LIMITED = LimitedPod(POD, BOTH, Metered(2_615, 3_802_288, 3, 4_242), "")
FREE = LimitedPod(POD, PodQueues(None, None), None, "")
UNSEEN = LimitedPod(POD, None, None, "network namespace /run/netns/x: No such file or directory")


@pytest.mark.parametrize(
    ("rate", "said"),
    [
        (None, "-"),
        (1_000, "1k"),
        (999, "999"),
        (10_000_000, "10M"),
        (1_500_000_000, "1.5G"),
        (10_485_760, "10485.76k"),
        (10**15, "1P"),
    ],
)
def test_a_rate_is_said_as_people_write_it(rate: int | None, said: str) -> None:
    assert said_rate(rate) == said


@given(st.integers(1, 10**15))
def test_no_digit_of_a_rate_is_lost(rate: int) -> None:
    said = said_rate(rate)
    scale = {"k": 3, "M": 6, "G": 9, "T": 12, "P": 15}.get(said[-1], 0)
    digits = said if scale == 0 else said[:-1]
    assert Decimal(digits) * 10**scale == rate


def test_a_row_has_both_directions() -> None:
    assert row(LIMITED)[:2] == ("shop/web", "172.11.4.7")
    assert row(LIMITED)[-2:] == ("1.5M", "10M")
    assert row(FREE)[-2:] == ("-", "-")
    assert row(UNSEEN)[-2:] == ("?", "?")


def test_limits_are_told_with_what_they_counted() -> None:
    assert list(limits(LIMITED)) == [
        ("to pod", "1.5M", "75061", "1134", "0"),
        ("from pod", "10M", "3802330", "2616", "7"),
        ("meter", "", "3802288", "2615", "3"),
    ]
    assert list(limits(FREE)) == []


def test_programs_get_numbers() -> None:
    said = as_json(LIMITED)
    assert said["pod"] == "shop/web"
    assert said["from_pod"] == {
        "rate": 10_000_000,
        "sent_bytes": 3_802_330,
        "sent_packets": 2_616,
        "dropped": 7,
    }
    assert said["meter"] == {"packets": 2_615, "bytes": 3_802_288, "dropped": 3}
    assert as_json(FREE)["to_pod"] is None
    assert as_json(UNSEEN)["problem"] == UNSEEN.problem
