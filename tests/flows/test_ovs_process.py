"""An Open vSwitch of one's own: it is found again by its directory, and ended as a whole."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from k8s_ovs.errors import SwitchError, TimedOut, Unavailable
from k8s_ovs_testing.ovs import OvsProcess

pytest_plugins = ("k8s_ovs_testing.fixtures",)


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory whose name is short enough for Unix sockets."""
    with tempfile.TemporaryDirectory(prefix="ovs-") as path:
        yield Path(path)


def test_one_left_running_is_found_and_ended_by_its_directory(directory: Path) -> None:
    OvsProcess.start(directory, dummy=True).vsctl("add-br", "br0")
    found = OvsProcess(directory)
    assert found.running()
    assert found.vsctl("list-br").split() == ["br0"]
    found.stop()
    assert not found.running()
    assert not found.running("ovsdb-server")
    found.stop()


def test_its_database_outlives_it(directory: Path) -> None:
    OvsProcess.start(directory, dummy=True).vsctl("add-br", "br0")
    OvsProcess(directory).stop()
    again = OvsProcess.start(directory, dummy=True)
    try:
        assert again.vsctl("list-br").split() == ["br0"]
    finally:
        again.stop()


def test_one_that_hangs_is_ended_too(ovs_dummy: OvsProcess) -> None:
    ovs_dummy.pause()
    ovs_dummy.pause("ovsdb-server")
    ovs_dummy.stop()
    assert not ovs_dummy.running()


def test_the_pid_file_of_a_crashed_one_names_nobody(ovs_dummy: OvsProcess) -> None:
    ovs_dummy.kill()
    assert not ovs_dummy.running()
    with pytest.raises(Unavailable, match=r"ovs-vswitchd of .* is not running"):
        ovs_dummy.pause()
    ovs_dummy.start_vswitchd()
    assert ovs_dummy.running()


def test_the_pid_file_of_another_process_is_left_alone(directory: Path) -> None:
    (directory / "ovs-vswitchd.pid").write_text("1\n")
    assert not OvsProcess(directory).running()


def test_what_was_refused_is_told_in_its_own_words(ovs_dummy: OvsProcess) -> None:
    with pytest.raises(SwitchError, match="no bridge named nosuch"):
        ovs_dummy.vsctl("list-ports", "nosuch")


def test_a_daemon_that_hangs_costs_no_more_than_the_limit(ovs_dummy: OvsProcess) -> None:
    ovs_dummy.pause()
    patient = OvsProcess(ovs_dummy.directory, dummy=True, timeout=0.2)
    with pytest.raises(TimedOut, match=r"no answer within 0\.2 s from: ovs-appctl"):
        patient.appctl("version")


def test_a_machine_without_open_vswitch_is_told_what_to_install(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(Unavailable, match="ovsdb-tool is not installed; openvswitch-switch"):
        OvsProcess.start(directory, dummy=True)


def test_a_packet_is_traced_through_the_flows(ovs_dummy: OvsProcess) -> None:
    ovs_dummy.vsctl("add-br", "br0", "--", "add-port", "br0", "p1")
    ovs_dummy.ofctl("add-flow", "br0", "in_port=p1,ip,actions=drop")
    assert "Datapath actions: drop" in ovs_dummy.trace("br0", "in_port=p1,ip")
