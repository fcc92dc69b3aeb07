"""Installing the CNI plugin on a host."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from k8s_ovs.errors import K8sOvsError
from k8s_ovs.node.cni_install import cni_config, install


def test_the_plugin_is_executable_and_answers_without_a_daemon(tmp_path: Path) -> None:
    binary, _ = install(tmp_path / "bin", tmp_path / "net.d", cni_config("1.0.0"))
    answer = subprocess.run(
        [binary],
        input='{"cniVersion": "1.0.0"}',
        env={"CNI_COMMAND": "VERSION"},
        text=True,
        capture_output=True,
        timeout=10,
        check=True,
    )
    assert json.loads(answer.stdout)["cniVersion"] == "1.0.0"
    assert os.stat(binary).st_mode & 0o777 == 0o755


def test_the_configuration_names_the_socket_only_where_it_is_not_the_usual_one(
    tmp_path: Path,
) -> None:
    _, config = install(tmp_path, tmp_path, cni_config("1.1.0"))
    assert config.name == "80-k8s-ovs.conf"
    assert json.loads(config.read_text()) == {
        "cniVersion": "1.1.0",
        "name": "k8s-ovs",
        "type": "k8s-ovs",
    }
    assert cni_config("1.1.0", Path("/run/x.sock"))["socketPath"] == "/run/x.sock"


def test_installing_twice_replaces_and_leaves_nothing_beside(tmp_path: Path) -> None:
    for version in ("0.4.0", "1.0.0"):
        install(tmp_path / "bin", tmp_path / "net.d", cni_config(version))
    assert [path.name for path in sorted(tmp_path.glob("*/*"))] == ["k8s-ovs", "80-k8s-ovs.conf"]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "bin").write_text("a file where a directory should be")
    with pytest.raises(K8sOvsError, match=f"cannot install {tmp_path}/bin/k8s-ovs"):
        install(tmp_path / "bin", tmp_path / "net.d", cni_config("1.0.0"))
