"""`k8s-ovs uninstall`: this host as it was before a daemon ran on it.

The daemon's own comparison with nothing desired: what is unexpected then is what is removed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from k8s_ovs.cli.host.this_node import running_daemon
from k8s_ovs.cli.options import OVS_RUN_DIR, BinDir, CniSocket, ConfDir, OvsRunDir
from k8s_ovs.cli.uninstall.run_files import run_files
from k8s_ovs.errors import K8sOvsError
from k8s_ovs.node.host.state import HostState, Look, host_state
from k8s_ovs.node.install.cni_config import SOCKET
from k8s_ovs.node.install.file_driver import FileDriver
from k8s_ovs.node.install.installer import BIN_DIR, CONF_DIR, installed, names_of_ours
from k8s_ovs.node.switch import BRIDGE, NODE_PORT, TUNNEL_PORT, Switch
from k8s_ovs.ovs.ovsdb.client import Ovsdb
from k8s_ovs.plugin.command.output import complain
from k8s_ovs.state.diff import Difference
from k8s_ovs.state.value import Bridge, File, Key, Port, Veth

__all__ = ["refusal", "run"]


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
    # First of all, so that no pod starts meanwhile.
    files = FileDriver(lambda: [*installed(bin_dir, conf_dir), *run_files(cni_socket)])
    switch = Switch(ovs_run_dir)
    with closing(switch.ovsdb) as ovsdb:
        host = host_state(switch, files, delete_veths=True)
        look = host.look(())
        if dry_run:
            _say("would remove", look.differences)
        if reason := refusal(running_daemon(cni_socket), look, force=force):
            raise K8sOvsError(reason)
        for key in _foreign(look, names_of_ours(bin_dir, conf_dir), ovsdb):
            complain("warning", f"{key} stays: k8s-ovs did not make it")
        for each in look.unknown:
            kinds = ", ".join(sorted(each.kinds))
            complain("error", f"what there is of {kinds} stays: {each.reason}")
        left = Look() if dry_run else _remove(host, look.differences)
    if look.unknown or left.unknown:
        raise typer.Exit(1)
    if not look.differences:
        typer.echo("nothing is left of k8s-ovs on this host")


def refusal(daemon: int | None, look: Look, *, force: bool) -> str:
    """Why nothing may be removed now, and what to do; empty: it may.

    daemon: the process that serves the CNI; 0: some process does. look: with nothing desired.
    force: with pods, too.
    """
    if daemon is not None:
        # Processes beyond a container's own namespace have no number in it.
        which = f" (process {daemon})" if daemon else ""
        return (
            f"the daemon runs{which} and would make all of it again; stop it "
            "first: systemctl disable --now k8s-ovs, or kubectl delete -f deploy/k8s-ovs.yaml"
        )
    return "" if force else _still_used(look)


def _still_used(look: Look) -> str:
    """Who uses it, and what to do; empty: nobody."""
    ports = [each for each in look.differences if each.key.kind == Port.kind]
    if pods := [each.pod for each in ports if each.pod]:
        return (
            f"attached to {BRIDGE}: {_listed('pod', pods)}; drain this node first "
            "(kubectl drain), or add --force to cut them off"
        )
    if others := {each.key.name for each in ports} - {TUNNEL_PORT, NODE_PORT}:
        return (
            f"attached to {BRIDGE} by somebody else: {_listed('port', others)}; take them "
            "away first (ovs-vsctl del-port), or add --force"
        )
    devices = [each.key.name for each in look.differences if each.key.kind == Veth.kind]
    unknown = look.why_unknown(Bridge.kind)
    if devices and unknown:
        return (
            f"{_listed('device', devices)} may be of pods that run, which only Open "
            f"vSwitch knows: {unknown}. Start it first, or add --force"
        )
    return ""


def _foreign(look: Look, files: Iterable[Path], ovsdb: Ovsdb) -> list[Key]:
    """What has a name of ours, and is not ours: it exists, and the look does not show it."""
    there: list[Key] = []
    if look.why_unknown(File.kind) is None:
        there += [Key(File.kind, str(path)) for path in files if path.exists()]
    if look.why_unknown(Bridge.kind) is None and ovsdb.bridge(BRIDGE) is not None:
        there.append(Key(Bridge.kind, BRIDGE))
    ours = {each.key for each in look.differences}
    return [key for key in there if key not in ours]


def _remove(host: HostState, differences: Sequence[Difference]) -> Look:
    """Remove, and say what is gone and what is left; the latter is returned."""
    left = host.apply(differences)
    _say("removed", (each for each in differences if each not in left.differences))
    for failed in left.unknown:
        things = [each.thing for each in left.differences if each.key.kind in failed.kinds]
        complain("error", f"cannot remove {', '.join(things)}: {failed.reason}")
    return left


def _say(verb: str, differences: Iterable[Difference]) -> None:
    for each in differences:
        typer.echo(f"{verb} {each.thing}")


def _listed(kind: str, names: Iterable[str]) -> str:
    each = sorted(names)
    return f"{kind}{'s' * (len(each) > 1)} {', '.join(each)}"
