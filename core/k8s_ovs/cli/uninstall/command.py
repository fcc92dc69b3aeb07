"""`k8s-ovs uninstall`: this host as it was before a daemon ran on it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from attrs import frozen

from k8s_ovs.cli.host.this_node import connected_switch
from k8s_ovs.cli.options import OVS_RUN_DIR, BinDir, CniSocket, ConfDir, OvsRunDir
from k8s_ovs.cli.uninstall.inventory import HostPaths, Inventory, OwnBridge, take_inventory
from k8s_ovs.errors import K8sOvsError
from k8s_ovs.link import nftables, veth
from k8s_ovs.node.install.cni_config import SOCKET
from k8s_ovs.node.install.installer import BIN_DIR, CONF_DIR
from k8s_ovs.node.switch import BRIDGE, NODE_PORT, TUNNEL_PORT
from k8s_ovs.plugin.command.output import complain

__all__ = ["Removal", "refusal", "removals", "run"]

#: Seconds that Open vSwitch may take to release a bridge with hundreds of ports.
_SWITCH_TIMEOUT = 15.0


@frozen
class Removal:
    """things: what is removed, by name. remove: removes all of them; raises K8sOvsError."""

    things: tuple[str, ...]
    remove: Callable[[], None]


def run(
    *,
    force: Annotated[
        bool, typer.Option("--force", help="Cut off pods that are still attached.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only list what would be removed.")
    ] = False,
    bin_dir: BinDir = BIN_DIR,
    conf_dir: ConfDir = CONF_DIR,
    cni_socket: CniSocket = SOCKET,
    ovs_run_dir: OvsRunDir = OVS_RUN_DIR,
) -> None:
    """Remove from this host what k8s-ovs made on it, all but the program itself.

    The daemon must be stopped, and no pod be attached. Records in etcd stay. The exit status is 1
    if something could not be removed; run it again then.

    \b
    Examples:
      k8s-ovs uninstall --dry-run
      k8s-ovs uninstall
    """
    if os.geteuid() != 0:
        raise K8sOvsError(f"k8s-ovs uninstall must run as root, found uid {os.geteuid()}")
    paths = HostPaths(bin_dir, conf_dir, cni_socket, ovs_run_dir)
    inventory = take_inventory(paths)
    steps = list(removals(inventory, paths))
    if dry_run:
        _say("would remove", steps)
    if reason := refusal(inventory, force=force):
        raise K8sOvsError(reason)
    _complain_of(inventory)
    failed = 0 if dry_run else sum(not _carried_out(step) for step in steps)
    if failed or inventory.unasked:
        raise typer.Exit(1)
    if not steps:
        typer.echo("nothing is left of k8s-ovs on this host")


def refusal(inventory: Inventory, *, force: bool) -> str:
    """Why nothing may be removed now, and what to do; empty: it may. force: with pods, too."""
    if inventory.daemon is not None:
        # Processes beyond a container's own namespace have no number in it.
        which = f" (process {inventory.daemon})" if inventory.daemon else ""
        return (
            f"the daemon runs{which} and would make all of it again; stop it "
            "first: systemctl disable --now k8s-ovs, or kubectl delete -f deploy/k8s-ovs.yaml"
        )
    return "" if force else _still_used(inventory)


def _still_used(inventory: Inventory) -> str:
    """Who uses it, and what to do; empty: nobody."""
    match inventory.bridge:
        case OwnBridge(pods=pods) if pods:
            return (
                f"attached to {BRIDGE}: {_listed('pod', pods.values())}; drain this node first "
                "(kubectl drain), or add --force to cut them off"
            )
        case OwnBridge(others=others) if others:
            return (
                f"attached to {BRIDGE} by somebody else: {_listed('port', others)}; take them "
                "away first (ovs-vsctl del-port), or add --force"
            )
        case K8sOvsError() as unknown if inventory.devices:
            return (
                f"{_listed('device', inventory.devices)} may be of pods that run, which only Open "
                f"vSwitch knows: {unknown}. Start it first, or add --force"
            )
    return ""


def removals(inventory: Inventory, paths: HostPaths) -> Iterator[Removal]:
    """What to remove, in order: the runtime's files first, so that no pod starts meanwhile."""
    for path in inventory.files:
        yield Removal((str(path),), partial(_remove_path, path))
    if isinstance(inventory.bridge, OwnBridge):
        ports = (TUNNEL_PORT, NODE_PORT, *inventory.bridge.others)
        things = (
            f"bridge {BRIDGE}",
            *(f"port {port}" for port in ports),
            *_of_pods(inventory.bridge),
        )
        yield Removal(things, partial(_remove_bridge, paths.ovs_run_dir))
    if devices := sorted(inventory.devices):
        things = tuple(f"device {name}" for name in devices)
        yield Removal(things, partial(veth.delete, devices))
    if inventory.table is True:
        yield Removal((f"nftables table inet {nftables.TABLE}",), nftables.remove)
    if inventory.run_dir is not None:
        yield Removal((str(inventory.run_dir),), partial(_remove_path, inventory.run_dir))


def _of_pods(bridge: OwnBridge) -> tuple[str, ...]:
    return tuple(f"port {port} of pod {pod}" for port, pod in sorted(bridge.pods.items()))


def _remove_bridge(ovs_run_dir: Path) -> None:
    with connected_switch(ovs_run_dir, _SWITCH_TIMEOUT) as switch:
        # One that starts later would leave the devices of a bridge that it has never seen.
        switch.ovsdb.await_vswitchd()
        switch.ovsdb.delete_bridge(BRIDGE)
        # Only then are its devices gone, and the kernel's end of the tunnel (vxlan_sys_4789).
        switch.ovsdb.await_applied()


def _remove_path(path: Path) -> None:
    """A file or an empty directory."""
    try:
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise K8sOvsError(error.strerror or str(error)) from error


def _complain_of(inventory: Inventory) -> None:
    """What stays, and why."""
    for thing in inventory.foreign:
        complain("warning", f"{thing} stays: k8s-ovs did not make it")
    for thing, error in inventory.unasked.items():
        complain("error", f"{thing} stays if it exists: {error}")


def _carried_out(step: Removal) -> bool:
    """Remove and say so; False: it failed, and that is said."""
    try:
        step.remove()
    except K8sOvsError as error:
        complain("error", f"cannot remove {', '.join(step.things)}: {error}")
        return False
    _say("removed", [step])
    return True


def _say(verb: str, steps: list[Removal]) -> None:
    for step in steps:
        for thing in step.things:
            typer.echo(f"{verb} {thing}")


def _listed(kind: str, names: Iterable[str]) -> str:
    each = sorted(names)
    return f"{kind}{'s' * (len(each) > 1)} {', '.join(each)}"
