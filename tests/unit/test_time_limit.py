"""Plugins that do not return: they are interrupted, rest for a while, and all else goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from attrs import evolve
from structlog.testing import capture_logs

from k8s_ovs.hooks import time_limit
from k8s_ovs.hooks.calls import HookCall
from k8s_ovs.hooks.guarded import _Guard
from k8s_ovs.hooks.result import Failure
from k8s_ovs.hooks.time_limit import HookTimeout, Rest, TimeLimit
from k8s_ovs.node.records.ingest import ETCD, KUBE, Ingest
from k8s_ovs.observe.watch_event import Entry, RecordChange, Snapshot
from k8s_ovs.plugin.records import KubeResource, RecordKind
from k8s_ovs.supervise import FaultLog
from k8s_ovs_testing.world import sample_config

SHORT = 0.2


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> Iterator[TimeLimit]:
    monkeypatch.setattr(time_limit, "_LOOK_EVERY", 0.05)
    limit = TimeLimit(SHORT)
    # pytest-timeout has SIGALRM for itself; another signal does the same here.
    monkeypatch.setattr(time_limit.signal, "SIGALRM", time_limit.signal.SIGUSR1)
    limit.watch()
    yield limit
    limit.stop()


def spin() -> None:
    while True:
        pass


def spin_and_catch() -> None:
    while True:
        with suppress(Exception):
            spin()


def ticks() -> Iterator[int]:
    while True:
        yield 1


@pytest.mark.parametrize(
    "forever",
    [spin, spin_and_catch, lambda: time.sleep(600), threading.Event().wait, lambda: sum(ticks())],
)
def test_what_does_not_return_is_interrupted(limit: TimeLimit, forever: Callable[[], Any]) -> None:
    with pytest.raises(HookTimeout, match=r"did not return within 0\.2 s"):
        Rest("plugin acme: pod_flows", limit).call(forever)


def test_it_is_not_called_again_before_it_has_rested(
    limit: TimeLimit, monkeypatch: pytest.MonkeyPatch
) -> None:
    rest = Rest("plugin acme: pod_flows", limit)
    with pytest.raises(HookTimeout):
        rest.call(spin)
    with pytest.raises(HookTimeout):
        rest.call(pytest.fail, "it is called")
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + time_limit.REST + 1)
    assert rest.call(lambda: 7) == 7


def test_another_thread_is_interrupted_too(limit: TimeLimit) -> None:
    ended: list[BaseException] = []

    def work() -> None:
        try:
            Rest("plugin acme: allocations", limit).call(spin)
        except HookTimeout as error:
            ended.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(10)
    assert len(ended) == 1


def test_what_takes_long_is_named_with_its_time_and_not_each_time(
    limit: TimeLimit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time_limit, "_SLOW", 0.02)
    slow, quick = Rest("plugin acme: pod_flows", limit), Rest("plugin acme: status", limit)
    with capture_logs() as logs:
        for _ in range(2):
            slow.call(time.sleep, 0.05)
            quick.call(time.sleep, 0.0)
    (said,) = logs
    assert (said["log_level"], said["event"]) == ("warning", "plugin is slow")
    assert (said["what"], said["expected"]) == ("plugin acme: pod_flows", "less than 0.02")
    assert 0.05 <= said["seconds"] < SHORT


def test_what_returns_in_time_is_left_alone(limit: TimeLimit) -> None:
    rest = Rest("plugin acme: pod_flows", limit)
    until = time.monotonic() + 3 * SHORT
    while time.monotonic() < until:
        assert rest.call(lambda value: value, 5) == 5


def test_what_a_function_calls_in_turn_counts_as_its_own(limit: TimeLimit) -> None:
    inner, outer = Rest("plugin a: tenant_of", limit), Rest("plugin b: pod_flows", limit)

    def work() -> None:
        while True:
            inner.call(int)

    with pytest.raises(HookTimeout):
        outer.call(work)
    assert inner.call(int) == 0


def test_a_plugin_that_rests_is_not_the_fault_of_who_asks_it(limit: TimeLimit) -> None:
    """Of a hook within a hook: the inner one is a failure, and the outer one goes on."""
    inner = HookCall("a", "tenant_of", spin, (), rest=Rest("plugin a: tenant_of", limit))
    assert isinstance(inner("pod a/b", view=None), Failure)
    outer = Rest("plugin b: pod_flows", limit)
    found = outer.call(inner, "pod a/b")
    assert isinstance(found, Failure)
    assert (found.plugin, found.again) == ("a", True)
    assert outer.call(lambda: 7) == 7


def test_a_record_about_which_a_plugin_does_not_answer_is_asked_about_again(
    limit: TimeLimit, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [spin, lambda: "read"]
    kind = RecordKind("audits", lambda _key, _found: answers.pop(0)(), lambda _value: b"")
    guard = _Guard("acme", "audits", FaultLog(), Rest("plugin acme: audits", limit))
    kind = evolve(kind, decode=guard.reading(kind.decode))
    ingest = Ingest()
    ingest.absorb(Snapshot(ETCD, {"k8ssdn/audits/red": Entry(b"{}", 5)}, 5))
    changes = ingest.changes(sample_config(), {"audits": kind}, {})
    (slot,) = changes.values()
    assert slot is not None
    assert "did not return" in (slot.problem or "")
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 2 * time_limit.REST)
    (slot,) = ingest.changes(sample_config(), {"audits": kind}, {}).values()
    assert slot is not None
    assert (slot.settled, slot.problem) == ("read", None)


def test_an_object_that_goes_before_it_is_asked_about_again_stays_away(
    limit: TimeLimit, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard = _Guard("acme", "apples", FaultLog(), Rest("plugin acme: apples", limit))
    answers = [spin, lambda: "read"]
    read = guard.reading(lambda _key, _found: answers.pop(0)())
    apples = {"apples": KubeResource("apples", "/apples", read)}
    ingest = Ingest()
    ingest.absorb(Snapshot(f"{KUBE}apples", {"red": Entry({})}))
    (slot,) = ingest.changes(sample_config(), {}, apples).values()
    assert slot is not None
    assert "did not return" in (slot.problem or "")
    ingest.absorb(RecordChange(f"{KUBE}apples", "red", None))
    assert ingest.changes(sample_config(), {}, apples) == {("apples", "red"): None}
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 2 * time_limit.REST)
    assert ingest.changes(sample_config(), {}, apples) == {}


def test_a_hook_that_did_not_return_is_a_failure_that_is_asked_about_again(
    limit: TimeLimit,
) -> None:
    call = HookCall("acme", "pod_flows", spin, (), rest=Rest("plugin acme: pod_flows", limit))
    found = call("pod a/b", view=None)
    assert isinstance(found, Failure)
    assert found.again
    assert str(found).startswith(
        "plugin acme: pod_flows of pod a/b: did not return within 0.2 s, and rests for 60 s ("
    )
