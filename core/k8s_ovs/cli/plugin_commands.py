"""Which command groups do the installed plugins bring?

Every installed plugin is asked, whatever the configuration runs: a command may be what sets it.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any

import typer
from attrs import frozen

from k8s_ovs.cli.cluster.with_cluster import give_clusters
from k8s_ovs.errors import PluginError, is_ctrl_c, shown
from k8s_ovs.hooks.load import PLUGINS_GROUP, load_problem
from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.hooks.result import Failure

__all__ = ["plugin_commands"]


@frozen
class PluginCommands:
    """groups: typer applications by the name of their group. problems: what plugins failed at."""

    groups: dict[str, typer.Typer]
    problems: tuple[str, ...]


def plugin_commands(taken: frozenset[str]) -> PluginCommands:
    """The groups of all installed plugins. taken: names that no plugin can have."""
    groups: dict[str, typer.Typer] = {}
    problems: list[str] = []
    for entry in sorted(entry_points(group=PLUGINS_GROUP)):
        try:
            offered = _commands_of(entry)
        except PluginError as error:
            problems.append(str(error))
            continue
        for name, app in offered.items():
            if name in taken or name in groups:
                problems.append(f"plugin {entry.name}: there is a command {name} already")
            elif not isinstance(app, typer.Typer):
                problems.append(
                    f"plugin {entry.name}: command {name} is {shown(app)}, "
                    "expected a typer application"
                )
            else:
                give_clusters(entry.name, app)
                groups[name] = app
    return PluginCommands(groups, tuple(problems))


def _commands_of(entry: EntryPoint) -> dict[str, Any]:
    """What one plugin offers. Raises PluginError that names it."""
    try:
        plugin = entry.load()()
    except BaseException as error:  # a plugin may raise anything; the others go on
        if is_ctrl_c(error):
            raise
        raise PluginError(load_problem(entry, error)) from error
    offered: dict[str, Any] = {}
    for _, result in PluginManager({entry.name: plugin}).commands():
        if isinstance(result, Failure):
            raise PluginError(str(result))
        for each in result:
            offered |= each
    return offered
