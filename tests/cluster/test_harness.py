"""The harness itself: what it builds from, its images, and that nothing of a cluster is left."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

from tests.cluster.binaries import staging_modules
from tests.cluster.images import as_another, docker_archive
from tests.cluster.lifecycle import tear_down
from tests.cluster.place import Place
from tests.kernel.drives import TREE

from k8s_ovs_lab.process import await_that
from k8s_ovs_lab.underlay import namespaces

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
    manifest = manifest_of(tmp_path / "image.tar")
    assert manifest["RepoTags"] == ["a.invalid/b:1"]
    members = [content_of(tmp_path / "image.tar", each) for each in manifest["Layers"]]
    assert members == [layer.read_bytes()]
    config = json.loads(content_of(tmp_path / "image.tar", manifest["Config"]))
    assert config["config"] == {"Cmd": ["/program"]}


def test_an_image_under_another_name_has_the_same_layers_and_another_id(tmp_path: Path) -> None:
    layer, first, second = (tmp_path / name for name in ("layer.tar", "first.tar", "second.tar"))
    with tarfile.open(layer, "w") as tar:
        tar.add(__file__, "program")
    docker_archive(first, "a.invalid/b:1", layer, {"Cmd": ["/program"]})
    as_another(first, second, "a.invalid/b:2")
    one, two = manifest_of(first), manifest_of(second)
    assert (one["RepoTags"], two["RepoTags"]) == (["a.invalid/b:1"], ["a.invalid/b:2"])
    assert one["Config"] != two["Config"]
    assert content_of(second, "layer.tar") == content_of(first, "layer.tar")
    assert json.loads(content_of(second, two["Config"]))["config"]["Cmd"] == ["/program"]


def manifest_of(archive: Path) -> dict[str, Any]:
    (manifest,) = json.loads(content_of(archive, "manifest.json"))
    return dict(manifest)


def content_of(archive: Path, member: str) -> bytes:
    with tarfile.open(archive) as image:
        content = image.extractfile(member)
        assert content is not None
        return content.read()


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
