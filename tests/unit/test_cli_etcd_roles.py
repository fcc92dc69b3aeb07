"""The commands that `k8s-ovs etcd-roles` prints ask the etcd that it asked, and end without one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.fake_etcd import CONFIG, PREFIX, FakeEtcd
from typer.testing import Result

from k8s_ovs.cli.cluster import snapshot

Cli = Callable[..., Result]

LIMITS = "export ETCDCTL_DIAL_TIMEOUT=5s ETCDCTL_COMMAND_TIMEOUT=10s"
ASKED = f"etcdctl get --keys-only {PREFIX}/config > /dev/null || exit 1"


@pytest.fixture(autouse=True)
def etcd(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that has a configuration."""
    monkeypatch.setattr(snapshot, "Etcd", FakeEtcd)
    FakeEtcd.records = {"config": json.dumps(CONFIG).encode()}


def test_the_first_lines_say_where_etcd_is_and_for_how_long_to_ask(
    k8s_ovs: Cli, tmp_path: Path
) -> None:
    file = tmp_path / "a file.pem"
    file.write_text("")
    endpoints = "https://10.0.0.1:2379,https://10.0.0.2:2379"
    files = (word for flag in ("ca", "cert", "key") for word in (f"--etcd-{flag}file", str(file)))
    shown = k8s_ovs("etcd-roles", "--etcd-endpoints", endpoints, *files)
    first, limits, asked, *others = shown.stdout.splitlines()
    assert first == (
        f"export ETCDCTL_ENDPOINTS={endpoints} ETCDCTL_CACERT='{file}' ETCDCTL_CERT='{file}' "
        f"ETCDCTL_KEY='{file}'"
    )
    assert (limits, asked) == (LIMITS, ASKED)
    assert all(line.startswith(("etcdctl role ", "etcdctl user ")) for line in others)


def test_a_user_is_named_and_the_password_never(k8s_ovs: Cli) -> None:
    user = {"K8S_OVS_ETCD_USERNAME": "root", "K8S_OVS_ETCD_PASSWORD": "s3cret"}
    shown = k8s_ovs("etcd-roles", **user).stdout
    assert shown.splitlines()[:4] == [
        "export ETCDCTL_ENDPOINTS=http://127.0.0.1:2379 ETCDCTL_USER=root",
        'export ETCDCTL_PASSWORD="${ETCDCTL_PASSWORD:-${K8S_OVS_ETCD_PASSWORD:?}}"',
        LIMITS,
        ASKED,
    ]
    assert "s3cret" not in shown


def test_the_lines_end_at_the_first_where_etcd_does_not_answer(
    k8s_ovs: Cli, tmp_path: Path
) -> None:
    """`etcdctl role add` would wait for ever."""
    log = tmp_path / "log"
    program = tmp_path / "etcdctl"
    program.write_text(f'#!/bin/sh\necho "$1" >> {log}\nexit 1\n')
    program.chmod(0o755)
    shell = shutil.which("sh")
    assert shell is not None
    done = subprocess.run(
        [shell],
        input=k8s_ovs("etcd-roles").stdout,
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, log.read_text()) == (1, "get\n")
