"""A host with nothing on it, no Python and no C library: the CNI program does its work."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from k8s_ovs.node.install.cni_config import BINARY, Style, cni_config
from k8s_ovs.node.install.cni_program import Python, program
from k8s_ovs_lab import cni
from k8s_ovs_lab.lab_net import LabNet
from k8s_ovs_lab.layout import LabNode
from k8s_ovs_lab.state import LabPod
from k8s_ovs_lab.underlay import remove_namespaces

SOCKET = Path("/cni.sock")
# The host's whole root is $1, and the daemon's socket $2 is in it.
ENTER = f'mount --bind "$2" "$1{SOCKET}" && exec chroot "$1" /opt/cni/bin/{BINARY}'
LIMIT_S = 60


class BareHost:
    """A root that holds the CNI program and the daemon's socket, and nothing else."""

    def __init__(self, root: Path, node: LabNode, content: bytes) -> None:
        self._root, self._socket = root, node.cni_socket
        installed = root / "opt" / "cni" / "bin" / BINARY
        installed.parent.mkdir(parents=True)
        installed.write_bytes(content)
        installed.chmod(0o755)
        (root / SOCKET.name).touch()

    def call(self, command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Start the program there as a runtime does."""
        enter = ["unshare", "--mount", "sh", "-c", ENTER, "sh", str(self._root), str(self._socket)]
        return subprocess.run(
            enter,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "CNI_COMMAND": command, **environment},
            input=json.dumps(cni_config(Style.CONF, "1.1.0", SOCKET)),
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )


@pytest.fixture
def pod(world: LabNet) -> Iterator[LabPod]:
    """A pod of node1 that waits for its network."""
    made = world.bare_pod("node1", "bare")
    yield made
    remove_namespaces([made.netns])


def ports(world: LabNet) -> str:
    """What node1's switch knows of its ports."""
    return world.lab.exec("node1", ["ovs-vsctl", "list", "Interface"]).stdout


def test_a_script_cannot_be_started_there(world: LabNet, tmp_path: Path) -> None:
    host = BareHost(tmp_path, world.lab.node("node1"), program(Python.SYSTEM))
    failed = host.call("VERSION")
    assert failed.returncode == 127
    assert "No such file or directory" in failed.stderr


def test_the_standalone_program_attaches_and_detaches_a_pod(
    world: LabNet, pod: LabPod, tmp_path: Path, standalone_program: Path
) -> None:
    host = BareHost(tmp_path, world.lab.node("node1"), standalone_program.read_bytes())
    environment = cni.pod_environment(pod.container, pod.netns, pod.namespace, pod.name, pod.uid)
    spoken = host.call("VERSION")
    assert "1.1.0" in json.loads(spoken.stdout)["supportedVersions"]
    assert host.call("STATUS").returncode == 0

    added = host.call("ADD", **environment)
    assert added.returncode == 0, added.stdout
    assert pod.container in ports(world)
    address = json.loads(added.stdout)["ips"][0]["address"].partition("/")[0]
    world.lab.exec("c", ["ping", "-c", "5", "-i", "0.2", "-W", "1", "-q", address])

    removed = host.call("DEL", **environment)
    assert (removed.returncode, removed.stdout, removed.stderr) == (0, "", "")
    assert pod.container not in ports(world)
