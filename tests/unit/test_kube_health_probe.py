"""What ends a watch: only a server that twice in a row gave no answer at all."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator

import pytest
from tests.unit.scripted_apiserver import LINE, ScriptedApiServer

from k8s_ovs.errors import Unavailable
from k8s_ovs.observe.kube.client import Kube
from k8s_ovs.observe.kube.health_probe import HealthProbe
from k8s_ovs.observe.kube.settings import KubeSettings

INTERVAL = 0.02


class Script:
    """Answers in order, the last one for ever; tells when each was asked for."""

    def __init__(self, *answers: float | Unavailable) -> None:
        self._answers = list(answers)
        self.asked: queue.SimpleQueue[float] = queue.SimpleQueue()

    def __call__(self, limit: float) -> float:
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        self.asked.put(limit)
        if isinstance(answer, Unavailable):
            raise answer
        return answer


def test_one_failure_cuts_nothing() -> None:
    script, cuts = Script(Unavailable("lost packet"), 0.0), list[Unavailable]()
    with HealthProbe(script, INTERVAL).over(cuts.append):
        for _ in range(4):
            script.asked.get(timeout=5)
    assert cuts == []


def test_failures_that_are_not_in_a_row_cut_nothing() -> None:
    lost = Unavailable("lost packet")
    script, cuts = Script(lost, 0.0, lost, 0.0, lost, 0.0), list[Unavailable]()
    with HealthProbe(script, INTERVAL).over(cuts.append):
        for _ in range(7):
            script.asked.get(timeout=5)
    assert cuts == []


def test_two_in_a_row_cut_every_watch_with_the_reason() -> None:
    one: queue.SimpleQueue[Unavailable] = queue.SimpleQueue()
    other: queue.SimpleQueue[Unavailable] = queue.SimpleQueue()
    probe = HealthProbe(Script(Unavailable("gone")), INTERVAL, limits=(2.0, 1.0))
    with probe.over(one.put), probe.over(other.put):
        assert str(one.get(timeout=5)) == "gone"
        assert str(other.get(timeout=5)) == "gone"


def test_the_server_is_left_alone_for_as_long_as_it_asks() -> None:
    script = Script(3600.0)
    with HealthProbe(script, INTERVAL).over(lambda _: None):
        script.asked.get(timeout=5)
        with pytest.raises(queue.Empty):
            script.asked.get(timeout=10 * INTERVAL)


@pytest.fixture
def api() -> Iterator[ScriptedApiServer]:
    with ScriptedApiServer() as server:
        yield server


def kube_at(server: ScriptedApiServer, timeout: float = 4.0) -> Kube:
    return Kube(KubeSettings.from_environment({"KUBERNETES_MASTER": server.address}), timeout)


@pytest.mark.parametrize("status", [200, 301, 401, 403, 404, 429, 500, 503])
def test_any_answer_proves_that_the_server_is_alive(api: ScriptedApiServer, status: int) -> None:
    api.version_status = status
    assert kube_at(api).ask_version(2.0) == 0.0


def test_retry_after_is_heeded(api: ScriptedApiServer) -> None:
    api.version_status, api.version_headers = 429, {"Retry-After": "7"}
    assert kube_at(api).ask_version(2.0) == 7.0
    api.version_headers = {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}
    assert kube_at(api).ask_version(2.0) == 0.0


def test_silence_is_no_answer_and_its_limit_is_named(api: ScriptedApiServer) -> None:
    api.version_status = None
    with pytest.raises(Unavailable, match=r"does not answer within 0\.2 s"):
        kube_at(api).ask_version(0.2)


CLOSE = {"Connection": "close"}


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("headers", [{}, CLOSE], ids=["keep-alive", "close"])
def test_a_watch_may_be_silent_for_longer_than_an_answer_may_take(
    api: ScriptedApiServer, headers: dict[str, str], chunked: bool
) -> None:
    api.watch_headers, api.watch_chunked, api.watch_silence = headers, chunked, 3.0
    with kube_at(api, timeout=1.0).lines("/watch", {}, silence=30.0) as lines:
        found = iter(lines)
        assert [next(found), next(found)] == [LINE, LINE]


@pytest.mark.parametrize("headers", [{}, CLOSE], ids=["keep-alive", "close"])
def test_the_limit_of_a_silent_watch_is_the_one_that_its_failure_names(
    api: ScriptedApiServer, headers: dict[str, str]
) -> None:
    api.watch_headers, api.watch_silence = headers, 30.0
    with kube_at(api).lines("/watch", {}, silence=0.3) as lines:
        found = iter(lines)
        next(found)
        with pytest.raises(Unavailable, match=r"does not answer within 0\.3 s"):
            next(found)


@pytest.mark.parametrize("headers", [{}, CLOSE], ids=["keep-alive", "close"])
def test_a_watch_can_be_cut_while_another_thread_waits_for_its_next_line(
    api: ScriptedApiServer, headers: dict[str, str]
) -> None:
    api.watch_headers, api.watch_silence = headers, 30.0
    with kube_at(api).lines("/watch", {}, silence=20.0) as lines:
        found = iter(lines)
        next(found)
        threading.Timer(0.1, lines.cut, [Unavailable("enough")]).start()
        with pytest.raises(Unavailable, match=r"^enough$"):
            next(found)
