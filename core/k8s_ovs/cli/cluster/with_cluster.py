"""Which commands of plugins want the cluster? They get it, and options that say where it is."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import Any

import typer

from k8s_ovs.cli.options import OVS_RUN_DIR, EtcdLocation, OvsRunDir, with_etcd
from k8s_ovs.plugin.command.cluster import Cluster

__all__ = ["give_clusters"]


def give_clusters(plugin: str, group: typer.Typer) -> None:
    """Let each command of the group that has a parameter of type Cluster get one."""
    for command in group.registered_commands:
        if command.callback is not None:
            command.callback = _with_cluster(plugin, command.callback)
    for inner in group.registered_groups:
        if inner.typer_instance is not None:
            give_clusters(plugin, inner.typer_instance)


def _with_cluster(plugin: str, command: Callable[..., Any]) -> Callable[..., Any]:
    own = inspect.signature(command, eval_str=True)
    wanting = [name for name, each in own.parameters.items() if each.annotation is Cluster]
    if not wanting:
        return command

    @wraps(command)
    def run(*, ovs_run_dir: Path, etcd: EtcdLocation, **given: Any) -> None:
        # Brings etcd's client along, which help can do without.
        cluster_module = import_module("k8s_ovs.cli.cluster.etcd_cluster")
        with cluster_module.opened_cluster(plugin, etcd, ovs_run_dir) as cluster:
            command(**given, **dict.fromkeys(wanting, cluster))

    parameters = [each for name, each in own.parameters.items() if name not in wanting]
    # What typer makes options from.
    run.__signature__ = own.replace(  # type: ignore[attr-defined]  # inspect.signature reads it from any function
        parameters=[*parameters, *inspect.signature(_locations, eval_str=True).parameters.values()]
    )
    return with_etcd(run)


def _locations(*, ovs_run_dir: OvsRunDir = OVS_RUN_DIR, etcd: EtcdLocation) -> None:
    """The options that say where the cluster is."""
