"""Which commands of plugins want the cluster? They get it, and options that say where it is."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib import import_module
from typing import Any

import typer

from k8s_ovs.cli.options import OVS_RUN_DIR, EtcdLocation, OvsRunDir, with_etcd, with_options
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

    def opened(*, ovs_run_dir: OvsRunDir = OVS_RUN_DIR, etcd: EtcdLocation) -> Any:
        # Brings etcd's client along, which help can do without.
        module = import_module("k8s_ovs.cli.cluster.etcd_cluster")
        return module.opened_cluster(plugin, etcd, ovs_run_dir)

    return with_etcd(with_options(command, wanting, opened))
