"""`k8s-ovs doctor`: what is wrong on this node, and what to do."""

from __future__ import annotations

import typer
from attrs import asdict

from k8s_ovs.cli.doctor.checks import core_checks, plugin_checks
from k8s_ovs.cli.doctor.observations import CniDirectories, observe
from k8s_ovs.cli.options import (
    OVS_RUN_DIR,
    BinDir,
    CniSocket,
    ConfDir,
    EtcdLocation,
    OvsRunDir,
    with_etcd,
)
from k8s_ovs.node.install.cni_config import SOCKET
from k8s_ovs.node.install.installer import BIN_DIR, CONF_DIR
from k8s_ovs.plugin.command.output import Output, OutputForm, printable, say_json
from k8s_ovs.plugin.values import Check

__all__ = ["run"]


@with_etcd
def run(
    *,
    output: OutputForm = Output.TABLE,
    cni_socket: CniSocket = SOCKET,
    ovs_run_dir: OvsRunDir = OVS_RUN_DIR,
    bin_dir: BinDir = BIN_DIR,
    conf_dir: ConfDir = CONF_DIR,
    etcd: EtcdLocation,
) -> None:
    """Check every part that this node's network depends on; nothing is changed.

    Plugins add checks of their own. The exit status is 1 if one of them is not ok.

    \b
    Examples:
      k8s-ovs doctor
      k8s-ovs doctor -o json | jq '.[] | select(.ok | not)'
    """
    observations = observe(etcd, cni_socket, ovs_run_dir, CniDirectories(bin_dir, conf_dir))
    checks = [*core_checks(observations), *plugin_checks(observations)]
    if output is Output.JSON:
        say_json([asdict(check) for check in checks])
    else:
        _say(checks)
    if not all(check.ok for check in checks):
        raise typer.Exit(1)


def _say(checks: list[Check]) -> None:
    width = max(len(check.name) for check in checks)
    for check in checks:
        colour = typer.colors.GREEN if check.ok else typer.colors.RED
        typer.secho("ok    " if check.ok else "WRONG ", fg=colour, nl=False)
        typer.echo(f"{printable(f'{check.name.ljust(width)}  {check.found}')}")
        if check.advice and not check.ok:
            typer.echo(f"      {' ' * width}  -> {printable(check.advice)}")
