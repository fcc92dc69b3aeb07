"""The daemon's status file, whether that daemon still runs, and what status makes of both."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from typer.testing import Result

from k8s_ovs.cli.host import status
from k8s_ovs.cli.host.status import SwitchStatus, status_rows
from k8s_ovs.cli.host.this_node import DaemonStatus, daemon_status
from k8s_ovs.errors import K8sOvsError, Unavailable

Cli = Callable[..., Result]

STATUS: dict[str, Any] = {
    "node": "node1",
    "pid": os.getpid(),
    "version": "0.1.0",
    "ready": True,
    "waiting_for": "",
    "sources": {"etcd": True, "kube:nodes": False},
    "leader": True,
    "here": {"network": "k8ssdn", "address": "10.0.0.1", "subnet": "172.11.4.0/22", "mtu": 1450},
    "plugins": ["core", "k8s-ovs-subnet"],
    "pods": 3,
    "flows": 71,
    "of_plugins": {"acme": {"tenants": 4}},
    "problems": ["subnets/10.0.0.2: HostIP: found x"],
}
SWITCH = SwitchStatus("3.1.0", "netdev", 70)


@pytest.fixture
def cni_socket(tmp_path: Path) -> Path:
    """Where nobody listens, beside a status file."""
    write(tmp_path, STATUS)
    return tmp_path / "s"


@pytest.fixture
def listening(cni_socket: Path) -> Iterator[Path]:
    """Where this very process listens."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(cni_socket))
        listener.listen()
        yield cni_socket


@contextmanager
def no_switch(*_: Any) -> Iterator[None]:
    raise Unavailable("no Open vSwitch here")
    yield


def write(directory: Path, status: Any) -> None:
    """Leave a status file."""
    (directory / "status.json").write_text(json.dumps(status))


def test_a_daemon_that_listens_and_is_ready_is_no_trouble(listening: Path) -> None:
    word = daemon_status(listening)
    assert word.ready
    assert word.trouble == ""


def test_what_a_daemon_waits_for_is_the_trouble(listening: Path) -> None:
    write(listening.parent, STATUS | {"ready": False, "waiting_for": "etcd"})
    word = daemon_status(listening)
    assert not word.ready
    assert word.trouble == "etcd"


def test_a_status_that_outlived_its_daemon_is_not_believed(cni_socket: Path) -> None:
    word = daemon_status(cni_socket)
    assert not word.ready
    assert word.trouble == (f"the daemon is not running; the last one was process {STATUS['pid']}")


def test_a_status_of_an_earlier_daemon_is_not_the_running_ones(listening: Path) -> None:
    write(listening.parent, STATUS | {"pid": 1})
    word = daemon_status(listening)
    assert not word.ready
    assert word.trouble == f"the daemon (process {os.getpid()}) has not written its status yet"


def test_where_there_never_was_a_daemon_there_is_none(tmp_path: Path) -> None:
    assert daemon_status(tmp_path / "nowhere" / "s").trouble == "the daemon is not running"


def test_a_status_file_that_is_none_is_named(cni_socket: Path) -> None:
    path = cni_socket.parent / "status.json"
    path.write_text("{")
    with pytest.raises(K8sOvsError, match=f"{path} is not the daemon's status"):
        daemon_status(cni_socket)


def test_every_part_has_a_line() -> None:
    assert dict(status_rows(DaemonStatus(STATUS, os.getpid()), SWITCH)) == {
        "network": "k8ssdn: subnet 172.11.4.0/22, address 10.0.0.1, MTU 1450",
        "daemon": f"process {os.getpid()}, version 0.1.0",
        "Open vSwitch": "reached, version 3.1.0, netdev datapath",
        "etcd": "connected",
        "kube:nodes": "DISCONNECTED: serving the last snapshot",
        "leader": "this node",
        "pods": "3",
        "flows": "71 desired, 70 installed",
        "plugins": "core, k8s-ovs-subnet",
        "acme": "tenants: 4",
    }


