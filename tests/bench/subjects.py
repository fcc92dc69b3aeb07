"""What is measured: k8s-ovs on a node of the lab, and Debian's CNI program bridge on a bare one.

Both are started in the same way in a network namespace that plays the node.
"""

from __future__ import annotations

import json
import resource
import socket
from collections.abc import Sequence
from pathlib import Path

from attrs import frozen
from calls import Call
from machine import processor

from k8s_ovs.errors import Unavailable
from k8s_ovs_lab import Lab, servers
from k8s_ovs_lab import cni as lab_cni
from k8s_ovs_lab.command import NETNS, inside, run
from k8s_ovs_lab.process import await_that

__all__ = [
    "Subject",
    "add_namespaces",
    "bridge",
    "devices",
    "k8s_ovs",
    "remove_namespaces",
    "settle",
]

_PEERS = Path("/usr/lib/cni")
_BRIDGE_CONFIG = {
    "cniVersion": "1.0.0",
    "name": "peer",
    "type": "bridge",
    "bridge": "cni0",
    "isDefaultGateway": True,
    "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.244.0.0/16"}]]},
}


@frozen
class Subject:
    """A CNI program on a node of its own. pods: the pods' namespaces, which are made beforehand.
    programs: files with the numbers of the processes that work for it."""

    title: str
    program: Path
    netns: str
    config: Path
    pods: tuple[str, ...]
    programs: tuple[Path, ...] = ()

    def processor(self) -> float:
        """Seconds of processor that these have used, and CNI programs until now."""
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        pids = (int(path.read_text().split()[0]) for path in self.programs)
        return ended.ru_utime + ended.ru_stime + sum(map(processor, pids))

    def call(self, command: str, number: int, turn: int = 0) -> Call:
        """The call that a runtime makes for a pod, by its number. turn: how often it came before;
        each time its sandbox is another one."""
        pod = self.pods[number]
        container = f"{turn:032x}{number:032x}"
        environment = {
            "CNI_COMMAND": command,
            "CNI_PATH": f"{_PEERS}",
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            **lab_cni.pod_environment(container, pod, "default", pod, uid=""),
        }
        return Call(self.program, self.netns, environment, self.config)


def k8s_ovs(lab: Lab, program: Path, pods: Sequence[str]) -> Subject:
    """The lab's first node, with an API server that knows the pods, so that no ADD waits for that.
    program: what runtimes start."""
    node = lab.nodes[0]
    for pod in pods:
        servers.objects(lab.layout).create_pod(node, "default", pod, {}, {})
    programs = (
        node.directory / "daemon.pid",
        *(node.ovs_directory / f"{name}.pid" for name in ("ovs-vswitchd", "ovsdb-server")),
    )
    return Subject("k8s-ovs", program, node.netns, node.cni_config, tuple(pods), programs)


def bridge(netns: str, directory: Path, pods: Sequence[str]) -> Subject:
    """bridge + host-local in `netns`, with its state in `directory`."""
    program = _PEERS / "bridge"
    if not program.exists():
        raise Unavailable(f"{program} is missing: install containernetworking-plugins")
    config = _BRIDGE_CONFIG | {"ipam": _BRIDGE_CONFIG["ipam"] | {"dataDir": str(directory)}}
    path = directory / "bridge.conf"
    path.write_text(json.dumps(config))
    run(["ip", "link", "set", "lo", "up"], netns=netns)
    return Subject("bridge", program, netns, path, tuple(pods))


def add_namespaces(names: Sequence[str]) -> None:
    """Make network namespaces."""
    batch = "\n".join(f"netns add {name}" for name in names)
    run(["ip", "-batch", "-"], text=batch + "\n", timeout=60)


def remove_namespaces(names: Sequence[str]) -> None:
    """Remove those of the namespaces that are there, with all that is in them."""
    there = [name for name in names if (NETNS / name).exists()]
    batch = "\n".join(f"netns delete {name}" for name in there)
    if there:
        run(["ip", "-batch", "-"], text=batch + "\n", timeout=60)


def devices(subject: Subject) -> int:
    """How many devices its node has."""
    with inside(subject.netns):
        return len(socket.if_nameindex())


def settle(subject: Subject, count: int) -> None:
    """Wait until the node has so many devices: k8s-ovs answers DEL first and deletes after."""
    await_that(f"{count} devices in {subject.netns}", lambda: devices(subject) <= count, 30)
