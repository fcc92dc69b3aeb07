"""What if code fails and nobody expected it? Its traceback is in the log, and it is begun again."""

from __future__ import annotations

import threading

import pytest
from structlog.testing import capture_logs

from k8s_ovs import supervise
from k8s_ovs.supervise import FaultLog, SupervisedThread

WITHIN = 20


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No back-off: what is tested is that the work is begun again, not when."""
    monkeypatch.setattr(supervise.Backoff, "wait", lambda _: 0.0)


@pytest.mark.parametrize("error", [ValueError("no ink"), SystemExit(3), GeneratorExit()])
def test_a_thread_that_fails_is_told_whole_and_begun_again(error: BaseException) -> None:
    begun: list[int] = []

    def work() -> None:
        begun.append(1)
        if len(begun) < 3:
            raise error

    with capture_logs() as logs:
        thread = SupervisedThread("worker", work, threading.Event())
        thread.start()
        thread.join(WITHIN)
    assert (len(begun), thread.is_alive()) == (3, False)
    assert [(each["thread"], each["exc_info"]) for each in logs] == [("worker", error)] * 2


def test_a_thread_that_fails_at_its_end_is_told_and_ends() -> None:
    stopped = threading.Event()
    stopped.set()

    def work() -> None:
        raise ValueError("no ink")

    with capture_logs() as logs:
        thread = SupervisedThread("worker", work, stopped)
        thread.start()
        thread.join(WITHIN)
    assert not thread.is_alive()
    assert [each["event"] for each in logs] == ["thread failed at its end"]


def fail(text: str) -> Exception:
    try:
        raise ValueError(text)
    except ValueError as error:
        return error


def test_each_distinct_fault_is_told_once() -> None:
    faults = FaultLog()
    with capture_logs() as logs:
        for text in ("one", "two", "one", "two"):
            faults.tell("hook failed", fail(text), plugin="acme")
        faults.tell("another", fail("one"))
    assert [(each["event"], str(each["exc_info"])) for each in logs] == [
        ("hook failed", "one"),
        ("hook failed", "two"),
        ("another", "one"),
    ]


def test_faults_that_are_never_the_same_take_no_more_memory_for_ever() -> None:
    faults = FaultLog()
    with capture_logs():
        for number in range(supervise._REMEMBERED + 10):
            faults.tell("hook failed", fail(str(number)))
    assert len(faults._told) == supervise._REMEMBERED


class Rude(Exception):
    def __repr__(self) -> str:
        raise SystemExit("no word of me")


def test_an_exception_that_cannot_be_shown_is_told() -> None:
    with capture_logs() as logs:
        FaultLog().tell("hook failed", Rude())
    assert len(logs) == 1
