"""This node as its own parts tell it: the daemon's status file, Open vSwitch, its flows wanted."""

from __future__ import annotations

import socket
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from attrs import frozen

from k8s_ovs.cli.cluster.snapshot import ClusterSnapshot
from k8s_ovs.errors import K8sOvsError, Unavailable
from k8s_ovs.link.host_addresses import local_addresses
from k8s_ovs.link.nftables import etcd_sockets
from k8s_ovs.model.node import LocalNode
from k8s_ovs.model.world import CONFIG, LOCAL_NODE, PODS, SUBNETS, Slot
from k8s_ovs.node.cni.listener import is_held, listening_process
from k8s_ovs.node.host.desired import (
    host_values,
    nft_values,
    pod_values,
    rate_values,
    switch_values,
)
from k8s_ovs.node.host.etcd_addresses import EtcdAddresses
from k8s_ovs.node.own_subnet import find_own_subnet, local_node_of, pod_mtu
from k8s_ovs.node.switch import (
    BRIDGE,
    NODE_OFPORT,
    NODE_PORT,
    TUNNEL_OFPORT,
    TUNNEL_PORT,
    Switch,
)
from k8s_ovs.node.tell.read_status import read_status
from k8s_ovs.ovs.datapath import Datapath
from k8s_ovs.ovs.ovsdb.state import Bridge
from k8s_ovs.reconcile.reconciler import Reconciler
from k8s_ovs.state.value import Value

__all__ = [
    "DaemonStatus",
    "connected_switch",
    "daemon_status",
    "desired_flows",
    "desired_state",
    "hostname_of",
    "own_bridge",
    "running_daemon",
]

#: Seconds that any one call to Open vSwitch may take.
_TIMEOUT = 2.0


@frozen
class DaemonStatus:
    """What the daemon last wrote of itself, and whether it is still there.

    status: as node/tell/read_status.py reads it; empty: nothing was ever written. listening: the
    process at its socket, None: there is none.
    """

    status: Mapping[str, Any]
    listening: int | None

    @property
    def running(self) -> bool:
        """Whether the status is that of a daemon that runs."""
        return self.listening is not None and self.listening == self.status.get("pid")

    @property
    def ready(self) -> bool:
        return self.running and bool(self.status.get("ready"))

    @property
    def trouble(self) -> str:
        """Why the network is not ready on this node; empty: it is."""
        if self.running:
            return str(self.status.get("waiting_for", ""))
        if self.listening is not None:
            return f"the daemon (process {self.listening}) has not written its status yet"
        pid = self.status.get("pid")
        last = f"; the last one was process {pid}" if pid else ""
        return f"the daemon is not running{last}"


def daemon_status(cni_socket: Path) -> DaemonStatus:
    """Read the status file beside the socket. Raises K8sOvsError where that is not allowed."""
    path = cni_socket.parent / "status.json"
    try:
        status = read_status(path)
    except PermissionError as error:
        raise K8sOvsError(f"{path}: {error.strerror}: run this command as root") from error
    except OSError as error:
        raise K8sOvsError(f"{path}: {error.strerror}") from error
    return DaemonStatus(status, _serving_process(cni_socket))


def running_daemon(cni_socket: Path) -> int | None:
    """The daemon that serves the CNI, or will again when it has put its socket right; 0: which
    process it is cannot be seen; None: there is none. Raises K8sOvsError."""
    try:
        pid = listening_process(cni_socket)
        return 0 if pid is None and is_held(cni_socket) else pid
    except OSError as error:
        raise _not_asked(cni_socket, error) from error


def _serving_process(cni_socket: Path) -> int | None:
    try:
        return listening_process(cni_socket)
    except OSError as error:
        raise _not_asked(cni_socket, error) from error


def _not_asked(cni_socket: Path, error: OSError) -> K8sOvsError:
    if isinstance(error, PermissionError):
        return K8sOvsError(f"socket {cni_socket}: {error.strerror}: run this command as root")
    return K8sOvsError(f"socket {cni_socket} cannot be asked: {error.strerror or error}")


