"""One bad thing fails alone: the daemon serves, says what is wrong, and gets over it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.node.test_faults_config import changed, configuration

from k8s_ovs.errors import K8sOvsError
from k8s_ovs_lab import cni
from k8s_ovs_lab.lab_net import LabNet
from k8s_ovs_lab.process import await_that

WITHIN = 40.0
#: Seconds within which what somebody took away is back.
SOON = 10.0
PAGE = "http://127.0.0.1:9477/metrics"
LISTEN = (
    "import socket, time; s = socket.create_server(('127.0.0.1', 9477)); "
    "print(1, flush=True); time.sleep(600)"
)


@pytest.mark.parametrize(
    "previous", [None, 7, {"ips": None}, {"ips": [None]}, {"ips": [{"address": {}}]}]
)
def test_a_check_with_a_malformed_result_is_answered_and_the_daemon_lives(
    shaken: LabNet, previous: Any
) -> None:
    pid = shaken.status("node1")["pid"]
    pod = shaken.lab.pod("x")
    with pytest.raises(K8sOvsError, match=r"prevResult.* is malformed: found .*code 7"):
        shaken.cni("CHECK", pod, {"prevResult": previous})
    shaken.cni("CHECK", pod)
    assert shaken.status("node1")["pid"] == pid


def test_a_directory_in_the_way_of_the_status_file_is_told_and_pods_come(shaken: LabNet) -> None:
    status = shaken.lab.node("node1").cni_socket.parent / "status.json"
    status.unlink()
    status.mkdir()
    shaken.lab.stop_daemon("node1")
    try:
        shaken.lab.start_daemon("node1", wait=False)
        await_that("a problem on the page", lambda: problems(shaken) > 0, WITHIN)
        with shaken.attached("node1", "meanwhile") as pod:
            assert pod.ip is not None
            assert shaken.pings("y", pod.ip)
    finally:
        shutil.rmtree(status)
    await_that("the file", status.is_file, WITHIN)
    await_that("no problem", lambda: not json.loads(status.read_text())["problems"], WITHIN)


@pytest.mark.parametrize(
    "harm",
    ["rm -f {}", "chmod 000 {}", "ln -sf /dev/null {}", "cp --remove-destination /bin/true {}"],
)
def test_the_daemons_files_are_back_within_seconds_and_no_second_daemon_starts(
    shaken: LabNet, harm: str
) -> None:
    node = shaken.lab.node("node1")
    pid, status = shaken.status("node1")["pid"], node.cni_socket.parent / "status.json"
    for path in (node.cni_socket, status):
        shaken.lab.exec("node1", harm.format(path).split())
    second = shaken.lab.exec("node1", ["k8s-ovs", "node"], check=False)
    assert (second.returncode, "in use by a live daemon" in second.stderr) == (1, True)
    await_that("the socket", node.cni_socket.is_socket, SOON)
    await_that("its permissions", lambda: node.cni_socket.stat().st_mode & 0o777 == 0o600, SOON)
    await_that("the status", lambda: json.loads(status.read_text())["pid"] == pid, SOON)
    with shaken.attached("node1", "after") as pod:
        assert pod.ip is not None
    page = shaken.lab.exec("node1", ["curl", "-s", PAGE]).stdout
    assert 'k8s_ovs_repairs_total{kind="socket"}' in page


def test_a_taken_port_of_the_metrics_page_is_told_and_the_page_comes_later(
    shaken: LabNet,
) -> None:
    shaken.lab.stop_daemon("node1")
    with listening(shaken):
        shaken.lab.start_daemon("node1")
        (problem,) = shaken.status("node1")["problems"]
        assert "metrics page: --metrics-address 127.0.0.1:9477: Address already in use" in problem
        with shaken.attached("node1", "meanwhile") as pod:
            assert pod.ip is not None
    await_that("the page", lambda: problems(shaken) == 0, WITHIN)


def test_a_delete_does_not_wait_for_an_add_whose_client_was_killed(shaken: LabNet) -> None:
    node = shaken.lab.node("node1")
    pod = shaken.bare_pod("node1", "given-up")
    shaken.lab.stop_daemon("node1")
    shaken.lab.start_daemon("node1", "--network=another", wait=False)
    try:
        await_that("the socket", node.cni_socket.exists, WITHIN)
        environment = cni.pod_environment(
            pod.container, pod.netns, pod.namespace, pod.name, pod.uid
        )
        words = [
            "env",
            "CNI_COMMAND=ADD",
            *(f"{key}={value}" for key, value in environment.items()),
        ]
        with (
            node.cni_config.open() as config,
            subprocess.Popen([*words, str(node.cni_program)], stdin=config) as runtime,
        ):
            with pytest.raises(subprocess.TimeoutExpired):
                runtime.wait(2)  # it waits for a network that never comes
            runtime.kill()
        shaken.cni("DEL", pod)
        log = (node.directory / "daemon.log").read_text(errors="replace")
        assert "the client has hung up: while it waited for: the configuration" in log
    finally:
        shaken.lab.restart_daemon("node1")
        shaken.remove(pod)


RUDE = """
from collections.abc import Mapping

