"""Every part of a node, asked once: what `k8s-ovs doctor` judges."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from attrs import frozen

from k8s_ovs.cli.cluster.snapshot import (
    ClusterSnapshot,
    kube_from_environment,
    opened,
    read_snapshot,
)
from k8s_ovs.cli.doctor.etcd_access import EtcdAccess, ask_access
from k8s_ovs.cli.doctor.kube_proxy import ask_kube_proxy
from k8s_ovs.cli.host.status import SwitchStatus, switch_status
from k8s_ovs.cli.host.this_node import (
    DaemonStatus,
    connected_switch,
    daemon_status,
    desired_flows,
    desired_state,
    hostname_of,
)
from k8s_ovs.cli.options import EtcdLocation
from k8s_ovs.errors import K8sOvsError
from k8s_ovs.link.host_addresses import underlay_mtu
from k8s_ovs.link.kernel_datapath import kernel_has_datapath
from k8s_ovs.model.json_text import shown_json
from k8s_ovs.model.node import LocalNode
from k8s_ovs.model.world import LOCAL_NODE, World
from k8s_ovs.node.host.state import Look, host_state
from k8s_ovs.node.install.cni_config import BINARY, has_plugin, plugins_of
from k8s_ovs.node.install.cni_program import check_program
from k8s_ovs.observe.etcd.client import EtcdFull
from k8s_ovs.ovs.datapath import Datapath
from k8s_ovs.reconcile.desired_flows import Delta

__all__ = [
    "CniDirectories",
    "CniObservations",
    "NodeObservations",
    "Observations",
    "ask_cni",
    "observe",
]

T = TypeVar("T")

#: What container runtimes accept as a network's configuration.
_SUFFIXES = (".conf", ".conflist", ".json")


@frozen
class CniDirectories:
    """Where the container runtime looks."""

    bin_dir: Path
    conf_dir: Path


@frozen
class CniObservations:
    """What the container runtime reads.

    first: the configuration that it uses, the first by name; None: there is none. plugins: their
    types, in order. missing: those of them that it cannot start.
    """

    first: Path | None = None
    plugins: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


@frozen
class NodeObservations:
    """What can be asked once it is known what this node should be.

    world: with the local node's subnet. delta: missing and unexpected flows of the bridge. state:
    how all else differs from what it should be. underlay_mtu: of the device that has the node's
    address, bytes.
    """

    world: World
    local_node: LocalNode
    failures: list[str]
    delta: Delta | K8sOvsError
    state: Look | K8sOvsError
    underlay_mtu: int | K8sOvsError


@frozen
class Observations:
    """Each part's answer, or why there is none.

    in_kernel: this kernel has Open vSwitch's datapath. kube: where the API server is; empty: the
    environment names none. cni_program: what the runtime starts, in its own words. hostname: this
    node's name. full: that etcd refuses writes; None: it does not, as far as it says. access: who
    may write to etcd; None: it was not reached. kube_proxy: its configuration, as JSON; None: none
    runs here.
    """

    daemon: DaemonStatus | K8sOvsError
    switch: SwitchStatus
    in_kernel: bool | K8sOvsError
    kube: str | K8sOvsError
    snapshot: ClusterSnapshot | K8sOvsError
    node: NodeObservations | K8sOvsError
    cni: CniObservations | K8sOvsError
    cni_program: str | K8sOvsError
    hostname: str = ""
    full: EtcdFull | None = None
    access: EtcdAccess | None = None
    kube_proxy: Any = None


def observe(
    etcd: EtcdLocation, cni_socket: Path, ovs_run_dir: Path, cni: CniDirectories
) -> Observations:
    """Ask them all, each within its own time limit; none keeps the others from being asked."""
    daemon = _or_error(lambda: daemon_status(cni_socket))
    hostname = hostname_of(daemon if isinstance(daemon, DaemonStatus) else DaemonStatus({}, None))
    switch = switch_status(ovs_run_dir)
    kube = _or_error(_ask_kube)
    reached = isinstance(kube, str) and kube != ""
    snapshot = _or_error(
        lambda: read_snapshot(etcd, kube_from_environment() if reached else None, hostname)
    )
    node: NodeObservations | K8sOvsError
    if isinstance(snapshot, ClusterSnapshot):
        known = snapshot
        own = daemon if isinstance(daemon, DaemonStatus) else DaemonStatus({}, None)
        node = _or_error(lambda: _ask_node(known, switch, ovs_run_dir, hostname, own))
    else:
        node = snapshot
    return Observations(
        daemon=daemon,
        switch=switch,
        in_kernel=_or_error(kernel_has_datapath),
        kube=kube,
        snapshot=snapshot,
        node=node,
        cni=_or_error(lambda: ask_cni(cni)),
        cni_program=_or_error(lambda: check_program(cni.bin_dir / BINARY)),
        hostname=hostname,
        full=_full(etcd) if isinstance(snapshot, ClusterSnapshot) else None,
        access=ask_access(etcd, snapshot) if isinstance(snapshot, ClusterSnapshot) else None,
        kube_proxy=ask_kube_proxy() if kube != "" else None,
    )


def _full(location: EtcdLocation) -> EtcdFull | None:
    with opened(location) as etcd:
        try:
            etcd.check_space()
        except EtcdFull as error:
            return error
        except K8sOvsError:
            return None  # it was there a moment ago
    return None


def _ask_node(
    snapshot: ClusterSnapshot,
    switch: SwitchStatus,
    ovs_run_dir: Path,
    hostname: str,
    daemon: DaemonStatus,
) -> NodeObservations:
    with connected_switch(ovs_run_dir) as own:
        reconciler = desired_flows(snapshot, own, hostname)
        read = _or_error(lambda: own.read_flows(reconciler.desired))
        own.drop_flows_connection()
        local_node: LocalNode = reconciler.world.of(LOCAL_NODE)[""].settled
        datapath: Datapath = "netdev" if switch.datapath == "netdev" else "system"
        desired = _or_error(
            lambda: desired_state(snapshot, own, hostname, local_node, datapath, daemon=daemon)
        )
        state = desired if isinstance(desired, K8sOvsError) else host_state(own).look(desired)
    return NodeObservations(
        world=reconciler.world,
        local_node=local_node,
        failures=reconciler.failures,
        delta=read if isinstance(read, K8sOvsError) else reconciler.desired.delta(),
        state=state,
        underlay_mtu=_or_error(lambda: underlay_mtu(local_node.host_ip)),
    )


def ask_cni(directories: CniDirectories) -> CniObservations:
    """Look as a runtime does. Raises K8sOvsError where that is not allowed."""
    try:
        there = directories.conf_dir.iterdir() if directories.conf_dir.is_dir() else ()
        first = min((path for path in there if path.suffix in _SUFFIXES), default=None)
        plugins = plugins_of(first.read_bytes()) if first else []
    except OSError as error:
        raise K8sOvsError(f"cannot read {directories.conf_dir}: {error.strerror}") from error
    missing = tuple(each for each in plugins if not has_plugin(directories.bin_dir, each))
    return CniObservations(first, tuple(plugins), missing)


def _ask_kube() -> str:
    kube = kube_from_environment()
    if kube is None:
        return ""
    version = kube.get("/version").get("gitVersion")
    if not isinstance(version, str):
        raise K8sOvsError(
            f"API server {kube.settings.server}: GET /version: gitVersion: found "
            f"{shown_json(version)}, expected a version"
        )
    return f"{kube.settings.server} {version}"


def _or_error(call: Callable[[], T]) -> T | K8sOvsError:
    try:
        return call()
    except K8sOvsError as error:
        return error