def hostname_of(daemon: DaemonStatus) -> str:
    """The node's name as the daemon has it, else the machine's."""
    return str(daemon.status.get("node") or socket.gethostname().lower())


@contextmanager
def connected_switch(ovs_run_dir: Path) -> Iterator[Switch]:
    """Open vSwitch's database. Raises Unavailable."""
    switch = Switch(ovs_run_dir, timeout=_TIMEOUT)
    try:
        switch.connect()
        yield switch
    finally:
        switch.ovsdb.close()


def own_bridge(switch: Switch) -> Bridge:
    """br0. Raises Unavailable where it is not there."""
    bridge = switch.ovsdb.bridge(BRIDGE)
    if bridge is None:
        raise Unavailable(f"{BRIDGE} is not there: the daemon makes it when it has a subnet")
    return bridge


def own_local_node(
    snapshot: ClusterSnapshot, bridge: Bridge, hostname: str, meters: int
) -> LocalNode:
    """This node as it should be, from its record and its ports.

    meters: how many br0 can have. Raises NoSubnet, LinkError.
    """
    slots = snapshot.world.of(SUBNETS)
    own = find_own_subnet(slots, local_addresses(), hostname)
    tunnel, node = bridge.ports.get(TUNNEL_PORT), bridge.ports.get(NODE_PORT)
    mtu = pod_mtu(snapshot.needed_config(), own)
    # A port that is missing is asked for with its usual number.
    tunnel_ofport = tunnel.ofport if tunnel and tunnel.ofport else TUNNEL_OFPORT
    node_ofport = node.ofport if node and node.ofport else NODE_OFPORT
    return local_node_of(own, mtu, tunnel_ofport, node_ofport, meters)


def desired_flows(snapshot: ClusterSnapshot, switch: Switch, hostname: str) -> Reconciler:
    """The flows that this node desires, computed with the daemon's own code.

    Raises InvalidRecord where there is no configuration or daemons reject it: what they have then,
    etcd does not say. And what `own_local_node` raises.
    """
    config = snapshot.followed_config()
    bridge = own_bridge(switch)
    local_node = own_local_node(snapshot, bridge, hostname, switch.most_meters())
    pods = {(PODS, port): Slot(pod) for port, pod in switch.pods().items()}
    own = {(CONFIG, ""): Slot(config), (LOCAL_NODE, ""): Slot(local_node)}
    reconciler = Reconciler(snapshot.manager, snapshot.world.changed({**own, **pods}))
    reconciler.compute()
    return reconciler


def desired_state(
    snapshot: ClusterSnapshot,
    switch: Switch,
    hostname: str,
    local_node: LocalNode,
    datapath: Datapath,
    *,
    daemon: DaemonStatus | None = None,
) -> list[Value]:
    """What this node should have beside its flows. Raises K8sOvsError where it cannot be known.

    daemon: it may know etcd by other endpoints than this command."""
    config, pipeline = snapshot.followed_config(), snapshot.manager.pipeline
    addresses = local_addresses()
    own = find_own_subnet(snapshot.world.of(SUBNETS), addresses, hostname)
    etcd = etcd_sockets(_etcd(snapshot, daemon), addresses)
    pods = switch.pods().values()
    return [
        *switch_values(own, config, local_node.mtu, pipeline, datapath),
        *pod_values(pods),
        *rate_values(pods, datapath),
        *host_values(local_node, config, datapath),
        *nft_values(local_node, config, etcd),
    ]


def _etcd(
    snapshot: ClusterSnapshot, daemon: DaemonStatus | None
) -> Collection[tuple[IPv4Address, int]]:
    """Where etcd is, as the daemon has it, else as this command has."""
    if daemon is not None and (told := daemon.status.get("etcd")):
        pairs = (text.rpartition(":") for text in told)
        return [(IPv4Address(address), int(port)) for address, _, port in pairs]
    addresses = EtcdAddresses(snapshot.endpoints)
    addresses.start()
    addresses.stop()
    return addresses.now()
