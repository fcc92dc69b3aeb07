"""A plugin of somebody else gets to all nodes: by an image FROM ours, as docs/plugins.md says."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cluster.cluster import SYSTEM, Cluster
from tests.cluster.images import DAEMON, Store, all_images
from tests.cluster.node import import_image
from tests.kernel.drives import TREE

from k8s_ovs.errors import K8sOvsError
from k8s_ovs_lab.layout import ETCD_PREFIX
from k8s_ovs_lab.process import await_that
from k8s_ovs_testing.servers.etcd import EtcdProcess

(DOCKERFILE,) = re.findall(
    r"```dockerfile\n(.*?)```", (TREE / "docs/plugins.md").read_text(), re.DOTALL
)
WITH_AUDIT = "docker.io/library/k8s-ovs:acme-1.0"
CONFIG = (
    '{"Name":"k8ssdn","Network":"172.11.0.0/16","HostSubnetLength":10,'
    '"ServiceNetwork":"10.96.0.0/12","PluginName":"k8s-ovs-multitenant%s"}'
)
SILENT = f"{ETCD_PREFIX}/k8ssdn/audits/default"
WITHIN_S = 60.0


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store that has our image."""
    made = Store(tmp_path_factory.mktemp("buildah"))
    made.pull(all_images()[DAEMON])
    return made


def build(store: Store, name: str, project: Path) -> None:
    """The image of docs/plugins.md with the wheel of a project, whose source is left as it is."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", project / "dist"]
    subprocess.run(command, cwd=project, check=True, capture_output=True, timeout=60)
    (project / "Dockerfile").write_text(DOCKERFILE.replace("REGISTRY", "docker.io/library"))
    store.build(name, project / "Dockerfile", project)


def project_of(directory: Path, *replaced: str) -> Path:
    """A copy of acme-audit; replaced: a text of its pyproject.toml, and what it says instead."""
    project = directory / "acme-audit"
    subprocess.run(["cp", "-r", TREE / "tests/plugins/acme_audit", project], check=True)
    if replaced:
        text = (project / "pyproject.toml").read_text()
        assert replaced[0] in text
        (project / "pyproject.toml").write_text(text.replace(*replaced))
    return project


@pytest.fixture(scope="module")
def with_audit(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Store:
    build(store, WITH_AUDIT, project_of(tmp_path_factory.mktemp("acme")))
    return store


def test_an_image_from_ours_has_the_plugin_and_ours_has_not(
    with_audit: Store, tmp_path: Path
) -> None:
    with EtcdProcess(tmp_path) as etcd:
        to_etcd = f"--etcd-endpoints={etcd.endpoint}"
        words = ("k8s-ovs", "config", "set", to_etcd, CONFIG % ",acme-audit")
        with pytest.raises(K8sOvsError, match="acme-audit"):
            with_audit.run(DAEMON, *words)
        with_audit.run(WITH_AUDIT, *words)
        etcd.ctl("put", SILENT, '{"Silent":"yes"}')
        with pytest.raises(K8sOvsError, match='Silent: found "yes", expected true or false'):
            with_audit.run(WITH_AUDIT, "k8s-ovs", "config", "check", to_etcd)


def test_a_plugin_that_needs_another_version_of_what_the_daemon_has_makes_no_image(
    store: Store, tmp_path: Path
) -> None:
    project = project_of(tmp_path, '"k8s-ovs"]', '"k8s-ovs", "attrs<24"]')
    with pytest.raises(K8sOvsError, match=r"acme-audit 1.0 depends on attrs<24\n[^\n]*constraint"):
        build(store, "docker.io/library/k8s-ovs:clash", project)


@pytest.fixture
def configured(cluster: Cluster, restored: None) -> Iterator[None]:
    """Afterwards the configuration is as before, while all nodes have the plugin still."""
    before = cluster.etcdctl("get", "--print-value-only", f"{ETCD_PREFIX}/config").strip()
    yield
    cluster.etcdctl("put", f"{ETCD_PREFIX}/config", before)
    cluster.etcdctl("del", SILENT)


@pytest.mark.usefixtures("configured")
def test_the_daemons_of_all_nodes_run_it(
    cluster: Cluster, ways: dict[str, str], with_audit: Store, tmp_path: Path
) -> None:
    archive = tmp_path / "with-audit.tar"
    with_audit.push(WITH_AUDIT, archive)
    for node in cluster.place.nodes:
        import_image(node, archive)
    archive.unlink()
    cluster.kubectl("set", "image", "daemonset/k8s-ovs", f"*={WITH_AUDIT}", "-n", SYSTEM)
    cluster.await_rollout("daemonset/k8s-ovs")
    daemons = [cluster.daemon_on(node.name) for node in cluster.place.nodes]
    config = CONFIG % ",acme-audit"
    cluster.exec(daemons[0], "k8s-ovs", "config", "set", config, namespace=SYSTEM)

    def audited(actions: str) -> bool:
        words = ("k8s-ovs", "flows", "--owner", "acme-audit", "-o", "json")
        said = [cluster.exec(daemon, *words, namespace=SYSTEM) for daemon in daemons]
        return all(actions in {row["actions"] for row in json.loads(each)} for each in said)

    # On the way to ROUTE is the table of the feature k8s-ovs-shaping, which comes along.
    await_that("flows of the plugin on all nodes", lambda: audited("goto_table:POLICE"), WITHIN_S)
    assert all(cluster.reaches(pod, address) for pod, address in ways.items())
    cluster.etcdctl("put", SILENT, '{"Silent":true}')
    await_that("a silent namespace on all nodes", lambda: audited("drop"), WITHIN_S)
    assert not any(cluster.reaches(pod, address) for pod, address in ways.items())
