"""The lab's etcdctl works for a user whose own shell points etcdctl somewhere else."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from k8s_ovs_lab import servers
from k8s_ovs_lab.layout import Layout


def test_the_endpoint_is_told_once_and_replaces_the_users_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[tuple[Sequence[str], Mapping[str, str]]] = []

    def run(
        argv: Sequence[str], *, environment: Mapping[str, str], **_: Any
    ) -> subprocess.CompletedProcess[str]:
        told.append((argv, environment))
        return subprocess.CompletedProcess(argv, 0, "value\n", "")

    monkeypatch.setattr(servers, "run", run)
    layout = Layout("lab", Path("/run/k8s-ovs-lab"))
    assert servers.etcdctl(layout, "get", "key") == "value\n"
    # etcdctl 3.4 ends with an error when flag and variable are both there.
    ((argv, environment),) = told
    assert argv == ["etcdctl", "get", "key"]
    assert environment["ETCDCTL_ENDPOINTS"] == layout.etcd_url
