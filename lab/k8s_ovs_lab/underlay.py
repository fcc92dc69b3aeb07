"""The lab's wires: a switch that joins the nodes, a router, and a host beyond the cluster.

    outside ── 203.0.113.0/24 ── fabric (router, switch) ── 192.168.0.0/24 ── node1, node2, ...

The outside host knows the way to the nodes and none to the pods: what a pod sends there is
answered only if the node has put its own address on it.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterable, Sequence
from pathlib import Path

from k8s_ovs.errors import K8sOvsError
from k8s_ovs.link.ethtool import disable_tx_checksums
from k8s_ovs_lab.command import NETNS, inside, run
from k8s_ovs_lab.layout import OUTSIDE, OUTSIDE_ROUTER, ROUTER, LabNode, Layout
from k8s_ovs_lab.process import end_processes
from k8s_ovs_testing.ovs import OvsProcess

__all__ = [
    "add_namespace",
    "address_node",
    "bridge_node",
    "fabric_commands",
    "namespaces",
    "outside_commands",
    "remove_namespaces",
    "wire",
    "wire_one",
]

SWITCH = "sw0"
OUTSIDE_PORT = "outside"


def fabric_commands(layout: Layout, nodes: Sequence[LabNode]) -> str:
    """What `ip -batch` does in the fabric's namespace: switch, router, a cable to each host."""
    lines = [
        "link set lo up",
        f"link add {SWITCH} type bridge stp_state 0",
        f"addr add {ROUTER} dev {SWITCH}",
        f"link set {SWITCH} up",
        f"link add {OUTSIDE_PORT} type veth peer name eth0 netns {layout.outside}",
        f"addr add {OUTSIDE_ROUTER} dev {OUTSIDE_PORT}",
        f"link set {OUTSIDE_PORT} up",
    ]
    return "\n".join([*lines, *(line for node in nodes for line in _cable(node))])


def outside_commands() -> str:
    """What `ip -batch` does in the outside host's namespace."""
    return "\n".join(
        (
            "link set lo up",
            f"addr add {OUTSIDE} dev eth0",
            "link set eth0 up",
            f"route add {ROUTER.network} via {OUTSIDE_ROUTER.ip}",
        )
    )


def wire(layout: Layout, nodes: Sequence[LabNode]) -> None:
    """Make all namespaces and the cables between them; nodes have no address yet."""
    for netns in (layout.fabric, layout.outside, *(node.netns for node in nodes)):
        add_namespace(netns)
    _ip(layout.fabric, fabric_commands(layout, nodes))
    _ip(layout.outside, outside_commands())
    # As a file, because sysctl(8) is not on every machine.
    run(["tee", "/proc/sys/net/ipv4/ip_forward"], netns=layout.fabric, text="1\n")
    for node in nodes:
        _ip(node.netns, "link set lo up\nlink set eth0 up")


def wire_one(layout: Layout, node: LabNode) -> None:
    """Make one more namespace and its cable to the switch; it has no address yet."""
    add_namespace(node.netns)
    _ip(layout.fabric, "\n".join(_cable(node)))
    _ip(node.netns, "link set lo up\nlink set eth0 up")


def address_node(node: LabNode, device: str) -> None:
    """Give a node its address on the device that holds it, and the way out."""
    width = ROUTER.network.prefixlen
    _ip(
        node.netns,
        f"link set {device} up\n"
        f"addr replace {node.address}/{width} dev {device}\n"
        f"route replace default via {ROUTER.ip} dev {device}",
    )


def bridge_node(layout: Layout, node: LabNode, ovs: OvsProcess) -> None:
    """Put a node's cable into a bridge of its userspace Open vSwitch, and its address there.

    Tunnels of the userspace datapath leave only through a bridge that has the node's address.
    Checksums are completed by who sends: what OVS reads from a device is sent on as it is.
    """
    ovs.vsctl(
        *("--may-exist", "add-br", "br-phy", "--"),
        *("set", "bridge", "br-phy", "datapath_type=netdev", "fail_mode=standalone", "--"),
        *("--may-exist", "add-port", "br-phy", "eth0"),
    )
    address_node(node, "br-phy")
    for netns, device in (
        (layout.fabric, node.name),
        (node.netns, "eth0"),
        (node.netns, "br-phy"),
    ):
        with inside(netns), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
            disable_tx_checksums(channel, device)


def add_namespace(netns: str) -> None:
    """Make a network namespace. Raises K8sOvsError if there is one of this name."""
    if (NETNS / netns).exists():
        raise K8sOvsError(
            f"network namespace {netns} is there already, and no lab of this name made it; "
            f"remove it (ip netns delete {netns}) or choose another --name"
        )
    run(["ip", "netns", "add", netns])


def namespaces(layout: Layout) -> list[str]:
    """The lab's network namespaces that exist, pods' before nodes'."""
    found = (path.name for path in NETNS.iterdir()) if NETNS.exists() else iter(())
    return sorted((name for name in found if layout.owns(name)), key=len, reverse=True)


def remove_namespaces(names: Iterable[str]) -> None:
    """End what still runs in the namespaces, then remove them and so all that was in them."""
    gone = list(names)
    end_processes(_inhabitants(gone), 3.0)
    for name in gone:
        run(["ip", "netns", "delete", name], check=(NETNS / name).exists())


def _cable(node: LabNode) -> list[str]:
    """What `ip -batch` does in the fabric's namespace: a cable from the switch to a node."""
    return [
        f"link add {node.name} type veth peer name eth0 netns {node.netns}",
        f"link set {node.name} addrgenmode none",
        f"link set {node.name} master {SWITCH} up",
    ]


def _inhabitants(names: Iterable[str]) -> list[int]:
    """Processes that live in these namespaces, never any of the caller's own namespace."""
    places = {(NETNS / name).stat().st_ino for name in names if (NETNS / name).exists()}
    places.discard(Path("/proc/self/ns/net").stat().st_ino)
    found = []
    for path in Path("/proc").glob("[0-9]*/ns/net"):
        pid = int(path.parts[2])
        try:
            # The link's text, since another user's namespace cannot be opened: net:[4026531840].
            inode = int(re.sub(r"\D", "", os.readlink(path)))
        except (OSError, ValueError):
            continue
        if inode in places and pid != os.getpid():
            found.append(pid)
    return found


def _ip(netns: str, commands: str) -> None:
    run(["ip", "-batch", "-"], netns=netns, text=commands + "\n")
