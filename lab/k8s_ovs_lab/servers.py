"""The programs that a lab runs: etcd, the API server, and on each node Open vSwitch and the daemon.

Each `start_...` does nothing for what runs already, and returns when it serves.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from attrs import frozen

from k8s_ovs.errors import Unavailable
from k8s_ovs_lab.command import run
from k8s_ovs_lab.kube.apiserver import ApiServer
from k8s_ovs_lab.kube.objects import Objects
from k8s_ovs_lab.layout import ETCD_PREFIX, ROUTER, LabNode, Layout
from k8s_ovs_lab.process import LabProcess, end_processes
from k8s_ovs_testing.ovs import OvsProcess
from k8s_ovs_testing.servers.etcd import EtcdProcess

__all__ = [
    "Part",
    "daemon",
    "environment",
    "etcdctl",
    "objects",
    "part",
    "restart_vswitchd",
    "start_apiserver",
    "start_daemon",
    "start_etcd",
    "start_ovs",
    "stop_ovs",
    "stop_servers",
    "store_config",
]

_CONFIG_KEY = f"{ETCD_PREFIX}/config"
#: Of a host that is to know no API server, whatever the caller has in its environment.
_NO_API_SERVER = dict.fromkeys(("KUBECONFIG", "KUBERNETES_MASTER", "KUBERNETES_SERVICE_HOST"), "")


class Part(Protocol):
    """A program of the lab, as tests and people treat it roughly."""

    def running(self) -> bool:
        """Whether it is alive."""

    def pause(self) -> None:
        """Let it hang: it exists and does not answer, until `resume`."""

    def resume(self) -> None:
        """Let it go on."""

    def kill(self) -> None:
        """Let it die as in a crash."""


@frozen
class _Etcd:
    directory: Path

    def running(self) -> bool:
        return EtcdProcess.running_pid(self.directory) is not None

    def pause(self) -> None:
        self._send(signal.SIGSTOP)

    def resume(self) -> None:
        self._send(signal.SIGCONT)

    def kill(self) -> None:
        end_processes([self._pid()], 0)

    def _send(self, number: signal.Signals) -> None:
        os.kill(self._pid(), number)

    def _pid(self) -> int:
        pid = EtcdProcess.running_pid(self.directory)
        if pid is None:
            raise Unavailable(f"etcd of {self.directory} is not running")
        return pid


def part(layout: Layout, name: str) -> Part:
    """A program of the lab by name: `etcd`, `apiserver`, `NODE/daemon` or `NODE/ovs`.

    NODE may be an external host too. Raises Unavailable for another name.
    """
    node, _, what = name.partition("/")
    if name == "etcd":
        return _Etcd(_etcd_directory(layout))
    if name == "apiserver":
        return _api(layout)
    host = layout.directory / f"host-{node}"
    directory = host if host.exists() else layout.directory / node
    if what == "daemon":
        return LabProcess(directory, "daemon")
    if what == "ovs":
        return OvsProcess(directory / "ovs", f"{layout.name}-{directory.name}")
    raise Unavailable(f"no part {name!r}: expected etcd, apiserver, NODE/daemon or NODE/ovs")


def start_ovs(node: LabNode) -> OvsProcess:
    """Open vSwitch of a node."""
    ovs = OvsProcess(node.ovs_directory, node.netns)
    if not (ovs.running("ovsdb-server") and ovs.running("ovs-vswitchd")):
        ovs.stop()
        ovs = OvsProcess.start(node.ovs_directory, node.netns)
        _name_control_socket(node)
    return ovs


def stop_ovs(node: LabNode) -> None:
    """End Open vSwitch of a node, and what it made in the kernel; its database stays."""
    OvsProcess(node.ovs_directory, node.netns).stop()


def restart_vswitchd(node: LabNode) -> None:
    """Restart a node's ovs-vswitchd: flows are gone, ports and settings are not."""
    OvsProcess(node.ovs_directory, node.netns).restart_vswitchd()
    _name_control_socket(node)


