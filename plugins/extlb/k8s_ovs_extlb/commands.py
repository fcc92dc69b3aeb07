"""`k8s-ovs external`: external hosts, and how people add, move and remove them."""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Network
from typing import Annotated

import typer

from k8s_ovs.plugin import SUBNETS, InvalidRecord, K8sOvsError, Write, parse_network
from k8s_ovs.plugin.command.cluster import Cluster
from k8s_ovs.plugin.command.output import Output, OutputForm, complain, say_columns, say_json
from k8s_ovs.plugin.command.wait import Deadline, TimeoutOption, WaitOption, answered, say_applied
from k8s_ovs_extlb import command_requests
from k8s_ovs_extlb.listing import HEAD, as_cells, as_json, hosts, with_life

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="External hosts that have a subnet of the network, such as load balancers.",
)

HostName = Annotated[str, typer.Argument(metavar="HOST", help="Its name, or its address.")]


@app.command("list")
def list_hosts(output: OutputForm = Output.TABLE, *, cluster: Cluster) -> None:
    """List all external hosts: those with a record that are no Kubernetes nodes.

    STATE is ok, waiting (for an answer), refused, quarantined (its record is invalid), or idle (it
    has no subnet and requests none); reasons are printed below. SEEN is when its daemon last
    reported, VERSION its version, APPLIED the revision of etcd that its flows reflect.

    \b
    Examples:
      k8s-ovs external list
      k8s-ovs external list -o json | jq '.[] | select(.live | not)'
    """
    found = with_life(hosts(cluster.view()), cluster.statuses(), cluster.seen())
    if output is Output.JSON:
        say_json([as_json(each) for each in found])
        return
    now = datetime.now(UTC)
    say_columns(HEAD, (as_cells(each, now) for each in found), none="no external hosts")
    for each in found:
        if each.problem:
            complain("warning", f"{each.name} at {each.address}: {each.problem}")


@app.command()
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The host's name.")],
    address: Annotated[
        str, typer.Argument(metavar="ADDRESS", help="Its address, as nodes see it.")
    ],
    *,
    subnet: Annotated[str | None, typer.Option(help="This subnet exactly, CIDR.")] = None,
    host_subnet_length: Annotated[
        int | None,
        typer.Option(min=2, max=30, help="Host bits of its subnet, if not as many as nodes have."),
    ] = None,
    wait: WaitOption = False,
    timeout: TimeoutOption = 30.0,
    cluster: Cluster,
) -> None:
    """Give an external host a subnet; if it has one already, it keeps that.

    Exit status 1 if it is refused, with the reason; or if not every live node has applied it in
    time (with --wait), naming those.

    \b
    Examples:
      k8s-ovs external add lb1 192.168.0.199 --wait
      k8s-ovs external add lb2 192.168.0.200 --host-subnet-length 4
    """
    at, deadline = _address(address), Deadline(timeout)
    wanted = None if subnet is None else _network(subnet)
    request = command_requests.requested(cluster.view(), name, at, wanted, host_subnet_length)
    since = _write(cluster, [request])
    record = answered(
        cluster, SUBNETS, str(at), deadline, since=since, asks=lambda each: bool(each.assign)
    )
    if record.value.reason is not None:
        complain("error", f"a subnet for {name} is refused: {record.value.reason}")
        raise typer.Exit(1)
    typer.echo(f"{name} at {at}: {record.value.subnet}")
    if wait:
        say_applied(cluster, record.revision, deadline)
        if not any(each.host_ip == str(at) for each in cluster.statuses()):
            typer.echo(f"{name} has not been seen yet: start k8s-ovs node there")


@app.command()
def remove(
    name: HostName, *, wait: WaitOption = False, timeout: TimeoutOption = 30.0, cluster: Cluster
) -> None:
    """Remove a host: its subnet is free again, and nodes drop its packets.

    \b
    Examples:
      k8s-ovs external remove lb1 --wait
      k8s-ovs external remove 192.168.0.199
    """
    view, deadline = cluster.view(), Deadline(timeout)
    found = command_requests.chosen(view, name)
    revision = _write(cluster, command_requests.removed(view, found))
    typer.echo(f"{found.name} at {found.address} is removed")
    if wait:
        say_applied(cluster, revision, deadline)


@app.command()
def move(
    name: HostName,
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="Its new address.")],
    *,
    wait: WaitOption = False,
    timeout: TimeoutOption = 30.0,
    cluster: Cluster,
) -> None:
    """Have a host's subnet follow it to another address.

    \b
    Examples:
      k8s-ovs external move lb1 192.168.0.201 --wait
    """
    view, deadline = cluster.view(), Deadline(timeout)
    found = command_requests.chosen(view, name)
    revision = _write(cluster, command_requests.moved(view, found, _address(address)))
    typer.echo(f"{found.name} at {address}: {found.subnet or 'no subnet yet'}")
    if wait:
        say_applied(cluster, revision, deadline)


def _write(cluster: Cluster, writes: list[Write]) -> int:
    revision = cluster.write(*writes)
    if revision is None:
        keys = ", ".join(f"{each.kind}/{each.key}" for each in writes)
        raise K8sOvsError(f"one of {keys} was changed in the meantime: check it and try again")
    return revision


def _address(text: str) -> IPv4Address:
    try:
        return IPv4Address(text)
    except ValueError:
        raise InvalidRecord(f"ADDRESS: found {text}, expected an IPv4 address") from None


def _network(text: str) -> IPv4Network:
    try:
        return parse_network(text)
    except ValueError as error:
        raise InvalidRecord(f"--subnet: found {text}, {error}") from None
