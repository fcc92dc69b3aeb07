"""`k8s-ovs version`: which version this program is, and which the daemon of this node."""

from __future__ import annotations

from importlib.metadata import version

import typer

from k8s_ovs.cli.host.this_node import DaemonStatus, daemon_status
from k8s_ovs.cli.options import CniSocket
from k8s_ovs.errors import K8sOvsError
from k8s_ovs.node.install.cni_config import SOCKET
from k8s_ovs.plugin.command.output import Output, OutputForm, as_columns, complain, say_json

__all__ = ["run"]


def run(*, output: OutputForm = Output.TABLE, cni_socket: CniSocket = SOCKET) -> None:
    """Show the version of this program and, on a node, of the daemon that runs there.

    \b
    Examples:
      k8s-ovs version
      k8s-ovs version -o json | jq -r .daemon
    """
    client = version("k8s-ovs")
    try:
        daemon = _of_daemon(daemon_status(cni_socket))
    except K8sOvsError as error:
        complain("warning", f"the daemon's version is unknown: {error}")
        daemon = None
    if output is Output.JSON:
        say_json({"client": client, "daemon": daemon})
        return
    rows = [("client", client), *([("daemon", daemon)] if daemon else [])]
    for line in as_columns(rows):
        typer.echo(line)


def _of_daemon(daemon: DaemonStatus) -> str | None:
    """The version of the daemon that runs; None: none runs on this machine."""
    return str(daemon.status["version"]) if daemon.running and "version" in daemon.status else None
