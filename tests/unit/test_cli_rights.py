"""Commands of somebody who is not root say that they have to be, and not that nothing runs."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.unit.fake_etcd import FakeEtcd
from typer.testing import Result

from k8s_ovs.cli.cluster import snapshot
from k8s_ovs.ovs.openflow.client import OpenFlow
from k8s_ovs.ovs.rights import NotPermitted, check_rights

Cli = Callable[..., Result]

NOBODY = 65534
SOCKETS = ("db.sock", "br0.mgmt", "cni.sock")


@pytest.fixture(params=["sockets", "directory"])
def kept(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A run directory whose sockets, or which itself, is root's alone; who asks is not."""
    # pytest's own directories are root's too.
    directory = Path(tempfile.mkdtemp())
    listening = [socket.socket(socket.AF_UNIX) for _ in SOCKETS]
    for each, name in zip(listening, SOCKETS, strict=True):
        each.bind(str(directory / name))
        each.listen()
        (directory / name).chmod(0o750)
    directory.chmod(0o750 if request.param == "directory" else 0o755)
    os.seteuid(NOBODY)
    try:
        yield directory
    finally:
        os.seteuid(0)
        for each in listening:
            each.close()
        shutil.rmtree(directory)


@pytest.mark.parametrize("words", [("flows",), ("pod", "list"), ("pod", "show", "x")], ids=str)
def test_what_only_root_may_ask_is_said(words: tuple[str, ...], kept: Path, k8s_ovs: Cli) -> None:
    shown = k8s_ovs(*words, "--ovs-run-dir", str(kept))
    assert shown.exit_code == 1
    assert shown.stderr == (f"error: {kept}/db.sock: Permission denied: run this command as root\n")


def test_status_and_doctor_say_it_too(
    kept: Path, k8s_ovs: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "Etcd", FakeEtcd)
    FakeEtcd.records = {}
    denied = f"{kept}/db.sock: Permission denied: run this command as root"
    where = ("--ovs-run-dir", str(kept), "--cni-socket", "/nowhere/cni.sock")
    assert f"NOT REACHED: {denied}" in k8s_ovs("status", *where).stdout
    found = k8s_ovs("doctor", *where).stdout
    assert f"WRONG Open vSwitch {denied} -> run this as root" in " ".join(found.split())


def test_the_bridges_own_socket_is_named(kept: Path) -> None:
    path = str(kept / "br0.mgmt")
    with pytest.raises(NotPermitted) as refused, closing(OpenFlow.connect(path)):
        pass
    assert str(refused.value) == f"{path}: Permission denied: run this command as root"


@pytest.mark.parametrize("path", ["/nowhere/db.sock", "/proc/self/mem/x", "/" + "a" * 5000, "\0"])
def test_what_is_not_there_is_not_forbidden(path: str) -> None:
    check_rights(path)
