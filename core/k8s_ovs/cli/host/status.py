"""`k8s-ovs status`: how this node is, as its daemon and Open vSwitch say it now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import typer
from attrs import asdict, frozen

from k8s_ovs.cli.host.this_node import (
    DaemonStatus,
    connected_switch,
    daemon_status,
    hostname_of,
    own_bridge,
)
from k8s_ovs.cli.options import OVS_RUN_DIR, CniSocket, OvsRunDir
from k8s_ovs.errors import K8sOvsError
from k8s_ovs.node.install.cni_config import SOCKET
from k8s_ovs.node.switch import management_socket
from k8s_ovs.ovs.openflow.client import OpenFlow
from k8s_ovs.plugin.command.output import (
    Output,
    OutputForm,
    as_columns,
    complain,
    printable,
    say_json,
)

__all__ = ["SwitchStatus", "run", "status_rows"]

_TIMEOUT = 2.0


@frozen
class SwitchStatus:
    """What Open vSwitch says. problem: why it or its bridge is not as it should be; empty: it is.

    version: None where nobody wrote it into the database. flows: how many the bridge has.
    """

    version: str | None = None
    datapath: str | None = None
    flows: int | None = None
    problem: str = ""


def run(
    *,
    output: OutputForm = Output.TABLE,
    cni_socket: CniSocket = SOCKET,
    ovs_run_dir: OvsRunDir = OVS_RUN_DIR,
) -> None:
    """Show how this node is; exit status 0 only if pods can be attached and packets flow.

    \b
    Examples:
      k8s-ovs status
      k8s-ovs status -o json | jq -r .waiting_for
    """
    daemon = daemon_status(cni_socket)
    switch = switch_status(ovs_run_dir)
    ready = daemon.ready and not switch.problem
    if output is Output.JSON:
        said = {"node": hostname_of(daemon), **daemon.status}
        now = {"ready": ready, "waiting_for": daemon.trouble or switch.problem}
        say_json({**said, **now, "running": daemon.running, "switch": asdict(switch)})
    else:
        _say(daemon, switch, ready)
    if not ready:
        raise typer.Exit(1)


def switch_status(ovs_run_dir: Path) -> SwitchStatus:
    """Ask the database, then the bridge itself: ovs-vswitchd may hang while the other runs."""
    version = datapath = None
    try:
        with connected_switch(ovs_run_dir) as switch:
            version = switch.ovsdb.switch().ovs_version
            datapath = own_bridge(switch).datapath_type or "system"
        bridge = OpenFlow.connect(management_socket(ovs_run_dir), _TIMEOUT)
        try:
            return SwitchStatus(version, datapath, len(bridge.dump()))
        finally:
            bridge.close()
    except K8sOvsError as error:
        return SwitchStatus(version, datapath, None, str(error))


def status_rows(daemon: DaemonStatus, switch: SwitchStatus) -> Iterator[tuple[str, str]]:
    """What there is to say, as (what, how it is)."""
    status: Mapping[str, Any] = daemon.status
    if network := status.get("here"):
        subnet = f"subnet {network['subnet']}, address {network['address']}, MTU {network['mtu']}"
        yield "network", f"{network['network']}: {subnet}"
    version = f", version {status.get('version', '?')}" if status else ""
    state = f"process {daemon.listening}" if daemon.running else "NOT RUNNING"
    yield "daemon", f"{state}{version}"
    yield "Open vSwitch", _switch_state(switch)
    for name, connected in status.get("sources", {}).items():
        yield name, _connection(connected, daemon.running)
    if "leader" in status:
        yield "leader", _leader(status["leader"], daemon.running)
    if "pods" in status:
        yield "pods", str(status["pods"])
        installed = "?" if switch.flows is None else switch.flows
        yield "flows", f"{status.get('flows', '?')} desired, {installed} installed"
        yield "plugins", ", ".join(status.get("plugins", ())) or "?"
    for plugin, said in status.get("of_plugins", {}).items():
        yield plugin, _plain(said)


def _say(daemon: DaemonStatus, switch: SwitchStatus, ready: bool) -> None:
    name = printable(hostname_of(daemon))
    if ready:
        typer.secho(f"{name} is ready", bold=True)
    else:
        trouble = printable(daemon.trouble or switch.problem)
        typer.secho(f"{name} is NOT READY: {trouble}", bold=True)
    for line in as_columns([("", *row) for row in status_rows(daemon, switch)]):
        typer.echo(line)
    if not daemon.running and daemon.status:
        complain("warning", "the status above is from before the daemon exited")
    for problem in daemon.status.get("problems", ()):
        complain("warning", problem)


def _switch_state(switch: SwitchStatus) -> str:
    if switch.problem:
        return f"NOT REACHED: {switch.problem}"
    version = f"version {switch.version}, " if switch.version else ""
    return f"reached, {version}{switch.datapath} datapath"


def _connection(connected: bool, running: bool) -> str:
    if not running:
        return "unknown"
    return "connected" if connected else "DISCONNECTED: serving the last snapshot"


def _leader(is_leader: bool, running: bool) -> str:
    if not running:
        return "unknown"
    return "this node" if is_leader else "not this node: k8s-ovs doctor says which"


def _plain(said: Any) -> str:
    if isinstance(said, dict):
        return ", ".join(f"{name}: {value}" for name, value in said.items())
    return str(said)
