"""How a lab comes up, step by step, and how it goes away without a trace."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from attrs import evolve

from k8s_ovs.errors import K8sOvsError, Unavailable
from k8s_ovs.node.tell.read_status import read_status
from k8s_ovs.ovs.datapath import choose_datapath
from k8s_ovs_lab import cni, servers
from k8s_ovs_lab.command import NETNS
from k8s_ovs_lab.layout import LabNode, LabSettings, Layout
from k8s_ovs_lab.process import await_that
from k8s_ovs_lab.state import LabState, empty, locked
from k8s_ovs_lab.underlay import (
    address_node,
    bridge_node,
    namespaces,
    remove_namespaces,
    wire,
)

__all__ = [
    "Report",
    "await_node",
    "bring_up",
    "directory_of",
    "is_ready",
    "start_switch",
    "tear_down",
]

#: Called with what is done next, one short line per step.
Report = Callable[[str], None]

# Seconds; in an emulated machine Python alone takes half a minute to start.
_READY_WITHIN = 240.0
# What Debian's ovs-vswitchd is built with; it is not running yet and cannot be asked.
_SWITCH_OFFERS = ("system", "netdev")
_PROGRAMS = {
    "ip": "iproute2",
    "nsenter": "util-linux",
    "nft": "nftables",
    "ovs-vswitchd": "openvswitch-switch",
    "ovsdb-server": "openvswitch-switch",
    "etcd": "etcd-server",
    "etcdctl": "etcd-client",
}


def directory_of(name: str, directory: Path | None = None) -> Path:
    """Where a lab's files are, unless another directory is named."""
    return Path(f"/run/k8s-ovs-{name}") if directory is None else directory.resolve()


def bring_up(layout: Layout, settings: LabSettings, report: Report) -> LabState:
    """Bring a lab up, all of it; what runs already is left as it is.

    Raises K8sOvsError if a lab of other settings runs or foreign things are in the way, and
    with the last lines of a log if a part does not come up. What was made until then is there
    to be looked at; the next bring_up, or tear_down, removes it.
    """
    _check_machine()
    with locked(layout.directory):
        state = _standing(layout, settings, report) or _foundation(layout, settings, report)
        nodes = tuple(map(layout.node, state.numbers))
        for node in nodes:
            report(f"Open vSwitch of {node.name}")
            start_switch(layout, node, state.datapath)
        report("etcd and the network's configuration")
        servers.start_etcd(layout)
        servers.store_config(layout, settings.network_config())
        report("API server")
        servers.start_apiserver(layout, str(settings.network_config()["ServiceNetwork"]))
        _start_nodes(layout, nodes, state.datapath, report)
        state = evolve(state, complete=True)
        state.write(layout.directory)
    return state


def start_switch(layout: Layout, node: LabNode, datapath: str) -> None:
    """Open vSwitch of a node, and the node's address where Open vSwitch carries it."""
    ovs = servers.start_ovs(node)
    if datapath == "netdev":
        bridge_node(layout, node, ovs)


def await_node(node: LabNode) -> None:
    """Wait until a node's network serves. Raises TimedOut, Unavailable if the daemon ended."""
    process = servers.daemon(node)

    def answers() -> bool:
        if node.external:
            return is_ready(node)
        cni.call(node, "STATUS", {}, "the network")
        return True

    await_that(f"the network of {node.name}", answers, _READY_WITHIN, process.log, process)


def is_ready(node: LabNode) -> bool:
    """Whether the daemon that runs says so. Raises Unavailable with what it waits for."""
    pid = servers.daemon(node).pid()
    if pid is None:
        raise Unavailable(f"{node.name}: no daemon runs")
    status = read_status(node.directory / "status.json")
    if status.get("pid") != pid:
        raise Unavailable(f"{node.name}: the daemon has said nothing yet")
    if not status.get("ready"):
        raise Unavailable(f"{node.name}: {status.get('waiting_for')}")
    return True


def tear_down(layout: Layout, report: Report) -> bool:
    """Remove a lab, or what is left of one, from the machine; False: there was nothing."""
    with locked(layout.directory):
        found = LabState.exists(layout.directory) or bool(namespaces(layout))
        if found:
            _remove_all(layout, report)
        if not any(layout.directory.iterdir()):
            layout.directory.rmdir()
    return found


def _standing(layout: Layout, settings: LabSettings, report: Report) -> LabState | None:
    """The lab that is up already, None if one is to be made; orphans are cleaned up."""
    found = LabState.read(layout.directory)
    if found is None:
        if foreign := sorted(path.name for path in layout.directory.iterdir()):
            raise K8sOvsError(
                f"--state {layout.directory} holds other things ({', '.join(foreign[:5])}): "
                "expected an empty or new directory"
            )
        return None
    nodes = map(layout.node, found.numbers)
    names = (layout.fabric, layout.outside, *(node.netns for node in nodes))
    if not found.complete or not all((NETNS / name).exists() for name in names):
        report("cleaning up what an earlier lab left")
        _remove_all(layout, report)
        return None
    if found.settings != settings:
        raise K8sOvsError(
            f"lab {layout.name} is up with other settings ({_difference(found.settings, settings)})"
            f"; take it down first (k8s-ovs lab down --name {layout.name}), or use another --name"
        )
    return found


def _foundation(layout: Layout, settings: LabSettings, report: Report) -> LabState:
    state = LabState(settings, _datapath(settings))
    if there := namespaces(layout):
        raise K8sOvsError(
            f"network namespace {there[0]} is there, and no lab in {layout.directory} made it; "
            f"remove it (k8s-ovs lab down --name {layout.name}) or use another --name"
        )
    state.write(layout.directory)
    report(f"{settings.nodes} nodes as network namespaces, {state.datapath} datapath")
    nodes = layout.nodes(settings.nodes)
    wire(layout, nodes)
    for node in nodes:
        cni.install_on(node)
        if state.datapath == "system":
            address_node(node, "eth0")
    return state


def _datapath(settings: LabSettings) -> str:
    # It brings the whole of pyroute2, 0.4 s that every other command would wait for.
    from k8s_ovs.link.kernel_datapath import kernel_has_datapath  # noqa: PLC0415 - see above

    return choose_datapath(settings.datapath, kernel_has_datapath(), _SWITCH_OFFERS)


def _start_nodes(layout: Layout, nodes: tuple[LabNode, ...], datapath: str, report: Report) -> None:
    objects = servers.objects(layout)
    for node in nodes:
        objects.ensure_node(node)
        servers.start_daemon(layout, node, datapath)
    for node in nodes:
        report(f"k8s-ovs on {node.name}")
        await_node(node)
        objects.mark_node(node, ready=True)


def _remove_all(layout: Layout, report: Report) -> None:
    report("ending the programs")
    servers.stop_servers(layout)
    report("removing the namespaces")
    remove_namespaces(namespaces(layout))
    empty(layout.directory)


def _difference(found: LabSettings, asked: LabSettings) -> str:
    pairs = (
        (name, getattr(found, name), getattr(asked, name))
        for name in ("nodes", "plugin", "datapath", "config")
    )
    return "; ".join(f"{name}: {was}, asked for {now}" for name, was, now in pairs if was != now)


def _check_machine() -> None:
    if os.geteuid() != 0:
        raise K8sOvsError("the lab makes network namespaces and so must be run as root")
    missing = {name: package for name, package in _PROGRAMS.items() if not shutil.which(name)}
    if missing:
        raise Unavailable(
            f"not installed: {', '.join(missing)}; "
            f"on Debian: apt-get install {' '.join(sorted(set(missing.values())))}"
        )
