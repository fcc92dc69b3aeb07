"""A failure that repeats is told once, once a minute with a count, and when it is over."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from k8s_ovs.errors import InvalidRecord, TimedOut, Unavailable
from k8s_ovs.observe.failure_log import FailureLog


class Clock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    return clock


@pytest.fixture
def lines() -> Iterator[list[Any]]:
    with capture_logs() as found:
        yield found


def made() -> FailureLog:
    return FailureLog("not written", "written again", key="/status")


def told(lines: list[Any]) -> list[tuple[str, str, int]]:
    return [(each["event"], each.get("reason", ""), each.get("times", 1)) for each in lines]


def test_an_outage_of_two_minutes_is_four_lines(clock: Clock, lines: list[Any]) -> None:
    log = made()
    for _ in range(121):
        log.failed(Unavailable("no answer"))
        clock.now += 1
    log.worked()
    log.worked()
    assert told(lines) == [
        ("not written", "no answer", 1),
        ("not written", "no answer", 60),
        ("not written", "no answer", 60),
        ("written again", "", 1),
    ]
    assert {each["key"] for each in lines} == {"/status"}


def test_the_same_silence_in_other_words_is_no_news(clock: Clock, lines: list[Any]) -> None:
    log = made()
    for error in (Unavailable("refused"), TimedOut("no answer in 5 s"), Unavailable("reset")):
        log.failed(error)
    assert told(lines) == [("not written", "refused", 1)]


def test_another_failure_is_told_at_once(clock: Clock, lines: list[Any]) -> None:
    log = made()
    log.failed(Unavailable("refused"))
    log.failed(InvalidRecord("wrong password"))
    log.failed(InvalidRecord("wrong password, again"))
    assert [reason for _, reason, _ in told(lines)] == ["refused", "wrong password"]


def test_what_comes_and_goes_is_two_lines_a_minute(clock: Clock, lines: list[Any]) -> None:
    log = made()
    for _ in range(30):
        log.failed(Unavailable("no answer"))
        log.worked()
        clock.now += 4
    assert told(lines) == [
        ("not written", "no answer", 1),
        ("written again", "", 1),
        ("not written", "no answer", 15),
        ("written again", "", 1),
    ]


def test_what_always_works_says_nothing(lines: list[Any]) -> None:
    made().worked()
    assert lines == []


def test_an_outage_after_a_calm_is_a_new_one(clock: Clock, lines: list[Any]) -> None:
    log = made()
    for _ in range(2):
        log.failed(Unavailable("no answer"))
        log.worked()
        clock.now += 10
        log.worked()
        clock.now += 10
    assert [event for event, _, _ in told(lines)] == ["not written", "written again"] * 2
