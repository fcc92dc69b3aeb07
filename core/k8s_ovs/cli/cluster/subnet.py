"""`k8s-ovs subnet`: which host has which subnet, according to etcd."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import typer
from attrs import asdict, frozen

from k8s_ovs.cli.cluster.snapshot import ClusterSnapshot, read_snapshot
from k8s_ovs.cli.options import EtcdLocation, with_etcd
from k8s_ovs.model.json_text import parse_json
from k8s_ovs.model.network import NetworkConfig
from k8s_ovs.model.subnet import HostSubnet, address_order, free_subnets
from k8s_ovs.model.world import GIVEN, SUBNETS, Slot
from k8s_ovs.plugin.command.output import Output, OutputForm, complain, say_columns, say_json

__all__ = ["SubnetRow", "app", "subnet_rows"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="The subnets of hosts.",
)


@frozen
class SubnetRow:
    """A record below `subnets/`. given_to: "node" (reclaimed when the Kubernetes node is deleted)
    or "hand" (created manually, never reclaimed). problem: why the record is not used; empty: it
    is."""

    host: str
    address: str
    subnet: str
    given_to: str
    state: str
    problem: str


@app.callback()
def _group() -> None:
    """The subnets of hosts."""


@app.command("list")
@with_etcd
def list_subnets(output: OutputForm = Output.TABLE, *, etcd: EtcdLocation) -> None:
    """List all hosts with a record: Kubernetes nodes and hosts that were added manually.

    STATE is ok, waiting (for the allocator to give a subnet), refused (what was asked for), or
    quarantined: nodes ignore such a record and keep its last valid value if they have seen one. The
    reason is printed below.

    \b
    Examples:
      k8s-ovs subnet list
      k8s-ovs subnet list -o json
    """
    snapshot = read_snapshot(etcd)
    config = snapshot.needed_config()
    rows = subnet_rows(snapshot)
    if output is Output.JSON:
        say_json([asdict(row) for row in rows])
        return
    head = ("HOST", "ADDRESS", "SUBNET", "GIVEN TO", "STATE")
    cells = ((r.host, r.address, r.subnet, r.given_to, r.state) for r in rows)
    say_columns(head, cells, none="no hosts have a record")
    for row in rows:
        if row.problem:
            complain("warning", row.problem)
    typer.echo(_room(config, snapshot))


def subnet_rows(snapshot: ClusterSnapshot) -> list[SubnetRow]:
    """All records below `subnets/`, by address, quarantined ones as far as they can be read."""
    slots = snapshot.world.of(SUBNETS)
    return [_row(snapshot, key, slots[key]) for key in sorted(slots, key=address_order)]


def _row(snapshot: ClusterSnapshot, key: str, slot: Slot) -> SubnetRow:
    if slot.problem is not None:
        return _quarantined(snapshot, key, slot.problem)
    record: HostSubnet = slot.settled
    if slot.asked is not None:
        subnet = str(record.subnet or "-") if record else "-"
        return SubnetRow(slot.asked.host, key, subnet, _given_to(snapshot, key), "waiting", "")
    state = "ok" if record.subnet else "waiting"
    problem = ""
    if record.reason is not None:
        state, problem = "refused", f"{SUBNETS}/{key}: {record.reason}"
    subnet = str(record.subnet or "-")
    return SubnetRow(record.host, key, subnet, _given_to(snapshot, key), state, problem)


def _given_to(snapshot: ClusterSnapshot, key: str) -> str:
    return "hand" if snapshot.world.slot(GIVEN, key).settled is None else "node"


def _quarantined(snapshot: ClusterSnapshot, key: str, problem: str) -> SubnetRow:
    found: Any = None
    with suppress(ValueError):
        found = parse_json(snapshot.raw[f"{snapshot.needed_config().name}/{SUBNETS}/{key}"])
    record = found if isinstance(found, dict) else {}
    host, subnet = str(record.get("Host") or "?"), str(record.get("Subnet") or "-")
    return SubnetRow(host, key, subnet, _given_to(snapshot, key), "quarantined", problem)


def _room(config: NetworkConfig, snapshot: ClusterSnapshot) -> str:
    taken = [each.subnet for each in snapshot.world.settled(SUBNETS).values()]
    free = _count(free_subnets(config, [subnet for subnet in taken if subnet is not None]))
    whole = 1 << (config.node_prefix - config.network.prefixlen)
    return f"{free} of {whole} subnets (/{config.node_prefix} of {config.network}) are free"


def _count(each: Iterable[object]) -> int:
    return sum(1 for _ in each)
