"""Which images run in the cluster, and how are they made? Nothing is pulled from a registry."""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

from attrs import frozen
from tests.cluster.binaries import COREDNS, coredns, kube_cache
from tests.cluster.progress import progress
from tests.kernel.cache import cached, fingerprint
from tests.kernel.drives import TREE
from tests.kernel.host import need, run
from tests.kernel.image import LEAN, SUITE, debian_sources, transport_settings

from k8s_ovs.errors import K8sOvsError

__all__ = [
    "COREDNS_IMAGE",
    "DAEMON",
    "PAUSE",
    "TOOLS",
    "Store",
    "all_images",
    "as_another",
    "docker_archive",
]

DEBIAN = "docker.io/library/debian:bookworm-slim"
DAEMON = "docker.io/library/k8s-ovs:latest"
PAUSE = "k8s-ovs.invalid/pause:1"
TOOLS = "k8s-ovs.invalid/tools:1"
COREDNS_IMAGE = f"k8s-ovs.invalid/coredns:{COREDNS}"

BUSYBOX = Path("/bin/busybox")
DEBOOTSTRAP_LIMIT_S = 600
BUILD_LIMIT_S = 1200
KEPT_ARCHIVES = 2
# MOST_LAYERS: what buildah keeps is all for the next build; then it begins anew.
MOST_LAYERS = 100

# TOOLS_PACKAGES: what pods of the tests send and watch packets with.
TOOLS_PACKAGES = (
    *("busybox-static", "curl", "dnsutils", "iperf3"),
    *("iproute2", "iputils-ping", "procps", "socat"),
)
# BASE_PACKAGES: debian:bookworm-slim is the smallest Debian that has apt.
BASE_PACKAGES = ("ca-certificates",)

# INTO_IMAGE: what deploy/Dockerfile may see of the tree, as .dockerignore has it.
INTO_IMAGE = [".dockerignore", "LICENSE", "README.md", "pyproject.toml"]
INTO_IMAGE += ["cni", "core", "deploy", ":!deploy/chart", "plugins"]


def all_images() -> dict[str, Path]:
    """Each image's name and its archive, as `docker save` makes it; from the cache or built.

    Raises K8sOvsError with the words of what failed, TimedOut.
    """
    return {PAUSE: _pause(), TOOLS: _tools(), COREDNS_IMAGE: _coredns(), DAEMON: _daemon()}


def docker_archive(path: Path, name: str, layer: Path, config: Mapping[str, object]) -> None:
    """An image of one layer, a tar file, in the form of `docker save`. config: Entrypoint, Cmd."""
    digest = sha256(layer.read_bytes()).hexdigest()
    about = {
        "architecture": "amd64",
        "os": "linux",
        "config": dict(config),
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        # buildah refuses to build on an image whose history does not tell of each layer, and takes
        # nothing from its cache where that does not say when.
        "history": [{"created": "2000-01-01T00:00:00Z", "created_by": "tests/cluster/images.py"}],
    }
    said = json.dumps(about).encode()
    config_name = f"{sha256(said).hexdigest()}.json"
    manifest = [{"Config": config_name, "RepoTags": [name], "Layers": ["layer.tar"]}]
    files = {config_name: said, "manifest.json": json.dumps(manifest).encode()}
    with tarfile.open(path, "w") as archive:
        archive.add(layer, "layer.tar")
        for member, content in files.items():
            _add(archive, member, content)


def as_another(archive: Path, target: Path, name: str) -> None:
    """The image of an archive under another name and with another ID: a label is all that differs,
    so that it does the same, and to the runtime it is new."""
    with tarfile.open(archive) as old, tarfile.open(target, "w") as new:
        (manifest,) = json.loads(_content(old, "manifest.json"))
        about = json.loads(_content(old, manifest["Config"]))
        about["config"]["Labels"] = {"org.opencontainers.image.version": name}
        said = json.dumps(about).encode()
        for layer in manifest["Layers"]:
            new.addfile(old.getmember(layer), old.extractfile(layer))
        config_name = f"{sha256(said).hexdigest()}.json"
        _add(new, config_name, said)
        manifest |= {"Config": config_name, "RepoTags": [name]}
        _add(new, "manifest.json", json.dumps([manifest]).encode())


def _add(archive: tarfile.TarFile, member: str, content: bytes) -> None:
    header = tarfile.TarInfo(member)
    header.size = len(content)
    archive.addfile(header, io.BytesIO(content))


def _content(archive: tarfile.TarFile, member: str) -> bytes:
    found = archive.extractfile(member)
    if found is None:
        raise K8sOvsError(f"{archive.name!r}: {member}: expected a file")
    return found.read()


def _pause() -> Path:
    """What keeps a sandbox: one program that sleeps."""
    need(str(BUSYBOX), "busybox-static")
    command = {"Entrypoint": ["/busybox", "sleep", "infinity"]}
    return _one_program("pause", PAUSE, BUSYBOX, command)


def _coredns() -> Path:
    return _one_program("coredns-image", COREDNS_IMAGE, coredns(), {"Entrypoint": ["/coredns"]})


