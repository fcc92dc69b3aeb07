"""What the daemon gives outward may fail alone: told once, a problem meanwhile, tried again."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from urllib.request import urlopen

import pytest
from structlog.testing import capture_logs

from k8s_ovs import output, supervise
from k8s_ovs.errors import InvalidRecord
from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.node.tell.event_recorder import EventRecorder
from k8s_ovs.node.tell.metrics import Metrics, MetricsPage
from k8s_ovs.node.tell.status_file import StatusFile, status_json
from k8s_ovs.output import Output
from k8s_ovs.plugin import hook
from k8s_ovs_testing.node_state import sample_state


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output.Backoff, "wait", lambda _: 0.0)


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("in_the_way", ["status.json", "status.new"])
def test_a_status_file_that_cannot_be_written_is_a_problem_until_it_can(
    tmp_path: Path, in_the_way: str
) -> None:
    (tmp_path / in_the_way).mkdir()
    path = tmp_path / "status.json"
    file = StatusFile(path)
    with capture_logs() as logs:
        for pid in range(3):
            file.write(sample_state(pid=pid))
            assert file.problem == f"status file {path}: {tmp_path}/status.new: Is a directory"
            assert file.due_at is not None
    assert [each["log_level"] for each in logs] == ["warning"]
    (tmp_path / in_the_way).rmdir()
    file.write(sample_state(pid=7))
    assert (file.problem, json.loads(path.read_text())["pid"]) == ("", 7)


def test_what_failed_is_not_tried_at_once_again(tmp_path: Path) -> None:
    file = StatusFile(tmp_path / "nowhere" / "status.json")
    file.write(sample_state())
    due_at = file.due_at
    (tmp_path / "nowhere").mkdir()
    file.write(sample_state(waiting_for="etcd"))
    assert (list((tmp_path / "nowhere").iterdir()), file.due_at) == ([], due_at)


HARMS: dict[str, Callable[[Path], object]] = {
    "removed": Path.unlink,
    "emptied": lambda path: path.write_text(""),
    "mode": lambda path: path.chmod(0),
    "replaced": lambda path: path.with_name("other").rename(path),
}


@pytest.mark.parametrize("harm", HARMS)
def test_a_status_that_somebody_took_away_is_written_again(tmp_path: Path, harm: str) -> None:
    path = tmp_path / "status.json"
    (tmp_path / "other").write_text("{}")
    file = StatusFile(path, every=0.0)
    file.write(sample_state())
    before, mode = path.read_text(), path.stat().st_mode
    number = path.stat().st_ino
    file.write(sample_state())
    assert path.stat().st_ino == number, "what is right is left alone"
    HARMS[harm](path)
    file.write(sample_state())
    assert (path.read_text(), path.stat().st_mode) == (before, mode)


class Says:
    def __init__(self, said: object) -> None:
        self.said = said

    @hook
    def status(self, view: object) -> object:
        return self.said


def test_a_plugin_without_a_status_has_an_empty_one() -> None:
    state = sample_state(manager=PluginManager({"none": Says(None)}))
    assert status_json(state, state.plugin_status())["of_plugins"] == {"none": {}}


@pytest.mark.usefixtures("at_once")
def test_a_page_whose_port_is_taken_is_served_once_it_is_free() -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        page = MetricsPage(Metrics(sample_state()), address)
        with capture_logs() as logs:
            page.tend()
            page.tend()
        assert f"metrics page: --metrics-address {address}: Address already in use" in page.problem
        assert [each["log_level"] for each in logs] == ["warning"]
    page.tend()
    try:
        assert page.problem == ""
        with urlopen(f"http://{address}/metrics", timeout=5) as answer:
            assert b"k8s_ovs_ready" in answer.read()
    finally:
        page.stop()


def test_a_page_at_what_is_no_address_is_a_users_mistake() -> None:
    with pytest.raises(InvalidRecord, match="expected HOST:PORT"):
        MetricsPage(Metrics(sample_state()), "nowhere")


@pytest.mark.usefixtures("at_once")
def test_our_own_fault_in_an_output_is_in_the_log_whole_and_once() -> None:
    error = ZeroDivisionError("a mistake of ours")

    def fail() -> None:
        raise error

    subject = Output("page")
    with capture_logs() as logs:
        assert [subject.attempt(fail) for _ in range(3)] == [False] * 3
    assert [each["exc_info"] for each in logs if "exc_info" in each] == [error]
    assert "a mistake of ours" in subject.problem
    assert subject.attempt(lambda: None)
    assert (subject.problem, subject.due_at) == ("", None)


def test_an_event_that_cannot_be_posted_is_posted_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervise.Backoff, "wait", lambda _: 0.0)
    posted, done = [], threading.Event()

    def post(reason: str, _message: str, _warning: bool) -> None:
        posted.append(reason)
        if len(posted) < 3:
            raise TypeError("a mistake of ours")
        done.set()

    with capture_logs():
        recorder = EventRecorder(post, lasts=0.01)
        recorder.start()
        recorder.offer(sample_state(waiting_for="etcd"))
        assert done.wait(20)
        recorder.stop()
    assert posted == ["NetworkNotReady"] * 3
