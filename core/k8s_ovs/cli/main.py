"""`k8s-ovs`: what people type. One file a group of commands, loaded when it is asked for."""

from __future__ import annotations

import sys
from importlib import import_module

import click
import typer
from attrs import frozen
from rich.console import Console
from rich.markup import escape
from typer.core import TyperGroup

from k8s_ovs.errors import K8sOvsError

__all__ = ["app", "main"]


@frozen
class _Command:
    """Where a command is: a module with `app` (a group) or `run` (one command)."""

    module: str
    help: str


_COMMANDS = {
    "node": _Command("k8s_ovs.cli.node", "Run the daemon of this node."),
    "config": _Command("k8s_ovs.cli.config", "The network's configuration in etcd."),
    "subnet": _Command("k8s_ovs.cli.subnet", "Which host has which part of the network."),
    "status": _Command("k8s_ovs.cli.status", "How this node and its network are."),
    "flows": _Command("k8s_ovs.cli.flows", "The flows of this node, with names and owners."),
    "lab": _Command("k8s_ovs.cli.lab", "A cluster on this machine, to try things on."),
}


class _LazyGroup(TyperGroup):
    """Finds commands by name and imports only the one that runs; --help needs none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        wanted = _COMMANDS[cmd_name]
        if ctx.resilient_parsing or "_help_only" in ctx.meta:
            return click.Command(cmd_name, help=wanted.help)
        return _load(cmd_name, wanted)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        ctx.meta["_help_only"] = True
        super().format_help(ctx, formatter)


def _load(name: str, wanted: _Command) -> click.Command:
    module = import_module(wanted.module)
    found = getattr(module, "app", None)
    if found is None:
        found = typer.Typer(pretty_exceptions_enable=False)
        found.command(name, help=module.run.__doc__)(module.run)
    command = typer.main.get_command(found)
    command.name = name
    return command


app = typer.Typer(
    cls=_LazyGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _root() -> None:
    """A Kubernetes network on Open vSwitch."""


def main() -> None:
    """The program. What a user can cause is one line on stderr and exit status 1."""
    try:
        app()
    except K8sOvsError as error:
        Console(stderr=True, soft_wrap=True).print(
            f"[red]error:[/red] {escape(str(error))}", highlight=False
        )
        sys.exit(1)


if __name__ == "__main__":
    main()
