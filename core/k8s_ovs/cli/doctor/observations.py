"""Every part of a node, asked once: what `k8s-ovs doctor` judges."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from attrs import frozen

from k8s_ovs.cli.cluster.snapshot import Picture, kube_from_environment, read_picture
from k8s_ovs.cli.host.status import SwitchWord, switch_word
from k8s_ovs.cli.host.this_node import (
    DaemonWord,
    connected_switch,
    daemon_word,
    desired_flows,
    hostname_of,
)
from k8s_ovs.cli.options import EtcdPlace
from k8s_ovs.errors import K8sOvsError
from k8s_ovs.link import masquerade
from k8s_ovs.link import node_port as node_link
from k8s_ovs.model.node import Here
from k8s_ovs.node.install.cni_config import BINARY, has_plugin, plugins_of
from k8s_ovs.node.install.cni_program import check_program
from k8s_ovs.node.setup import own_link
from k8s_ovs.ovs.datapath import kernel_has_datapath
from k8s_ovs.plugin.view import HERE, World
from k8s_ovs.reconcile.desired_flows import Delta

__all__ = ["CniFacts", "CniPlace", "Facts", "NodeFacts", "ask_cni", "gather"]

T = TypeVar("T")

#: What container runtimes take for a network's configuration.
_SUFFIXES = (".conf", ".conflist", ".json")


@frozen
class CniPlace:
    """Where the container runtime looks."""

    bin_dir: Path
    conf_dir: Path


@frozen
class CniFacts:
    """What the container runtime reads.

    first: the configuration that it takes, the first by name; None: there is none. plugins: their
    types, in order. missing: those of them that it cannot start.
    """

    first: Path | None = None
    plugins: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


@frozen
class NodeFacts:
    """What can be asked once it is known what this node should be.

    world: with this node's place. delta: flows that the bridge lacks and has too much. tun0: what
    would have to be done to it. masquerade: the nftables table is there. underlay_mtu: of the
    device that has the node's address, bytes.
    """

    world: World
    here: Here
    failures: list[str]
    delta: Delta | K8sOvsError
    tun0: list[str] | K8sOvsError
    masquerade: bool | K8sOvsError
    underlay_mtu: int | K8sOvsError


@frozen
class Facts:
    """Each part's answer, or why there is none.

    in_kernel: this kernel has Open vSwitch's datapath. kube: where the API server is; empty: the
    environment names none. cni_program: what the runtime starts, in its own words.
    """

    daemon: DaemonWord | K8sOvsError
    switch: SwitchWord
    in_kernel: bool | K8sOvsError
    kube: str | K8sOvsError
    picture: Picture | K8sOvsError
    node: NodeFacts | K8sOvsError
    cni: CniFacts | K8sOvsError
    cni_program: str | K8sOvsError


def gather(etcd: EtcdPlace, cni_socket: Path, ovs_run_dir: Path, cni: CniPlace) -> Facts:
    """Ask them all, each within its own time limit; none keeps the others from being asked."""
    daemon = _asked(lambda: daemon_word(cni_socket))
    hostname = hostname_of(daemon if isinstance(daemon, DaemonWord) else DaemonWord({}, None))
    switch = switch_word(ovs_run_dir)
    kube = _asked(_ask_kube)
    reached = isinstance(kube, str) and kube != ""
    picture = _asked(
        lambda: read_picture(etcd, kube_from_environment() if reached else None, hostname)
    )
    node: NodeFacts | K8sOvsError
    if isinstance(picture, Picture):
        known = picture
        node = _asked(lambda: _ask_node(known, switch, ovs_run_dir, hostname))
    else:
        node = picture
    return Facts(
        daemon=daemon,
        switch=switch,
        in_kernel=_asked(kernel_has_datapath),
        kube=kube,
        picture=picture,
        node=node,
        cni=_asked(lambda: ask_cni(cni)),
        cni_program=_asked(lambda: check_program(cni.bin_dir / BINARY)),
    )


def _ask_node(picture: Picture, switch: SwitchWord, ovs_run_dir: Path, hostname: str) -> NodeFacts:
    config = picture.needed_config()
    with connected_switch(ovs_run_dir) as own:
        reconciler = desired_flows(picture, own, hostname)
        read = _asked(lambda: own.read_flows(reconciler.book))
        own.drop_flows_connection()
    here: Here = reconciler.world.of(HERE)[""].value
    link = own_link(here, config, "netdev" if switch.datapath == "netdev" else "system")
    return NodeFacts(
        world=reconciler.world,
        here=here,
        failures=reconciler.failures,
        delta=read if isinstance(read, K8sOvsError) else reconciler.book.delta(),
        tun0=_asked(lambda: node_link.deviations(link)),
        masquerade=_asked(lambda: masquerade.is_there(config.network)),
        underlay_mtu=_asked(lambda: node_link.underlay_mtu(here.host_ip)),
    )


def ask_cni(place: CniPlace) -> CniFacts:
    """Look as a runtime does. Raises K8sOvsError where that is not allowed."""
    try:
        there = place.conf_dir.iterdir() if place.conf_dir.is_dir() else ()
        first = min((path for path in there if path.suffix in _SUFFIXES), default=None)
        plugins = plugins_of(first.read_bytes()) if first else []
    except OSError as error:
        raise K8sOvsError(f"cannot read {place.conf_dir}: {error.strerror}") from error
    missing = tuple(each for each in plugins if not has_plugin(place.bin_dir, each))
    return CniFacts(first, tuple(plugins), missing)


def _ask_kube() -> str:
    kube = kube_from_environment()
    if kube is None:
        return ""
    version = kube.get("/version").get("gitVersion", "of unknown version")
    return f"{kube.settings.server} {version}"


def _asked(call: Callable[[], T]) -> T | K8sOvsError:
    try:
        return call()
    except K8sOvsError as error:
        return error
