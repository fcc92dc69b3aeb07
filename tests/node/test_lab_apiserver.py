"""The lab's embedded API server, and where a real one is looked for."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.node.lab_objects import lab_objects, reach

from k8s_ovs.errors import Unavailable
from k8s_ovs_lab.command import inside
from k8s_ovs_lab.kube.apiserver import ApiServer, find_kube_apiserver

DEBIAN_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


@pytest.fixture
def netns() -> Iterator[str]:
    name = f"api-test-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True, timeout=10)
    try:
        subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True, timeout=10)
        yield name
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True, timeout=10)


@pytest.fixture
def embedded(monkeypatch: pytest.MonkeyPatch) -> None:
    """No real API server is found."""
    monkeypatch.setenv("PATH", DEBIAN_PATH)
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)


@pytest.mark.usefixtures("embedded")
def test_the_embedded_one_serves_in_its_namespace_and_is_found_again(
    tmp_path: Path, netns: str
) -> None:
    ApiServer.start(tmp_path, "127.0.0.1", netns, "http://127.0.0.1:2379")
    found = ApiServer(tmp_path)
    try:
        assert found.url == "http://127.0.0.1:6443"
        with inside(netns):
            objects = lab_objects(reach(found))
        with pytest.raises(Unavailable):
            reach(found).get("/version")
    finally:
        found.stop()

    assert objects["pod"]["status"]["podIP"] == "172.11.0.2"
    assert objects["service"]["spec"]["clusterIP"].startswith("10.96.")
    assert not found.running()


@pytest.mark.usefixtures("embedded")
def test_one_that_cannot_start_shows_its_log(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"cannot listen on 192\.0\.2\.1:6443"):
        ApiServer.start(tmp_path, "192.0.2.1", None, "http://127.0.0.1:2379")

    assert not ApiServer(tmp_path).running()


def test_the_real_one_is_looked_for_in_assets_and_then_on_the_path(tmp_path: Path) -> None:
    on_path, in_assets = tmp_path / "path", tmp_path / "assets"
    for directory in (on_path, in_assets):
        directory.mkdir()
        (directory / "kube-apiserver").touch(mode=0o755)
    environment = {"PATH": str(on_path), "KUBEBUILDER_ASSETS": str(in_assets)}

    assert find_kube_apiserver(environment) == in_assets / "kube-apiserver"
    (in_assets / "kube-apiserver").unlink()
    assert find_kube_apiserver(environment) == on_path / "kube-apiserver"
    (on_path / "kube-apiserver").unlink()
    assert find_kube_apiserver(environment) is None
