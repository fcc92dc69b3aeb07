"""`k8s-ovs tenant`: which tenant a namespace belongs to, and how people change that."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from attrs import asdict

from k8s_ovs.plugin import InvalidRecord, Unavailable, encode
from k8s_ovs.plugin.command.cluster import Cluster, Counter
from k8s_ovs.plugin.command.output import (
    Output,
    OutputForm,
    as_columns,
    complain,
    printable,
    say_columns,
    say_json,
)
from k8s_ovs.plugin.command.wait import Deadline, TimeoutOption, WaitOption, answered, say_applied
from k8s_ovs_multitenant.command_requests import request_action
from k8s_ovs_multitenant.listing import (
    HEAD,
    Tenant,
    as_cells,
    as_json,
    counted_flows,
    details,
    reach,
    tenant,
    tenants,
    traffic,
)
from k8s_ovs_multitenant.records import NETNAMESPACES, asks

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Tenants: which tenant each namespace belongs to.",
)

Namespace = Annotated[str, typer.Argument(help="The namespace.")]


@app.command("list")
def list_tenants(output: OutputForm = Output.TABLE, *, cluster: Cluster) -> None:
    """List all namespaces with their tenants.

    TENANT-ID is the tenant that a namespace belongs to, VNI the number that its packets carry
    between nodes, STATE the request that is not answered yet, or why it was refused.

    \b
    Examples:
      k8s-ovs tenant list
      k8s-ovs tenant list -o json | jq '.[] | select(.problem != "")'
    """
    known = tenants(cluster.view())
    if output is Output.JSON:
        say_json([as_json(each) for each in known])
    else:
        say_columns(HEAD, map(as_cells, known), none="no namespaces have a record")


@app.command()
def show(namespace: Namespace, output: OutputForm = Output.TABLE, *, cluster: Cluster) -> None:
    """Show a namespace: its record, who shares its tenant, why its last action was refused.

    On a node its counters follow: "sent" are the namespace's own packets that were judged on this
    node; "let through" and "dropped" are all packets to its tenant on this node; "judged" is both.

    \b
    Examples:
      k8s-ovs tenant show helloworld1
      k8s-ovs tenant show helloworld1 -o json | jq .counters.dropped.packets
    """
    found = tenant(tenants(cluster.view()), namespace)
    counted, reason = _counted(cluster, found)
    if output is Output.JSON:
        counters = {name: asdict(each) for name, each in counted.items()}
        record = json.loads(_record(cluster, namespace) or "null")
        say_json({**as_json(found), "record": record, "counters": counters})
        return
    for line in as_columns([*details(found), ("record", _record(cluster, namespace) or "-")]):
        typer.echo(line)
    rows = [(name, str(each.packets), str(each.bytes)) for name, each in counted.items()]
    say_columns(("ON THIS NODE", "PACKETS", "BYTES"), rows)
    if not rows:
        typer.echo(printable(f"no counters here: {reason}"))


@app.command()
def join(
    namespace: Namespace,
    other: Annotated[str | None, typer.Argument(help="The namespace to join.")] = None,
    *,
    to: Annotated[str | None, typer.Option("--to", help="The same, as an option.")] = None,
    wait: WaitOption = False,
    timeout: TimeoutOption = 30.0,
    cluster: Cluster,
) -> None:
    """Move a namespace into the tenant of another one: their pods reach each other.

    Exit status 1 if it is refused, with the reason; or if not every live node has applied it in
    time (with --wait), naming those.

    \b
    Examples:
      k8s-ovs tenant join helloworld1 helloworld2
      k8s-ovs tenant join helloworld1 --to helloworld2 --wait
    """
    if (other is None) == (to is None):
        raise InvalidRecord("tenant join: expected the namespace to join, as OTHER or as --to")
    _act(cluster, namespace, "join", other or to or "", Deadline(timeout), wait=wait)


@app.command()
def isolate(
    namespace: Namespace,
    *,
    wait: WaitOption = False,
    timeout: TimeoutOption = 30.0,
    cluster: Cluster,
) -> None:
    """Move a namespace into a tenant of its own: connections with others are cut at once.

    \b
    Examples:
      k8s-ovs tenant isolate helloworld1
      k8s-ovs tenant isolate helloworld1 --wait
    """
    _act(cluster, namespace, "isolate", "", Deadline(timeout), wait=wait)


@app.command("global")
def make_global(
    namespace: Namespace,
    *,
    wait: WaitOption = False,
    timeout: TimeoutOption = 30.0,
    cluster: Cluster,
) -> None:
    """Make a namespace global (tenant id 0): its pods reach all, and all reach them.

    \b
    Examples:
      k8s-ovs tenant global monitoring
      k8s-ovs tenant global monitoring --wait --timeout 60
    """
    _act(cluster, namespace, "global", "", Deadline(timeout), wait=wait)


@app.command()
def check(
    source: Annotated[str, typer.Argument(help="Whose pods send.")],
    target: Annotated[str, typer.Argument(help="Whose pods receive.")],
    output: OutputForm = Output.TABLE,
    *,
    cluster: Cluster,
) -> None:
    """Say whether pods of one namespace reach those of another, and why.

    Exit status 1 if they do not.

    \b
    Examples:
      k8s-ovs tenant check helloworld1 helloworld2
      k8s-ovs tenant check helloworld1 helloworld2 -o json | jq -r .why
    """
    known = tenants(cluster.view())
    ends = tenant(known, source), tenant(known, target)
    found = reach(*ends)
    if output is Output.JSON:
        say_json({"source": source, "target": target, **asdict(found)})
    else:
        verb = "reaches" if found.reaches else "does NOT reach"
        typer.echo(printable(f"{source} {verb} {target}: {found.why}"))
    for each in ends:
        if each.action:
            complain("warning", f"{each.namespace}: {each.action} is not answered yet")
    if not found.reaches:
        raise typer.Exit(1)


def _act(
    cluster: Cluster, namespace: str, action: str, other: str, deadline: Deadline, *, wait: bool
) -> None:
    """Write the request, print the answer and, if wanted, which nodes have applied it."""
    revision = request_action(cluster, namespace, action, other)
    record = answered(cluster, NETNAMESPACES, namespace, deadline, since=revision, asks=asks)
    answer = record.value
    if answer.reason is not None:
        complain("error", f"{action} of {namespace} is refused: {answer.reason}")
        raise typer.Exit(1)
    typer.echo(f"{namespace}: tenant id {answer.net_id}")
    if wait:
        say_applied(cluster, record.revision, deadline)


def _record(cluster: Cluster, namespace: str) -> str | None:
    """The record's JSON as etcd has it; None: it does not exist, or cannot be read."""
    try:
        found = cluster.get(NETNAMESPACES, namespace)
    except InvalidRecord:
        return None
    return None if found is None else encode(found.value).decode()


def _counted(cluster: Cluster, found: Tenant) -> tuple[dict[str, Counter], str]:
    """The tenant's counters on this machine, and why there may be none."""
    flows = counted_flows(found)
    try:
        counters = cluster.counters(flows.values())
    except Unavailable as error:
        return {}, str(error)
    named = dict(zip(flows, counters, strict=True))
    return traffic(named), f"no pod of tenant {found.net_id} is on this node"
