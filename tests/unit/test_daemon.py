"""A reconcile that fails as a whole: told, taken again, and those who wait go on waiting."""

from __future__ import annotations

import signal
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from k8s_ovs.errors import K8sOvsError, TimedOut, Unavailable
from k8s_ovs.node.cni.listener import SocketInUse
from k8s_ovs.node.cni.protocol import CniRequest
from k8s_ovs.node.daemon import Daemon
from k8s_ovs.node.install.cni_config import Style
from k8s_ovs.node.settings import NodeSettings
from k8s_ovs.observe.etcd.settings import EtcdSettings

MISTAKE = ZeroDivisionError("a mistake of ours")
#: What no part of a plugin may do to a daemon.
EXITS = (SystemExit(3), KeyboardInterrupt(), GeneratorExit())


def settings_of(tmp_path: Path, **changes: Any) -> NodeSettings:
    """Of a daemon that reaches nothing."""
    given = {
        "etcd": EtcdSettings(("http://127.0.0.1:1",)),
        "prefix": "/k8s.ovs.com/ovs/network",
        "hostname": "node1",
        "kube": None,
        "cni_socket": tmp_path / "run" / "cni.sock",
        "ovs_run_dir": tmp_path,
        "network": None,
        "datapath": "auto",
        "metrics": None,
        "cni_wait": 30.0,
        "install_cni": None,
        "bin_dir": tmp_path,
        "conf_dir": tmp_path,
    }
    return NodeSettings(**given | changes)


def request(command: str) -> CniRequest:
    args = {"K8S_POD_NAME": "web", "K8S_POD_NAMESPACE": "default"}
    return CniRequest(command, "c1", "/run/netns/pod", "eth0", args, {}, "1.1.0", 1e12)


def failing(*_: Any) -> Any:
    raise MISTAKE


def test_a_reconcile_that_fails_is_told_and_taken_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon = Daemon(settings_of(tmp_path))
    answers: dict[str, Any] = {}
    for command in ("ADD", "STATUS"):
        daemon._attachments.put(
            request(command), lambda answer, of=command: not answers.update({of: answer})
        )
    monkeypatch.setattr(daemon, "_reconcile", failing)
    (tmp_path / "run").mkdir()
    with capture_logs() as logs:
        for _ in range(3):
            daemon._reconcile_alone()
    assert [each["exc_info"] for each in logs if each.get("exc_info")] == [MISTAKE]
    state = daemon._state()
    assert not state.ready
    assert state.waiting_for.startswith("k8s-ovs failed: ZeroDivisionError('a mistake of ours')")
    assert daemon._again_at is not None
    assert answers.keys() == {"STATUS"}
    assert "a mistake of ours" in str(answers["STATUS"])
    assert daemon._attachments.next_deadline is not None


@pytest.mark.parametrize("error", EXITS)
def test_nothing_that_a_reconcile_raises_ends_the_daemon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def leave(*_: Any) -> Any:
        raise error

    daemon = Daemon(settings_of(tmp_path))
    daemon._inbox.put(object())
    for name in ("_reconcile", "_wait", "_without_network", "_state"):
        monkeypatch.setattr(daemon, name, leave)
    monkeypatch.setattr(daemon._ingest, "absorb", leave)
    monkeypatch.setattr(daemon._backoff, "wait", lambda: 0.0)
    with capture_logs() as logs:
        daemon._take_in()
        daemon._reconcile_alone()
        daemon._wait_alone()
        daemon._cni.attempt(leave)
    told = ["watch event", "reconcile", "reconcile failed again", "waiting", "CNI socket"]
    failed = [each["event"] for each in logs if each.get("exc_info")]
    assert all(event.startswith(of) for event, of in zip(failed, told, strict=True))


def test_a_daemon_that_waits_for_something_sleeps_meanwhile(tmp_path: Path) -> None:
    daemon = Daemon(settings_of(tmp_path, install_cni=Style.CONF))
    (tmp_path / "run").mkdir()
    with capture_logs():
        daemon._reconcile_alone()
        assert daemon._reason
        assert daemon._soonest() > time.monotonic()
        daemon._without_network(K8sOvsError("there is no configuration"))
        assert daemon._soonest() > time.monotonic()