def _one_program(kind: str, name: str, program: Path, config: Mapping[str, object]) -> Path:
    key = fingerprint(name, json.dumps(config), sha256(program.read_bytes()).hexdigest())

    def build(directory: Path) -> None:
        layer = directory / "layer.tar"
        with tarfile.open(layer, "w") as tar:
            tar.add(program, program.name)
        docker_archive(directory / "image.tar", name, layer, config)
        layer.unlink()

    return cached(kind, key, build, kube_cache()) / "image.tar"


def _tools() -> Path:
    """Debian with the programs that the tests use, asleep."""
    return _debian("tools-image", TOOLS, TOOLS_PACKAGES, {"Cmd": ["sleep", "infinity"]})


def _base() -> Path:
    """A stand-in for debian:bookworm-slim, made from this machine's mirror of Debian."""
    return _debian("debian-image", DEBIAN, BASE_PACKAGES, {"Cmd": ["bash"]})


def _debian(kind: str, name: str, packages: Sequence[str], config: Mapping[str, object]) -> Path:
    need("mmdebstrap", "mmdebstrap")

    def build(directory: Path) -> None:
        progress(f"making the image {name}, about 30 s, once")
        sources, layer = directory / "sources.list", directory / "layer.tar"
        sources.write_text(debian_sources())
        options = ["--quiet", "--mode=root", "--variant=minbase", "--format=tar", *LEAN]
        options += [f"--aptopt={setting}" for setting in transport_settings()]
        options += [f"--include={','.join(packages)}", SUITE, str(layer), str(sources)]
        alone = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
        run([*alone, "nice", "-n", "15", "mmdebstrap", *options], DEBOOTSTRAP_LIMIT_S)
        docker_archive(directory / "image.tar", name, layer, config)
        layer.unlink()

    key = fingerprint(SUITE, name, *packages, *LEAN, json.dumps(config))
    return cached(kind, key, build, kube_cache()) / "image.tar"


def _daemon() -> Path:
    """What deploy/Dockerfile makes of this tree."""
    need("buildah", "buildah")
    made = cached("daemon-image", _fingerprint_of_tree(), _build_daemon, kube_cache())
    # Each state of the tree has one, of some 300 MB.
    for older in sorted(made.parent.glob("*/image.tar"), key=_last_use)[:-KEPT_ARCHIVES]:
        shutil.rmtree(older.parent, ignore_errors=True)
    return made / "image.tar"


def _last_use(archive: Path) -> float:
    return archive.parent.stat().st_mtime


def _fingerprint_of_tree() -> str:
    listing = ["git", "-C", str(TREE), "ls-files", "-z", "-c", "-o", "--exclude-standard"]
    names = run([*listing, "--", *INTO_IMAGE], limit_s=30).split("\0")
    files = [TREE / name for name in sorted(set(names)) if name]
    return fingerprint(*(f"{each}\n{each.read_bytes().hex()}" for each in files if each.is_file()))


def _build_daemon(directory: Path) -> None:
    progress(f"building the image {DAEMON} as deploy/Dockerfile says")
    home = kube_cache() / "buildah"
    if len(list(home.glob("overlay/*"))) > MOST_LAYERS:
        shutil.rmtree(home)
    store = Store(home)
    store.pull(_base())
    store.build(DAEMON, TREE / "deploy" / "Dockerfile", TREE)
    store.push(DAEMON, directory / "image.tar")


@frozen
class Store:
    """A directory in which buildah has images and makes others of them. Methods raise K8sOvsError
    with the last words of what failed."""

    home: Path

    def pull(self, archive: Path) -> None:
        """Take the image of an archive."""
        self._buildah("pull", "--quiet", f"docker-archive:{archive}")

    def build(self, name: str, dockerfile: Path, context: Path) -> None:
        """What the Dockerfile makes; what it is FROM is here."""
        options = ["--isolation=chroot", "--format=docker", "--layers", "--pull=never"]
        options += [f"--volume={each}:{each}:ro" for each in _settings_of_machine()]
        self._buildah("bud", *options, f"--file={dockerfile}", f"--tag={name}", str(context))

    def push(self, name: str, archive: Path) -> None:
        """Write an image into an archive, as `docker save` does."""
        self._buildah("push", "--quiet", name, f"docker-archive:{archive}:{name}")

    def run(self, name: str, *command: str) -> str:
        """What a command prints in a container of the image, in this machine's network."""
        container = self._buildah("from", "--pull=never", name).strip()
        try:
            return self._buildah("run", "--isolation=chroot", container, "--", *command)
        finally:
            self._buildah("rm", container)

    def _buildah(self, *words: str) -> str:
        with tempfile.TemporaryDirectory(prefix="k8s-ovs-buildah-") as scratch:
            buildah = ["nice", "-n", "15", "buildah", f"--root={self.home}"]
            buildah += [f"--runroot={scratch}", "--storage-driver=overlay"]
            return run([*buildah, *words], BUILD_LIMIT_S)


def _settings_of_machine() -> list[str]:
    """How this machine reaches package mirrors: files that a build needs at the same place."""
    files = ("/etc/pip.conf", "/etc/ssl/certs/ca-certificates.crt")
    return [each for each in files if os.path.exists(each)]
