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
    most: Annotated[
        int, typer.Argument(metavar="MOST", min=0, help="Records of one kind; 0 takes it back.")
    ],
    *,
    etcd: EtcdLocation,
) -> None:
    """Let the leader delete so many subnets or tenants at once, because their nodes or namespaces
    are gone.

    It does not do that alone where more than half of four or more would go, or become another
    namespace's: an API server that was restored, or is the wrong one, looks the same. `k8s-ovs
    status` on the leader says what waits.
    The permission ends once nothing is left to delete.

    \b
    Examples:
      k8s-ovs allow-deletions 60
      k8s-ovs allow-deletions 0
    """
    name = read_snapshot(etcd).needed_config().name
    key = f"{etcd.prefix}/{name}/{DELETIONS}/{ALLOWED}"
    with opened(etcd) as client:
        if most:
            client.put(key, encode(Allowance(most)))
        else:
            client.delete(key)
    typer.echo(f"at most {most} records of one kind" if most else "nothing is allowed any more")
