"""How does the cluster come up, and go away without a trace?"""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from tests.cluster.binaries import kubernetes
from tests.cluster.cgroups import remove_cgroups
from tests.cluster.control_plane import kubectl, start_control_plane
from tests.cluster.credentials import Authority
from tests.cluster.images import COREDNS_IMAGE, PAUSE, all_images
from tests.cluster.node import (
    box,
    configure,
    import_image,
    in_box,
    make_disk,
    open_box,
    start_node,
)
from tests.cluster.place import CLUSTER_DNS, DOMAIN, Place
from tests.cluster.progress import progress
from tests.kernel.host import need

from k8s_ovs.errors import K8sOvsError
from k8s_ovs.link.kernel_datapath import kernel_has_datapath
from k8s_ovs.ovs.datapath import choose_datapath
from k8s_ovs_lab.command import run
from k8s_ovs_lab.layout import LabNode
from k8s_ovs_lab.process import await_that
from k8s_ovs_lab.servers import start_ovs
from k8s_ovs_lab.state import locked
from k8s_ovs_lab.underlay import (
    address_node,
    bridge_node,
    namespaces,
    remove_namespaces,
    wire,
    wire_one,
)
from k8s_ovs_testing.ovs import OvsProcess
from k8s_ovs_testing.servers.etcd import EtcdProcess

__all__ = ["datapath_here", "nodes_up", "reboot", "tear_down", "up"]

REGISTERED_WITHIN_S = 90.0
DNS_MANIFEST = Path(__file__).with_name("coredns.yaml")
# SWITCH_OFFERS: what Debian's ovs-vswitchd is built with; it is not running yet.
SWITCH_OFFERS = ("system", "netdev")
# WHOLE: written when all is up; without it what is there is half a cluster.
WHOLE = "is-whole"
PROGRAMS = {
    "containerd": "containerd",
    "runc": "runc",
    "etcd": "etcd-server",
    "iptables": "iptables",
    "nsenter": "util-linux",
    "openssl": "openssl",
    "ovs-vswitchd": "openvswitch-switch",
}


def up(place: Place) -> None:
    """Bring the cluster up, without a network: nodes are not ready. What is whole stays.

    What an interrupted run left is removed first. Raises K8sOvsError with what failed, or if one
    of another size is up.
    """
    _check_machine()
    programs, images = kubernetes(), all_images()
    with locked(place.directory):
        there = nodes_up(place)
        if there == place.count:
            progress(f"{place.name} is up already")
            return
        if there:
            raise K8sOvsError(f"{place.name} is up with {there} nodes, asked for {place.count}")
        if any(place.directory.iterdir()) or namespaces(place.layout):
            progress("removing what an earlier run left")
            _remove(place)
        _bring_up(place, programs, images)
        (place.directory / WHOLE).write_text(f"{place.count}\n")


def datapath_here() -> str:
    """The datapath that nodes get on this machine: system (the kernel's) or netdev (userspace)."""
    return choose_datapath("auto", kernel_has_datapath(), SWITCH_OFFERS)


def nodes_up(place: Place) -> int:
    """How many nodes the whole cluster has that is there; 0: none is, or one of its nodes ended."""
    whole = place.directory / WHOLE
    count = int(whole.read_text()) if whole.exists() else 0
    return count if all(box(node).running() for node in place.layout.nodes(count)) else 0


def reboot(place: Place, node: LabNode) -> None:
    """Cut a node's power and switch it on again: what its disk has is there, and nothing else.

    Returns when its containerd answers. Raises K8sOvsError with what failed.
    """
    _power_off(place, node)
    wire_one(place.layout, node)
    _power_on(place, node, kubernetes())
    start_node(place, node)


def tear_down(place: Place) -> bool:
    """Remove the cluster, or what is left of one; False: there was nothing."""
    with locked(place.directory):
        found = any(place.directory.iterdir()) or bool(namespaces(place.layout))
        if found:
            _remove(place)
        place.directory.rmdir()
    return found


