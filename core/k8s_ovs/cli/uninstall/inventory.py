"""What has k8s-ovs installed on this host? What `k8s-ovs uninstall` judges and removes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from attrs import field, frozen

from k8s_ovs.cli.host.this_node import connected_switch
from k8s_ovs.errors import K8sOvsError
from k8s_ovs.link import nftables
from k8s_ovs.link.veth import host_links
from k8s_ovs.model.pod import Pod
from k8s_ovs.node.cni.listener import listening_process
from k8s_ovs.node.install.cni_config import SOCKET
from k8s_ovs.node.install.installer import installed
from k8s_ovs.node.switch import BRIDGE, NODE_PORT, TUNNEL_PORT
from k8s_ovs.ovs.ovsdb.state import Bridge
from k8s_ovs.pipeline.tables import CLASSIFY

__all__ = ["HostPaths", "Inventory", "OwnBridge", "bridge_of", "run_files", "take_inventory"]


@frozen
class HostPaths:
    """Where things are on this host."""

    bin_dir: Path
    conf_dir: Path
    cni_socket: Path
    ovs_run_dir: Path


@frozen
class OwnBridge:
    """br0 as a daemon made it. pods: `namespace/name` by port; others: ports by somebody else."""

    pods: Mapping[str, str] = field(factory=dict)
    others: tuple[str, ...] = ()


@frozen
class Inventory:
    """What is there.

    daemon: the process that serves the CNI. bridge, table (of nftables): an error if nobody could
    be asked. devices: pods' ends on the host, with or without a port. files: in the order of
    removal. run_dir: the daemon's directory if it contains nothing but the daemon's files. foreign:
    what has a name of ours and was made by somebody else.
    """

    daemon: int | None = None
    bridge: OwnBridge | K8sOvsError | None = None
    table: bool | K8sOvsError = False
    devices: frozenset[str] = frozenset()
    files: tuple[Path, ...] = ()
    run_dir: Path | None = None
    foreign: tuple[str, ...] = ()

    @property
    def unasked(self) -> dict[str, K8sOvsError]:
        """What may or may not exist, each with the reason why that is unknown."""
        both = {f"bridge {BRIDGE}": self.bridge, f"nftables table {nftables.TABLE}": self.table}
        return {what: found for what, found in both.items() if isinstance(found, K8sOvsError)}


def take_inventory(paths: HostPaths) -> Inventory:
    """Ask every part, each within its own time limit. Raises K8sOvsError."""
    cni = installed(paths.bin_dir, paths.conf_dir)
    own = [path for path, ours in cni.items() if ours]
    foreign = [str(path) for path, ours in cni.items() if not ours]
    bridge, is_foreign = _ask_switch(paths.ovs_run_dir)
    of_daemon, run_dir = run_files(paths.cni_socket)
    return Inventory(
        daemon=_ask_daemon(paths.cni_socket),
        bridge=bridge,
        table=_ask_nftables(),
        devices=frozenset(host_links()),
        files=(*own, *of_daemon),
        run_dir=run_dir,
        foreign=(*foreign, *([f"bridge {BRIDGE}"] if is_foreign else [])),
    )


def bridge_of(bridge: Bridge, pods: Mapping[str, Pod]) -> OwnBridge | None:
    """br0 and who has ports on it; None: no daemon made it, since daemons name its tables."""
    if CLASSIFY.name not in bridge.tables.values():
        return None
    known = {BRIDGE, TUNNEL_PORT, NODE_PORT, *pods}
    return OwnBridge(
        pods={port: pod.identity for port, pod in pods.items()},
        others=tuple(sorted(bridge.ports.keys() - known)),
    )


def run_files(cni_socket: Path) -> tuple[tuple[Path, ...], Path | None]:
    """What daemons have left beside their socket, and the directory if that is all that is in it.

    A directory where no daemon has been stays, unless it is the usual one.
    """
    directory = cni_socket.parent
    there = sorted(directory.iterdir()) if directory.is_dir() else []
    # Half-made ones of a daemon that was killed, too: see `cni_socket` and `status`.
    names = {cni_socket.name, "status.json", "status.new"}
    own = tuple(
        path for path in there if path.name in names or path.name.startswith(f".{cni_socket.name}.")
    )
    whole = directory.is_dir() and len(own) == len(there)
    return own, directory if whole and (own or cni_socket == SOCKET) else None


def _ask_daemon(cni_socket: Path) -> int | None:
    try:
        return listening_process(cni_socket)
    except OSError as error:
        raise K8sOvsError(
            f"socket {cni_socket} cannot be asked: {error.strerror or error}"
        ) from error


def _ask_switch(ovs_run_dir: Path) -> tuple[OwnBridge | K8sOvsError | None, bool]:
    """br0 if it is ours, and whether it is somebody else's."""
    try:
        with connected_switch(ovs_run_dir) as switch:
            found = switch.ovsdb.bridge(BRIDGE)
            own = bridge_of(found, switch.pods()) if found else None
    except K8sOvsError as error:
        return error, False
    return own, found is not None and own is None


def _ask_nftables() -> bool | K8sOvsError:
    try:
        return nftables.is_there()
    except K8sOvsError as error:
        return error
