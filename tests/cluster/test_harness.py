"""The harness itself: what it builds from, its images, and that nothing of a cluster is left."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from pathlib import Path

from tests.cluster.binaries import staging_modules
from tests.cluster.images import docker_archive
from tests.cluster.lifecycle import tear_down
from tests.cluster.place import Place
from tests.kernel.drives import TREE

from k8s_ovs.lab.process import await_that
from k8s_ovs.lab.underlay import namespaces

GO_MOD = """\
module k8s.io/kubernetes

require k8s.io/api v0.0.0

replace (
\tk8s.io/kubelet => ./staging/src/k8s.io/kubelet
\tk8s.io/api => ./staging/src/k8s.io/api
\texample.org/fork => example.org/other v1.0.0
)
"""


def test_modules_of_kubernetes_own_tree_are_found_in_its_go_mod() -> None:
    assert staging_modules(GO_MOD) == ["k8s.io/api", "k8s.io/kubelet"]


def test_an_image_names_itself_its_layer_and_its_command(tmp_path: Path) -> None:
    layer = tmp_path / "layer.tar"
    with tarfile.open(layer, "w") as tar:
        tar.add(__file__, "program")
    docker_archive(tmp_path / "image.tar", "a.invalid/b:1", layer, {"Cmd": ["/program"]})
    with tarfile.open(tmp_path / "image.tar") as image:

        def member(name: str) -> bytes:
            content = image.extractfile(name)
            assert content is not None
            return content.read()

        (manifest,) = json.loads(member("manifest.json"))
        assert manifest["RepoTags"] == ["a.invalid/b:1"]
        assert [member(each) for each in manifest["Layers"]] == [layer.read_bytes()]
        assert json.loads(member(manifest["Config"]))["config"] == {"Cmd": ["/program"]}


def test_of_a_cluster_whose_making_was_killed_nothing_is_left() -> None:
    place = Place("kci", 1)
    (node,) = place.nodes
    command = [sys.executable, "-m", "tests.cluster.run", "up", "--nodes=1", f"--name={place.name}"]
    with subprocess.Popen(command, cwd=TREE, stderr=subprocess.DEVNULL) as making:
        kubelet = node.directory / "kubelet.pid"
        await_that("a kubelet", lambda: kubelet.exists() or making.poll() is not None, 1200)
        making.kill()
    assert kubelet.exists()
    assert tear_down(place)
    assert not place.directory.exists()
    assert namespaces(place.layout) == []
    assert not list(Path("/sys/fs/cgroup").glob(f"**/*{place.name}-{node.name}"))
    assert str(place.directory) not in Path("/proc/mounts").read_text()
    running = Path("/proc").glob("[0-9]*/cmdline")
    assert not [path for path in running if str(place.directory).encode() in _content(path)]


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""  # ended meanwhile