def _bring_up(place: Place, programs: Path, images: dict[str, Path]) -> None:
    progress(f"{place.count} nodes as namespaces, {datapath_here()} datapath")
    wire(place.layout, place.nodes)
    authority = Authority(place.directory / "certificates")
    authority.create()
    for node in place.nodes:
        make_disk(node)
        _power_on(place, node, programs)
    progress("etcd, API server, controllers, scheduler")
    start_control_plane(place, authority, programs)
    for node in place.nodes:
        progress(f"containerd, kubelet and kube-proxy of {node.name}")
        configure(place, node, authority, PAUSE)
        start_node(place, node)
    progress(f"images: {', '.join(images)}")
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda node: _import_all(node, images), place.nodes))
    progress("nodes, and DNS as a Deployment")
    manifest = DNS_MANIFEST.read_text()
    for word, meaning in (("IMAGE", COREDNS_IMAGE), ("ADDRESS", CLUSTER_DNS), ("DOMAIN", DOMAIN)):
        manifest = manifest.replace(f"${word}", meaning)
    kubectl(place, "apply", "-f", "-", text=manifest)
    await_that("nodes, and a pod for DNS", lambda: _registered(place), REGISTERED_WITHIN_S)
    for node in place.nodes:
        await_that(f"services on {node.name}", partial(_has_services, node), REGISTERED_WITHIN_S)


def _has_services(node: LabNode) -> bool:
    """Whether kube-proxy has written its rules."""
    rules = in_box(node, ["iptables", "-t", "nat", "-S", "KUBE-SERVICES"])
    return run(rules, check=False).returncode == 0


def _power_off(place: Place, node: LabNode) -> None:
    """No program is asked to end: what a boot finds is what was on the disk at any moment.

    With its first process a box loses all others, and mounts.
    """
    box(node).kill()
    ovs = OvsProcess(node.ovs_directory, node.netns)
    for daemon in ("ovs-vswitchd", "ovsdb-server"):
        ovs.kill(daemon)
    remove_namespaces([node.netns])
    remove_cgroups(place.cgroup(node))
    # Not left to the end of the namespace: boxes that were opened since hold it, too.
    run(["ip", "link", "delete", node.name], netns=place.layout.fabric)


def _power_on(place: Place, node: LabNode, programs: Path) -> None:
    """The box, Open vSwitch, and the node's address; its cable and its disk are there."""
    open_box(node, programs)
    ovs = start_ovs(node)
    if datapath_here() == "netdev":
        bridge_node(place.layout, node, ovs)
    else:
        address_node(node, "eth0")


def _import_all(node: LabNode, images: dict[str, Path]) -> None:
    for archive in images.values():
        import_image(node, archive)


def _registered(place: Place) -> bool:
    nodes = kubectl(place, "get", "nodes", "-o", "name").split()
    pods = kubectl(place, "get", "pods", "-n", "kube-system", "-o", "name")
    return nodes == [f"node/{node.name}" for node in place.nodes] and "pod/coredns" in pods


def _remove(place: Place) -> None:
    """The nodes go first and at once: with its first process a box loses all others, and mounts."""
    for path in sorted(place.directory.glob("node*")):
        number = int(path.name.removeprefix("node"))
        node = place.layout.node(number)
        box(node).kill()
        OvsProcess(node.ovs_directory, node.netns).stop()
    EtcdProcess.stop_recorded(place.directory / "etcd")
    remove_namespaces(namespaces(place.layout))
    remove_cgroups(f"/k8s-ovs-{place.name}-node")
    for path in place.directory.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _check_machine() -> None:
    if os.geteuid() != 0:
        raise K8sOvsError(
            f"the cluster's nodes are namespaces: run as root, found uid {os.geteuid()}"
        )
    for program, package in PROGRAMS.items():
        need(program, package)
