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
from k8s_ovs.lab.command import run
from k8s_ovs.lab.layout import LabNode
from k8s_ovs.lab.process import LabProcess, await_that

__all__ = [
    "PLUGINS",
    "WITHOUT_PYTHON",
    "WITH_PORTMAP",
    "box",
    "import_image",
    "in_box",
    "open_box",
    "start_node",
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


def open_box(node: LabNode, programs: Path) -> None:
    """Make the node's own mounts, process numbers and host name; its network is there already."""
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
    process = box(node)
    alone = ["unshare", "--mount", "--pid", "--uts", "--fork", "--kill-child"]
    hidden = _pythons() if node.name == WITHOUT_PYTHON else []
    process.start(
        [*alone, str(BOX), node.name, str(root), str(programs), *hidden], netns=node.netns
    )
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
    first = _first_process(node)
    return ["nsenter", f"--target={first}", "--net", "--mount", "--pid", "--uts", "--", *argv]


def start_node(place: Place, node: LabNode, authority: Authority, pause: str) -> None:
    """Start containerd, kubelet and kube-proxy; Open vSwitch runs. pause: the sandboxes' image.

    Returns when containerd answers. Raises K8sOvsError with the end of its log if it does not.
    """
    make_cgroups(place.cgroup(node))
    _configure(place, node, authority, pause)
    containerd = _start(node, "containerd")
    await_that(
        f"containerd of {node.name}",
        lambda: run(in_box(node, ["ctr", "version"]), check=False).returncode == 0,
        READY_WITHIN_S,
        containerd.log,
        containerd,
    )
    _start(
        node,
        "/run/programs/kubelet",
        "--config=/etc/kubernetes/kubelet.json",
        "--kubeconfig=/etc/kubernetes/kubelet.conf",
        f"--node-ip={node.address}",
    )
    _start(
        node,
        "/run/programs/kube-proxy",
        "--kubeconfig=/etc/kubernetes/kube-proxy.conf",
        "--proxy-mode=iptables",
        f"--cluster-cidr={NETWORK}",
        # A namespace has no say about the machine's table of connections.
        "--conntrack-max-per-core=0",
    )


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


def _configure(place: Place, node: LabNode, authority: Authority, pause: str) -> None:
    """The files that the node's programs read."""
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


def _start(node: LabNode, *command: str) -> LabProcess:
    process = LabProcess(node.directory, Path(command[0]).name)
    process.start(in_box(node, command))
    return process


def _pythons() -> list[str]:
    """Each Python that is in /usr/bin."""
    return sorted({str(each.resolve()) for each in Path("/usr/bin").glob("python3*")})


def _first_process(node: LabNode) -> int:
    """The box's process 1, by the number that it has out here."""
    pid = box(node).pid()
    children = Path(f"/proc/{pid}/task/{pid}/children")
    found = children.read_text().split() if pid is not None and children.exists() else []
    if not found:
        raise Unavailable(f"the box of {node.name} is not open")
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