from k8s_ovs.plugin import Check, LinkSettings, Metric, Problem, hook


def leave(*_):
    raise SystemExit(3)


class Text(str):
    __str__ = __repr__ = __format__ = leave


class Said(Mapping):
    __getitem__ = __iter__ = __len__ = leave


class Rude:
    @hook
    def status(self, view):
        return Said()

    @hook
    def metrics(self, view):
        yield Metric("huge", "h", 10**400)
        yield Metric("metrics_failed", "h", 1)

    @hook
    def doctor_checks(self, view):
        yield Check(Text("rude"), False, Text("as it is"))

    @hook
    def allocations(self, view):
        yield Problem(Text("all"), Text("is lost"))

    @hook
    def pod_link(self, view, pod):
        return LinkSettings(mtu=1000)
"""


def test_a_plugin_whose_values_raise_is_told_and_all_else_goes_on(
    shaken: LabNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    information = tmp_path / "acme_rude-1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-rude\nVersion: 1\n")
    (information / "entry_points.txt").write_text("[k8s_ovs.plugins]\nrude = acme_rude:Rude\n")
    (tmp_path / "acme_rude.py").write_text(RUDE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    shaken.lab.restart_daemon("node1")
    with configuration(shaken, changed(PluginName="k8s-ovs-subnet,rude")):
        await_that("it runs", lambda: "rude" in shaken.status("node1")["plugins"], WITHIN)
        pid = shaken.status("node1")["pid"]
        with shaken.attached("node1", "meanwhile") as pod:
            assert pod.ip is not None
            assert shaken.pings("y", pod.ip)
            device = shaken.lab.exec("node1", ["ip", "-n", pod.netns, "link", "show", "eth0"])
            assert "mtu 1000" in device.stdout
        await_that("the page", lambda: problems(shaken) >= 0, WITHIN)
        said = shaken.lab.exec("node1", ["k8s-ovs", "doctor"], check=False).stdout
        assert "as it is" in said
        status = shaken.status("node1")
        assert "plugin rude: status of the network: SystemExit(3)" in str(status["of_plugins"])
        assert (status["pid"], status["ready"]) == (pid, True)


@contextmanager
def listening(world: LabNet) -> Iterator[None]:
    """Another program has the page's port on node1."""
    words = ["ip", "netns", "exec", world.lab.node("node1").netns, sys.executable, "-c", LISTEN]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        program.stdout.readline()
        try:
            yield
        finally:
            program.kill()


def problems(world: LabNet) -> int:
    """What the metrics page of node1 says; -1: it is not served."""
    page = world.lab.exec("node1", ["curl", "-s", PAGE], check=False).stdout
    found = [line.split()[1] for line in page.splitlines() if line.startswith("k8s_ovs_problems ")]
    return int(float(found[0])) if found else -1