def environment(layout: Layout, node: LabNode | None) -> dict[str, str]:
    """What the usual tools need to find the lab's programs without options.

    node: whose Open vSwitch and daemon, None for none.
    """
    program = Path(sys.executable).parent
    found = {
        "PATH": f"{os.environ.get('PATH', os.defpath)}:{program}",
        "KUBECONFIG": str(_api(layout).kubeconfig),
        "ETCDCTL_API": "3",
        "ETCDCTL_ENDPOINTS": layout.etcd_url,
        "K8S_OVS_ETCD_ENDPOINTS": layout.etcd_url,
    }
    if node is None:
        return found
    own = {
        "OVS_RUNDIR": str(node.ovs_directory),
        "K8S_OVS_CNI_SOCKET": str(node.cni_socket),
        "K8S_OVS_CNI_BIN_DIR": str(node.cni_program.parent),
        "K8S_OVS_CNI_CONF_DIR": str(node.cni_config.parent),
    }
    return {**found, **own, **(_NO_API_SERVER if node.external else {})}


def start_etcd(layout: Layout) -> None:
    """etcd in the fabric, for all nodes."""
    directory = _etcd_directory(layout)
    if EtcdProcess.running_pid(directory) is None:
        EtcdProcess(directory, host=str(ROUTER.ip), netns=layout.fabric, detached=True).start(60)


def etcdctl(layout: Layout, *words: str) -> str:
    """What `etcdctl WORDS` prints. Raises K8sOvsError with its complaint when it fails."""
    done = run(
        ["etcdctl", *words],
        netns=layout.fabric,
        # etcdctl refuses to be told both by flag and by a variable that the user may have set.
        environment={"ETCDCTL_API": "3", "ETCDCTL_ENDPOINTS": layout.etcd_url},
    )
    return done.stdout


def store_config(layout: Layout, config: Mapping[str, Any]) -> None:
    """Put the network's configuration where the daemons look, unless there is one already."""
    if not etcdctl(layout, "get", "--print-value-only", _CONFIG_KEY).strip():
        etcdctl(layout, "put", _CONFIG_KEY, json.dumps(config, separators=(",", ":")))


def start_apiserver(layout: Layout, service_range: str) -> None:
    """The API server in the fabric, for all nodes. service_range: CIDR of services' addresses."""
    if not _api(layout).running():
        ApiServer.start(
            _api_directory(layout),
            str(ROUTER.ip),
            layout.fabric,
            layout.etcd_url,
            service_range=service_range,
        )


def objects(layout: Layout) -> Objects:
    """The API server's objects. Raises InvalidRecord if no server was started."""
    return Objects.reach(layout.fabric, str(_api(layout).kubeconfig))


def daemon(node: LabNode) -> LabProcess:
    """The daemon of a node, running or not."""
    return LabProcess(node.directory, "daemon")


def start_daemon(layout: Layout, node: LabNode, datapath: str, flags: Sequence[str] = ()) -> None:
    """Start the program that users run on each node. flags: more than a lab's node needs."""
    kube = _NO_API_SERVER if node.external else {"KUBECONFIG": str(_api(layout).kubeconfig)}
    daemon(node).start(
        [
            *(sys.executable, "-m", "k8s_ovs.cli.main", "node"),
            f"--etcd-endpoints={layout.etcd_url}",
            f"--etcd-prefix={ETCD_PREFIX}",
            f"--hostname={node.name}",
            f"--datapath={datapath}",
            f"--cni-socket={node.cni_socket}",
            f"--ovs-run-dir={node.ovs_directory}",
            *flags,
        ],
        netns=node.netns,
        environment={**kube, "PYTHONUNBUFFERED": "1"},
    )


def stop_servers(layout: Layout) -> None:
    """End every program of the lab, the daemons first: nothing happens for those that ended."""
    nodes = [*layout.directory.glob("node*"), *layout.directory.glob("host-*")]
    for directory in nodes:
        LabProcess(directory, "daemon").stop()
    _api(layout).stop()
    EtcdProcess.stop_recorded(_etcd_directory(layout))
    for directory in nodes:
        if (directory / "ovs").exists():
            OvsProcess(directory / "ovs", f"{layout.name}-{directory.name}").stop()


def _name_control_socket(node: LabNode) -> None:
    """Let ovs-appctl find ovs-vswitchd: it looks for a socket with the process's number."""
    number = (node.ovs_directory / "ovs-vswitchd.pid").read_text().strip()
    for old in node.ovs_directory.glob("ovs-vswitchd.[0-9]*.ctl"):
        old.unlink()
    (node.ovs_directory / f"ovs-vswitchd.{number}.ctl").symlink_to("ovs-vswitchd.ctl")


def _etcd_directory(layout: Layout) -> Path:
    return layout.directory / "etcd"


def _api_directory(layout: Layout) -> Path:
    return layout.directory / "apiserver"


def _api(layout: Layout) -> ApiServer:
    return ApiServer(_api_directory(layout))
