"""The lab with a real kube-apiserver, reached as the embedded one is."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cluster.binaries import kubernetes
from tests.node.lab_objects import lab_objects, reach

from k8s_ovs.observe.kube import Forbidden, Kube, KubeSettings
from k8s_ovs_lab.kube.apiserver import ApiServer
from k8s_ovs_testing.servers.etcd import EtcdProcess, free_port


def test_the_real_one_serves_the_same_objects_over_tls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(kubernetes()))
    with EtcdProcess(tmp_path / "etcd") as etcd:
        port = free_port()
        server = ApiServer.start(tmp_path / "api", "127.0.0.1", None, etcd.endpoint, port=port)
        try:
            objects = lab_objects(reach(server))
            version = reach(server).get("/version")
            other = KubeSettings.from_kubeconfig(str(server.kubeconfig))
            other.configuration.api_key.clear()
            other.configuration.refresh_api_key_hook = None
            with pytest.raises(Forbidden, match=r"GET /api/v1/nodes: 401"):
                Kube(other).get("/api/v1/nodes")
        finally:
            server.stop()

    assert server.url == f"https://127.0.0.1:{port}"
    assert version["major"] == "1"
    assert objects["pod"]["status"]["podIP"] == "172.11.0.2"
    assert objects["service"]["spec"]["clusterIP"]
