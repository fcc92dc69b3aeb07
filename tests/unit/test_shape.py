"""How much may come at once through a token bucket, and what is said where a kernel has none."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from errno import ENOENT, EPERM

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k8s_ovs.link import shape as module
from k8s_ovs.link.netlink import LinkError, Step
from k8s_ovs.link.shape import Shaped, burst_of, shape

rates = st.integers(10**3, 10**15)
frames = st.integers(82, 65_549)
SEGMENT = 1 << 16

DEVICE = Shaped(index=1, name="kovs1", mtu=1450, queue_ms=20)


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
    """A kernel that refuses what its errors say, by the beginning of what is asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **errors: int) -> None:
        self.errors = errors
        self.asked: list[str] = []
        monkeypatch.setattr(module, "queue_of", lambda _channel, _index: None)
        monkeypatch.setattr(module, "perform", self._perform)

    def _perform(self, _channel: socket.socket, steps: Sequence[Step]) -> None:
        for step in steps:
            self.asked.append(step.what)
            errno = self.errors.get(step.what.split()[0], 0)
            if errno:
                raise LinkError(f"cannot {step.what}: no", errno)


@pytest.fixture
def channel() -> socket.socket:
    return socket.socket.__new__(socket.socket)


def test_a_kernel_without_a_token_bucket_is_named(
    monkeypatch: pytest.MonkeyPatch, channel: socket.socket
) -> None:
    Kernel(monkeypatch, hold=ENOENT)
    with pytest.raises(LinkError) as refused:
        shape(channel, DEVICE, 10_000_000)
    assert str(refused.value) == (
        "cannot hold kovs1 to 10000000 bit/s: no: this kernel has no token bucket (sch_tbf)"
    )
    assert refused.value.errno == ENOENT


def test_a_kernel_without_fair_queues_holds_the_device_all_the_same(
    monkeypatch: pytest.MonkeyPatch, channel: socket.socket
) -> None:
    kernel = Kernel(monkeypatch, queue=ENOENT)
    assert shape(channel, DEVICE, 10_000_000)
    assert kernel.asked == ["hold kovs1 to 10000000 bit/s", "queue fairly on kovs1"]


@pytest.mark.parametrize("step", ["hold", "queue"])
def test_another_refusal_is_told_in_the_kernels_words(
    monkeypatch: pytest.MonkeyPatch, channel: socket.socket, step: str
) -> None:
    Kernel(monkeypatch, **{step: EPERM})
    with pytest.raises(LinkError, match=rf"^cannot {step} .*: no$"):
        shape(channel, DEVICE, 10_000_000)