def test_a_node_that_is_not_the_leader_says_where_to_look() -> None:
    rows = dict(status_rows(DaemonStatus(STATUS | {"leader": False}, os.getpid()), SWITCH))
    assert rows["leader"] == "not this node: k8s-ovs doctor says which"


def test_of_a_daemon_that_ended_no_source_is_said_to_be_connected() -> None:
    rows = dict(status_rows(DaemonStatus(STATUS, None), SwitchStatus(problem="no socket")))
    assert rows["daemon"] == "NOT RUNNING, version 0.1.0"
    assert (rows["etcd"], rows["leader"]) == ("unknown", "unknown")
    assert rows["Open vSwitch"] == "NOT REACHED: no socket"
    assert rows["flows"] == "71 desired, ? installed"


def test_status_fails_and_says_why_where_nothing_runs(
    cni_socket: Path, tmp_path: Path, k8s_ovs: Cli
) -> None:
    shown = k8s_ovs("status", "--cni-socket", str(cni_socket), "--ovs-run-dir", str(tmp_path))
    assert shown.exit_code == 1
    first, *_ = shown.stdout.splitlines()
    assert first.startswith("node1 is NOT READY: the daemon is not running")
    assert f"no connection to ovsdb-server at unix:{tmp_path}/db.sock" in shown.stdout
    assert "warning: the status above is from before the daemon exited" in shown.stderr
    assert "warning: subnets/10.0.0.2: HostIP: found x" in shown.stderr


def test_status_as_json_says_what_is_true_now(
    cni_socket: Path, tmp_path: Path, k8s_ovs: Cli
) -> None:
    shown = k8s_ovs(
        "status", "-o", "json", K8S_OVS_CNI_SOCKET=str(cni_socket), OVS_RUNDIR=str(tmp_path)
    )
    found = json.loads(shown.stdout)
    assert shown.exit_code == 1
    assert (found["ready"], found["running"], found["pods"]) == (False, False, 3)
    assert found["switch"]["flows"] is None


ANYTHING = st.recursive(
    st.sampled_from([None, True, 0, -1, 1.5, "x", "\ud800", [], {}, [None], 10**300]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from([*STATUS, "revision", "odd"]), ANYTHING, max_size=4))
@example({"pid": "x"})
@example({"sources": []})
@example({"here": {"network": 1}})
def test_a_status_with_any_field_is_shown_or_named(
    cni_socket: Path, tmp_path: Path, k8s_ovs: Cli, fields: dict[str, Any]
) -> None:
    write(tmp_path, STATUS | fields)
    where = ("--cni-socket", str(cni_socket), "--ovs-run-dir", str(tmp_path / "none"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(status, "connected_switch", no_switch)
        for output in ("table", "json"):
            shown = k8s_ovs("status", *where, "-o", output)
            assert shown.exit_code == 1
            assert shown.stdout or shown.stderr.startswith(
                f"error: {tmp_path}/status.json is not the daemon's status: "
            )


@pytest.mark.parametrize("left_out", [*STATUS])
def test_a_status_of_another_version_may_lack_a_field(
    cni_socket: Path, tmp_path: Path, k8s_ovs: Cli, left_out: str
) -> None:
    write(tmp_path, {name: value for name, value in STATUS.items() if name != left_out})
    where = ("--cni-socket", str(cni_socket), "--ovs-run-dir", str(tmp_path / "none"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(status, "connected_switch", no_switch)
        assert "NOT READY" in k8s_ovs("status", *where).stdout


def test_a_wrong_field_is_named(cni_socket: Path) -> None:
    path = cni_socket.parent / "status.json"
    write(cni_socket.parent, STATUS | {"pid": "x"})
    with pytest.raises(K8sOvsError) as raised:
        daemon_status(cni_socket)
    assert str(raised.value) == (
        f'{path} is not the daemon\'s status: pid: found "x", expected a whole number'
    )