@pytest.mark.parametrize(
    ("error", "soon"),
    [
        (Unavailable("OpenFlow socket br0.mgmt: is ovs-vswitchd running?"), True),
        (TimedOut("the bridge did not answer"), False),
        (K8sOvsError("there is no configuration"), False),
    ],
    ids=["gone", "hangs", "else"],
)
def test_an_open_vswitch_that_is_gone_is_looked_for_several_times_a_second(
    tmp_path: Path, error: K8sOvsError, *, soon: bool
) -> None:
    """Until the daemon sees that it is back, the bridge has no flows."""
    daemon = Daemon(settings_of(tmp_path))
    (tmp_path / "run").mkdir()
    with capture_logs():
        for _ in range(10):
            before = time.monotonic()
            daemon._without_network(error)
    assert daemon._again_at is not None
    if soon:
        assert daemon._again_at - time.monotonic() <= 0.2
    else:
        assert daemon._again_at - before > 2


def test_a_teller_that_fails_does_not_keep_the_others_from_telling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon = Daemon(settings_of(tmp_path))
    (tmp_path / "run").mkdir()
    monkeypatch.setattr(daemon._cluster, "offer_state", failing)
    monkeypatch.setattr(daemon._event_recorder, "offer", failing)
    with capture_logs() as logs:
        daemon._tell_state()
    assert [each["event"] for each in logs] == ["state not told"]
    assert (tmp_path / "run" / "status.json").exists()


def test_a_watch_event_that_fails_does_not_lose_those_behind_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon = Daemon(settings_of(tmp_path))
    monkeypatch.setattr(daemon._ingest, "absorb", failing)
    daemon._inbox.put(object())
    daemon._inbox.put((request("ADD"), lambda _: True))
    with capture_logs() as logs:
        daemon._take_in()
    assert "watch event failed" in [each["event"] for each in logs]
    assert daemon._attachments.next_deadline is not None


def test_a_socket_that_cannot_be_made_is_told_and_tried_again(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("in the way")
    daemon = Daemon(settings_of(tmp_path))
    with capture_logs() as logs:
        daemon._tend_outputs()
        daemon._tend_outputs()
    assert len([each for each in logs if each["log_level"] == "warning"]) == 1
    assert "CNI socket: " in daemon._cni.problem
    (tmp_path / "run").unlink()
    daemon._cni.due_at = 0.0
    with capture_logs():
        daemon._tend_outputs()
    assert daemon._cni.problem == ""
    with socket.socket(socket.AF_UNIX) as channel:
        channel.connect(str(tmp_path / "run" / "cni.sock"))
    with capture_logs(), pytest.raises(SocketInUse):
        Daemon(settings_of(tmp_path))._tend_outputs()
    daemon._stop_serving()


def test_a_daemon_below_nohup_outlives_its_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heeded: list[int] = []
    ignored = {signal.SIGHUP: signal.SIG_IGN}
    monkeypatch.setattr(signal, "getsignal", lambda number: ignored.get(number, signal.SIG_DFL))
    monkeypatch.setattr(signal, "signal", lambda number, _: heeded.append(number))
    daemon = Daemon(settings_of(tmp_path))
    daemon._heed_signals()
    assert heeded == [signal.SIGTERM, signal.SIGINT]
    ignored.clear()
    heeded.clear()
    daemon._heed_signals()
    assert heeded == [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]


def test_a_socket_that_somebody_takes_is_put_back_and_counted(tmp_path: Path) -> None:
    daemon = Daemon(settings_of(tmp_path))
    path = tmp_path / "run" / "cni.sock"
    with capture_logs() as logs:
        daemon._tend_outputs()
        path.unlink()
        daemon._tend_outputs()
        daemon._tend_outputs()
    assert path.is_socket()
    repaired = [each for each in logs if each["event"] == "repaired"]
    assert [(each["kind"], each["found"]) for each in repaired] == [
        ("socket", f"socket {path}: missing")
    ]
    assert daemon._state().repairs == {"socket": 1}
    path.unlink()
    path.mkdir()
    with capture_logs():
        daemon._tend_outputs()
    assert "CNI socket: " in daemon._cni.problem
    path.rmdir()
    daemon._cni.due_at = 0.0
    with capture_logs():
        daemon._tend_outputs()
    assert (daemon._cni.problem, path.is_socket()) == ("", True)
    daemon._stop_serving()


def test_a_host_whose_cni_files_cannot_be_written_serves_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "bin").write_text("in the way")
    daemon = Daemon(settings_of(tmp_path, install_cni=Style.CONF, bin_dir=tmp_path / "bin" / "cni"))
    with capture_logs():
        daemon._installation.tend()
    assert any("CNI installation: " in each for each in daemon._state().problems)
    (tmp_path / "bin").unlink()
    daemon._installation._output.due_at = 0.0
    with capture_logs():
        daemon._installation.tend()
    assert daemon._state().problems == ()
