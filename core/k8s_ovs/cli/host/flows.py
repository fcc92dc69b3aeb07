"""`k8s-ovs flows`: the installed and desired flows of this node's bridge, and the difference."""

from __future__ import annotations

from contextlib import closing
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from k8s_ovs.cli.cluster.snapshot import ClusterSnapshot, kube_from_environment, read_snapshot
from k8s_ovs.cli.host.flow_row import (
    FlowRow,
    as_json,
    desired_row,
    difference,
    in_packet_order,
    installed_row,
    select,
)
from k8s_ovs.cli.host.this_node import (
    connected_switch,
    daemon_status,
    desired_flows,
    hostname_of,
    own_bridge,
)
from k8s_ovs.cli.options import (
    OVS_RUN_DIR,
    CniSocket,
    EtcdLocation,
    OvsRunDir,
    with_etcd,
)
from k8s_ovs.errors import InvalidRecord, K8sOvsError
from k8s_ovs.hooks.load import known_owners
from k8s_ovs.model.world import NODES, OWN_NODE
from k8s_ovs.node.install.cni_config import SOCKET
from k8s_ovs.node.switch import management_socket
from k8s_ovs.ovs.openflow.client import OpenFlow
from k8s_ovs.ovs.ovsdb.state import Bridge
from k8s_ovs.pipeline.table import Pipeline
from k8s_ovs.pipeline.tables import CORE_TABLES
from k8s_ovs.plugin.command.output import Output, OutputForm, complain, few, say_columns, say_json

__all__ = ["run"]


class _Which(StrEnum):
    INSTALLED = "installed"
    DESIRED = "desired"
    DIFF = "diff"


_COLUMNS = {
    _Which.INSTALLED: ("TABLE", "PRIORITY", "PACKETS", "BYTES", "OWNER", "FLOW"),
    _Which.DESIRED: ("TABLE", "PRIORITY", "OWNER", "WANTED BY", "FLOW"),
    _Which.DIFF: ("TABLE", "PRIORITY", "OWNER", "FLOW"),
}


@with_etcd
def run(
    *,
    desired: Annotated[
        bool, typer.Option("--desired", help="The desired flows, and who wants them.")
    ] = False,
    diff: Annotated[
        bool, typer.Option("--diff", help="+ missing, - unexpected; exit 1 if any.")
    ] = False,
    table: Annotated[str | None, typer.Option(help="Only this table, such as POD_IN.")] = None,
    owner: Annotated[str | None, typer.Option(help="Only this plugin's flows, or core's.")] = None,
    output: OutputForm = Output.TABLE,
    cni_socket: CniSocket = SOCKET,
    ovs_run_dir: OvsRunDir = OVS_RUN_DIR,
    etcd: EtcdLocation,
) -> None:
    """Show the flows of this node's bridge: names of tables and registers, owner, counters.

    --desired and --diff compute the desired flows from etcd and Open vSwitch's database, with the
    daemon's own code; plugins that read Kubernetes need KUBECONFIG or KUBERNETES_MASTER for that.

    \b
    Examples:
      k8s-ovs flows
      k8s-ovs flows --table POD_IN
      k8s-ovs flows --desired --owner k8s-ovs-subnet
      k8s-ovs flows --diff
      k8s-ovs flows -o json | jq '.[] | select(.packets > 0)'
    """
    if desired and diff:
        raise InvalidRecord("flows: expected one of --desired and --diff")
    which = _Which.DIFF if diff else _Which.DESIRED if desired else _Which.INSTALLED
    rows: list[FlowRow] = [] if desired else _installed(ovs_run_dir)
    pipeline = Pipeline(CORE_TABLES)
    if which is not _Which.INSTALLED:
        wanted, pipeline = _desired(etcd, ovs_run_dir, hostname_of(daemon_status(cni_socket)))
        rows = wanted if desired else difference(rows, wanted)
    _refuse_unknown("--table", table, {*(row.table for row in rows), *_names(pipeline)})
    _refuse_unknown("--owner", owner, {*(row.owner for row in rows), *known_owners().values()})
    chosen = select(in_packet_order(rows, pipeline), table, owner)
    _say(chosen, which, output)
    if diff and chosen:
        raise typer.Exit(1)


def _installed(ovs_run_dir: Path) -> list[FlowRow]:
    owners = known_owners()
    with connected_switch(ovs_run_dir) as switch:
        bridge = own_bridge(switch)
    with closing(OpenFlow.connect(management_socket(ovs_run_dir))) as openflow:
        flows = openflow.dump()
    ports = _port_names(bridge)
    return [installed_row(flow, owners, bridge.tables, ports) for flow in flows]


def _desired(
    etcd: EtcdLocation, ovs_run_dir: Path, hostname: str
) -> tuple[list[FlowRow], Pipeline]:
    kube = kube_from_environment()
    snapshot = read_snapshot(etcd, kube, hostname)
    if snapshot.unread:
        raise K8sOvsError("; ".join(snapshot.unread))
    _warn(snapshot, kube is not None)
    with connected_switch(ovs_run_dir) as switch:
        reconciler = desired_flows(snapshot, switch, hostname)
        bridge = own_bridge(switch)
    for failure in reconciler.failures:
        complain("warning", failure)
    ports = _port_names(bridge)
    pipeline, world = reconciler.manager.pipeline, reconciler.world
    flows = reconciler.desired.flows()
    return [desired_row(flow, held, pipeline, world, ports) for flow, held in flows], pipeline


def _port_names(bridge: Bridge) -> dict[int, str]:
    return {port.ofport: name for name, port in bridge.ports.items() if port.ofport}


def _warn(snapshot: ClusterSnapshot, kube_is_read: bool) -> None:
    for problem in (*snapshot.problems, *snapshot.left_out):
        complain("warning", problem)
    others = sorted(snapshot.manager.resources.keys() - {NODES, OWN_NODE})
    if others and not kube_is_read:
        complain(
            "warning",
            f"plugins read {', '.join(others)} of Kubernetes, but no API server is configured: set "
            "KUBECONFIG or KUBERNETES_MASTER",
        )


def _names(pipeline: Pipeline) -> list[str]:
    return [table.name for table in pipeline.tables]


def _refuse_unknown(option: str, asked: str | None, known: set[str]) -> None:
    if asked is not None and asked.lower() not in {name.lower() for name in known}:
        raise InvalidRecord(f"{option} {asked}: expected one of {', '.join(sorted(known))}")


def _say(rows: list[FlowRow], which: _Which, output: Output) -> None:
    if output is Output.JSON:
        say_json([as_json(row) for row in rows])
    elif which is _Which.DIFF and not rows:
        typer.echo("the switch has exactly the desired flows")
    elif which is _Which.DIFF:
        marks = {"add": "+", "delete": "-"}
        say_columns(("", *_COLUMNS[which]), ((marks[r.change], *_cells(r, which)) for r in rows))
    else:
        say_columns(_COLUMNS[which], (_cells(row, which) for row in rows), none="no such flows")


def _cells(row: FlowRow, which: _Which) -> tuple[str, ...]:
    counted = (str(row.packets), str(row.bytes)) if which is _Which.INSTALLED else ()
    wanted = (few(row.wanted_by),) if which is _Which.DESIRED else ()
    # The longest words come last, where nothing has to be aligned behind them.
    flow = f"{row.match} actions={row.actions}".lstrip()
    return row.table, str(row.priority), *counted, row.owner, *wanted, flow
