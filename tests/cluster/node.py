"""What runs on a node? Open vSwitch, containerd, kubelet and kube-proxy, in a box of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.cluster.cgroups import make_cgroups
from tests.cluster.credentials import Authority
from tests.cluster.place import CLUSTER_DNS, DOMAIN, NETWORK, Place

from k8s_ovs.errors import K8sOvsError, Unavailable
from k8s_ovs_lab.command import run
from k8s_ovs_lab.layout import LabNode
from k8s_ovs_lab.process import LabProcess, await_that, end_processes
from k8s_ovs_testing.traffic.host import host_snapshot

__all__ = [
    "PLUGINS",
    "WITHOUT_PYTHON",
    "WITH_PORTMAP",
    "box",
    "configure",
    "import_image",
    "in_box",
    "make_disk",
    "open_box",
    "snapshot",
    "start_node",
    "start_program",
    "stop_program",
]

READY_WITHIN_S = 60.0
IMPORT_LIMIT_S = 300.0
PLUGINS = Path("/usr/lib/cni")
# WITH_PORTMAP: the other nodes have no such plugin, so both of our configurations are tried.
WITH_PORTMAP = "node1"
BOX = Path(__file__).with_name("box.sh")
# WITHOUT_PYTHON: the node that has none, as an image of a host may be; the others have Debian's.
WITHOUT_PYTHON = "node2"

CONTAINERD = """\
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/opt/cni/bin"
    conf_dir = "/etc/cni/net.d"
"""


def box(node: LabNode) -> LabProcess:
    """The process whose end is the end of the node."""
    return LabProcess(node.directory, "box")


def make_disk(node: LabNode) -> None:
    """The directories that are the node's own, and outlive its boots."""
    root = node.directory
    shutil.copytree("/etc", root / "etc", symlinks=True)
    for foreign in ("cni", "kubernetes"):
        shutil.rmtree(root / "etc" / foreign, ignore_errors=True)
    for name in ("etc/cni/net.d", "opt/cni/bin", "ovs", "var/lib", "var/log", "var/tmp"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "var" / "run").symlink_to("/run")
    # A container runtime starts loopback for each sandbox, whatever the network is.
    for plugin in ("loopback", *(["portmap"] if node.name == WITH_PORTMAP else [])):
        shutil.copy2(PLUGINS / plugin, root / "opt" / "cni" / "bin" / plugin)


def open_box(node: LabNode, programs: Path) -> None:
    """Make the node's own mounts, process numbers and host name; network and disk are there."""
    process = box(node)
    alone = ["unshare", "--mount", "--pid", "--uts", "--fork", "--kill-child"]
    hidden = _pythons() if node.name == WITHOUT_PYTHON else []
    rest = [str(BOX), node.name, str(node.directory), str(programs), *hidden]
    process.start([*alone, *rest], netns=node.netns)
    ready = ["test", "-e", "/run/box-is-ready"]
    await_that(
        f"the box of {node.name}",
        lambda: run(in_box(node, ready), check=False).returncode == 0,
        READY_WITHIN_S,
        process.log,
        process,
    )


def in_box(node: LabNode, argv: Sequence[str]) -> list[str]:
    """The command that runs argv on the node. Raises Unavailable if the node's box is not open."""
    first = _forked(box(node))
    return ["nsenter", f"--target={first}", "--net", "--mount", "--pid", "--uts", "--", *argv]


def start_node(place: Place, node: LabNode) -> None:
    """Start containerd, kubelet and kube-proxy; Open vSwitch runs, and all is configured.

    Returns when containerd answers. Raises K8sOvsError with the end of its log if it does not.
    """
    make_cgroups(place.cgroup(node))
    for name in ("containerd", "kubelet", "kube-proxy"):
        start_program(node, name)


def start_program(node: LabNode, name: str) -> None:
    """Start `containerd`, and await its answer, `kubelet` or `kube-proxy`."""
    process = LabProcess(node.directory, name)
    process.start(in_box(node, _command(node, name)))
    if name == "containerd":
        await_that(
            f"containerd of {node.name}",
            lambda: run(in_box(node, ["ctr", "version"]), check=False).returncode == 0,
            READY_WITHIN_S,
            process.log,
            process,
        )


def stop_program(node: LabNode, name: str) -> None:
    """End one of them, as its unit would be stopped: what it has started goes on."""
    process = LabProcess(node.directory, name)
    end_processes([_forked(process)])
    await_that(f"end of {name} of {node.name}", lambda: not process.running(), READY_WITHIN_S)


