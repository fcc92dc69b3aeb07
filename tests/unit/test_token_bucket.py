"""How much may come at once through a token bucket, and what is said where a kernel has none."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from errno import ENOENT, EPERM

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k8s_ovs.link.netlink import LinkError, Step
from k8s_ovs.link.shaping import fair_queueing as fair
from k8s_ovs.link.shaping import token_bucket as shape_module
from k8s_ovs.link.shaping.fair_queueing import QueueLimits
from k8s_ovs.link.shaping.tc import MAX_32
from k8s_ovs.link.shaping.token_bucket import Queue, ShapedDevice, burst_of, is_cut, set_rate

rates = st.integers(10**3, 10**15)
frames = st.integers(82, 65_549)
SEGMENT = 1 << 16

DEVICE = ShapedDevice(index=1, name="kovs1", mtu=1450, limits=QueueLimits(2, 20, 8))


@given(rate=rates, frame=frames)
def test_a_bucket_always_holds_two_frames(rate: int, frame: int) -> None:
    assert burst_of(rate, frame) >= 2 * frame


@given(rate=rates, frame=frames)
def test_no_more_comes_at_once_than_a_short_time_of_sending(rate: int, frame: int) -> None:
    """16 ms, or of a fast one 2 ms and a segment; and never less than goes into a bucket at all."""
    octets = rate / 8
    burst = burst_of(rate, frame)
    assert burst <= max(2 * frame, octets * 0.016)
    assert burst <= max(2 * frame, octets * 0.002 + SEGMENT)


@given(rate=rates, frame=frames)
def test_a_late_timer_costs_no_rate(rate: int, frame: int) -> None:
    """What may come at once is worth at least 2 ms: a kernel's timer is late by less."""
    assert burst_of(rate, frame) >= rate // 8 * 2 // 1000


@given(one=rates, other=rates, frame=frames)
def test_who_may_be_faster_has_no_smaller_bucket(one: int, other: int, frame: int) -> None:
    slower, faster = sorted((one, other))
    assert burst_of(slower, frame) <= burst_of(faster, frame)


class Kernel:
    """A kernel that refuses steps of which the beginnings are given, each with an errno."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, errors: Mapping[str, int]) -> None:
        self.errors = errors
        self.asked: list[str] = []
        monkeypatch.setattr(shape_module, "queue_of", lambda _channel, _index: None)
        monkeypatch.setattr(shape_module, "alteration", lambda *_: "")
        for module in (shape_module, fair):
            monkeypatch.setattr(module, "perform", self._perform)

    def _perform(self, _channel: socket.socket, steps: Sequence[Step]) -> None:
        for step in steps:
            self.asked.append(step.what)
            for beginning, errno in self.errors.items():
                if step.what.startswith(beginning):
                    raise LinkError(f"cannot {step.what}: no", errno)


@pytest.fixture
def channel() -> socket.socket:
    return socket.socket.__new__(socket.socket)


def test_a_kernel_without_a_token_bucket_is_named(
    monkeypatch: pytest.MonkeyPatch, channel: socket.socket
) -> None:
    Kernel(monkeypatch, {"set": ENOENT})
    with pytest.raises(LinkError) as refused:
        set_rate(channel, DEVICE, 10_000_000)
    assert str(refused.value) == (
        "cannot set the rate limit 10000000 bit/s of kovs1: no: "
        "this kernel has no token bucket (sch_tbf)"
    )
    assert refused.value.errno == ENOENT


@pytest.mark.parametrize(
    ("missing", "tried"),
    [
        ({}, ["queue fairly"]),
        ({"queue fairly": ENOENT}, ["queue fairly", "queue by classes"]),
        (
            {"queue fairly": ENOENT, "queue by classes": ENOENT},
            ["queue fairly", "queue by classes", "queue"],
        ),
    ],
)
def test_a_kernel_queues_as_well_as_it_can(
    monkeypatch: pytest.MonkeyPatch,
    channel: socket.socket,
    missing: dict[str, int],
    tried: list[str],
) -> None:
    kernel = Kernel(monkeypatch, missing)
    assert set_rate(channel, DEVICE, 10_000_000)
    once = dict.fromkeys(each for each in kernel.asked if not each.startswith("empty"))
    assert list(once) == [
        "set the rate limit 10000000 bit/s of kovs1",
        *(f"{each} on kovs1" for each in tried),
    ]


@pytest.mark.parametrize(
    "refused",
    [
        {"set": EPERM},
        {"queue fairly": EPERM},
        {"queue fairly": ENOENT, "queue by classes": EPERM},
        {"queue": ENOENT},
    ],
)
def test_another_refusal_is_told_in_the_kernels_words(
    monkeypatch: pytest.MonkeyPatch, channel: socket.socket, refused: dict[str, int]
) -> None:
    kernel = Kernel(monkeypatch, refused)
    with pytest.raises(LinkError, match=rf"^cannot {list(refused)[-1]} .*: no"):
        set_rate(channel, DEVICE, 10_000_000)
    # Nothing is left half done.
    assert kernel.asked[-1].startswith("clear" if "set" not in refused else "set")


@given(rate=rates, frame=frames)
def test_what_is_not_cut_is_short_and_has_room_in_the_bucket(rate: int, frame: int) -> None:
    if is_cut(rate):
        # There is a peak rate above it.
        assert rate // 8 < MAX_32
    else:
        assert SEGMENT / (rate // 8) <= 0.002
        assert burst_of(rate, frame) >= SEGMENT + frame


@pytest.mark.parametrize(
    ("rate", "cut"), [(1_000, True), (262_000_000, True), (263_000_000, False)]
)
def test_segments_of_slow_devices_are_cut(rate: int, cut: bool) -> None:
    assert is_cut(rate) is cut


@pytest.mark.parametrize(
    ("before", "after", "anew"),
    [
        (10_000_000, 200_000_000, False),
        (300_000_000, 10**9, False),
        (10_000_000, 300_000_000, True),
        (300_000_000, 10_000_000, True),
    ],
)
def test_where_segments_begin_or_cease_to_be_cut_what_waits_is_dropped(
    monkeypatch: pytest.MonkeyPatch, channel: socket.socket, before: int, after: int, anew: bool
) -> None:
    kernel = Kernel(monkeypatch, {})
    monkeypatch.setattr(shape_module, "queue_of", lambda _channel, _index: Queue(before))
    assert set_rate(channel, DEVICE, after)
    assert ("empty the queue of kovs1" in kernel.asked) is anew
