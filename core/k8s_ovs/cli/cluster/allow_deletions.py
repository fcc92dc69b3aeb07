"""`k8s-ovs allow-deletions`: a person's word where the leader will not delete so much alone."""

from __future__ import annotations

from typing import Annotated

import typer

from k8s_ovs.cli.cluster.snapshot import opened, read_snapshot
from k8s_ovs.cli.options import EtcdLocation, with_etcd
from k8s_ovs.model.allowance import ALLOWED, DELETIONS, Allowance
from k8s_ovs.model.codec import encode

__all__ = ["run"]


@with_etcd
def run(
    records: Annotated[
        int,
        typer.Argument(metavar="RECORDS", min=0, help="So many of one kind; 0 takes it back."),
    ],
    *,
    etcd: EtcdLocation,
) -> None:
    """Let the leader delete so many subnets or tenants at once, because their nodes or namespaces
    are gone.

    It does not do that alone where all of two or more of a kind, or more than half of four or more,
    would go or become another namespace's: an API server that was restored, or is the wrong one,
    looks the same. `k8s-ovs doctor` on any node says what waits, with the number.
    Give the permission while something waits: it ends by itself once nothing is left to delete.

    \b
    Examples:
      k8s-ovs allow-deletions 60
      k8s-ovs allow-deletions 0
    """
    name = read_snapshot(etcd).needed_config().name
    key = f"{etcd.prefix}/{name}/{DELETIONS}/{ALLOWED}"
    with opened(etcd) as client:
        if records:
            client.put(key, encode(Allowance(records)))
        else:
            client.delete(key)
    typer.echo(_told(records))


def _told(records: int) -> str:
    if not records:
        return "nothing is allowed any more"
    return (
        f"the leader may delete {records} records of one kind at once; this ends by itself when "
        "nothing waits any more, so at once if nothing waits now"
    )