def import_image(node: LabNode, archive: Path) -> None:
    """Give the node's containerd an image; archive: as `docker save` makes it."""
    command = ["ctr", "--namespace=k8s.io", "images", "import", "-"]
    with archive.open("rb") as source:
        done = subprocess.run(
            in_box(node, command),
            stdin=source,
            capture_output=True,
            text=True,
            timeout=IMPORT_LIMIT_S,
            check=False,
        )
    if done.returncode:
        raise K8sOvsError(f"ctr import of {archive} on {node.name}: {done.stderr.strip()[-2000:]}")


def snapshot(node: LabNode) -> dict[str, Any]:
    """What is on the node that a network may have changed: devices, settings, tables, files."""

    def ask(*words: str) -> str:
        return run(in_box(node, words)).stdout

    return host_snapshot(ask) | {
        "settings": ask("sysctl", "net.ipv4.ip_forward", "net.ipv4.conf.all").splitlines(),
        # What kube-proxy has in its own changes with the services.
        "tables": sorted(ask("nft", "list", "tables").splitlines()),
        "files": sorted(ask("find", "/opt/cni", "/etc/cni").splitlines()),
        # The runtime keeps in /var/lib/cni what each network has answered.
        "directories": ask("ls", "--ignore=cni", "/run", "/var/lib").splitlines(),
    }


def configure(place: Place, node: LabNode, authority: Authority, pause: str) -> None:
    """The files that the node's programs read. pause: the image of sandboxes."""
    etc = node.directory / "etc"
    (etc / "containerd").mkdir(exist_ok=True)
    (etc / "containerd" / "config.toml").write_text(CONTAINERD.format(pause=pause))
    kubernetes = etc / "kubernetes"
    kubernetes.mkdir(exist_ok=True)
    for stem, user, group in (
        ("kubelet", f"system:node:{node.name}", "system:nodes"),
        ("kube-proxy", "system:kube-proxy", ""),
    ):
        path = kubernetes / f"{stem}.conf"
        authority.kubeconfig(path, place.server, f"{node.name}-{stem}", user, group)
    shutil.copy(authority.ca, kubernetes / "ca.crt")
    (kubernetes / "kubelet.json").write_text(json.dumps(_kubelet(place, node), indent=2))


def _command(node: LabNode, name: str) -> list[str]:
    match name:
        case "containerd":
            return ["containerd"]
        case "kubelet":
            return [
                "/run/programs/kubelet",
                "--config=/etc/kubernetes/kubelet.json",
                "--kubeconfig=/etc/kubernetes/kubelet.conf",
                f"--node-ip={node.address}",
            ]
        case "kube-proxy":
            return [
                "/run/programs/kube-proxy",
                "--kubeconfig=/etc/kubernetes/kube-proxy.conf",
                "--proxy-mode=iptables",
                f"--cluster-cidr={NETWORK}",
                # A namespace has no say about the machine's table of connections.
                "--conntrack-max-per-core=0",
            ]
    raise Unavailable(f"no program {name!r} of a node: expected containerd, kubelet, kube-proxy")


def _pythons() -> list[str]:
    """Each Python that is in /usr/bin."""
    return sorted({str(each.resolve()) for each in Path("/usr/bin").glob("python3*")})


def _forked(process: LabProcess) -> int:
    """What unshare or nsenter has started in the box, by the number that it has out here.

    Raises Unavailable if it does not run.
    """
    pid = process.pid()
    children = Path(f"/proc/{pid}/task/{pid}/children")
    found = children.read_text().split() if pid is not None and children.exists() else []
    if not found:
        raise Unavailable(f"{process.name} of {process.directory} does not run")
    return int(found[0])


def _kubelet(place: Place, node: LabNode) -> dict[str, Any]:
    """Its configuration, with what a node that is no machine of its own needs."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": "/etc/kubernetes/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": place.cgroup(node),
        "clusterDNS": [CLUSTER_DNS],
        "clusterDomain": DOMAIN,
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "enforceNodeAllocatable": [],
        # The machine's disk and memory are others' too, and no image that is gone can be had again.
        "evictionHard": {"memory.available": "0%", "nodefs.available": "0%"},
        "imageGCHighThresholdPercent": 100,
        "failCgroupV1": False,
        "failSwapOn": False,
        "localStorageCapacityIsolation": False,
        "makeIPTablesUtilChains": False,
        "resolvConf": "",
        "volumePluginDir": "/var/lib/kubelet/plugins-of-volumes",
    }
