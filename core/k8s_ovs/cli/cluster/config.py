"""`k8s-ovs config`: the network's configuration, and whether all records below it are valid."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from k8s_ovs.cli.cluster.config_change import (
    changed_fields,
    fields_of,
    obstacles,
)
from k8s_ovs.cli.cluster.snapshot import ClusterSnapshot, opened, read_snapshot
from k8s_ovs.cli.options import EtcdLocation, with_etcd
from k8s_ovs.errors import InvalidRecord, K8sOvsError, PluginError
from k8s_ovs.hooks.load import load_plugins
from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.model.codec import decode, field_names
from k8s_ovs.model.json_text import parse_json
from k8s_ovs.model.network import NetworkConfig
from k8s_ovs.model.world import SUBNETS
from k8s_ovs.observe.etcd.client import Absent, Put, Unchanged
from k8s_ovs.plugin.command.output import Output, OutputForm, complain, say_columns, say_json

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="The network's configuration: one JSON object in etcd that every node follows.",
)


@app.command("set")
@with_etcd
def set_config(
    text: Annotated[
        str | None, typer.Argument(metavar="[JSON]", help="The configuration itself.")
    ] = None,
    *,
    file: Annotated[
        str | None, typer.Option("--file", "-f", help="File that contains it, - for stdin.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write it even if a check fails.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would change and write nothing.")
    ] = False,
    if_absent: Annotated[
        bool, typer.Option("--if-absent", help="Write nothing if one exists already.")
    ] = False,
    etcd: EtcdLocation,
) -> None:
    """Check a configuration, show what it changes, and write it; it replaces all of the old one.

    Its fields are Name, Network, HostSubnetLength (host bits of a node's subnet), ServiceNetwork
    and PluginName; MTU, VXLANPort and FromOutside if wanted; and those that the named plugins read.

    Without --force it rejects plugins that are not installed here (other nodes may have them), and
    a network that does not contain the hosts' subnets.

    \b
    Examples:
      k8s-ovs config set -f network.json --dry-run
      k8s-ovs config show -o json | jq '.MTU=1400' | k8s-ovs config set -f -
    """
    label, data = _given(text, file)
    new = decode(NetworkConfig, label, data)
    snapshot = read_snapshot(etcd)
    there = f"{snapshot.key} exists already and is kept (--if-absent)"
    if if_absent and snapshot.revision_of_config:
        typer.echo(there)
        return
    manager, missing = _plugins(new)
    for problem in manager.config_problems(new):
        raise InvalidRecord(f"{label}: {problem}")
    for problem in [*missing, *_against(snapshot, new)]:
        if not force:
            raise K8sOvsError(f"{problem}; add --force to write it anyway")
        complain("warning", problem)
    _warn_of_unknown(new, manager)
    changes = changed_fields(snapshot.config, new)
    rows = [(each.field, each.old or "-", each.new or "-") for each in changes]
    say_columns(("FIELD", "OLD", "NEW"), rows)
    if not changes:
        typer.echo(f"{snapshot.key} is already up to date")
    elif dry_run:
        typer.echo("nothing was written (--dry-run)")
    elif _write(etcd, snapshot, data):
        typer.echo(f"{snapshot.key} is written; `k8s-ovs status` says on each node whether it runs")
    elif if_absent:
        typer.echo(there)
    else:
        raise K8sOvsError(f"{snapshot.key} was changed in the meantime: check it and try again")


@app.command()
@with_etcd
def show(output: OutputForm = Output.TABLE, *, etcd: EtcdLocation) -> None:
    """Show the configuration: with defaults as a table, as it is in etcd as JSON.

    \b
    Examples:
      k8s-ovs config show
      k8s-ovs config show -o json
    """
    snapshot = read_snapshot(etcd)
    config = snapshot.needed_config()
    if output is Output.JSON:
        say_json(parse_json(snapshot.raw["config"]))
    else:
        say_columns(("FIELD", "VALUE"), fields_of(config).items())


@app.command()
@with_etcd
def check(output: OutputForm = Output.TABLE, *, etcd: EtcdLocation) -> None:
    """Check the configuration and every record below it; exit status 1 if something is wrong.

    \b
    Examples:
      k8s-ovs config check
      k8s-ovs config check -o json
    """
    snapshot = read_snapshot(etcd)
    notes = [f"{path}: unknown key, no kind of record has it" for path in snapshot.unknown_keys]
    if output is Output.JSON:
        found = {"key": snapshot.key, "records": len(snapshot.raw)}
        say_json({**found, "problems": snapshot.problems, "notes": notes})
    else:
        for note in notes:
            complain("warning", note)
        for problem in snapshot.problems:
            complain("error", problem)
        if not snapshot.problems:
            typer.echo(f"{snapshot.key} and {len(snapshot.raw) - 1} records below it: no problem")
    if snapshot.problems:
        raise typer.Exit(1)


def _given(text: str | None, file: str | None) -> tuple[str, bytes]:
    """The configuration's name in errors, and its JSON."""
    if (text is None) == (file is None):
        raise InvalidRecord("config set: expected either JSON or --file FILE")
    if text is not None:
        if _is_file(text):
            raise InvalidRecord(
                f"JSON: found {text!r}, the name of a file, expected JSON, or --file {text}"
            )
        return "JSON", text.encode()
    if file == "-":
        return "stdin", sys.stdin.buffer.read()
    try:
        return f"--file {file}", Path(str(file)).read_bytes()
    except OSError as error:
        raise InvalidRecord(f"--file {file}: {error.strerror}") from error


def _is_file(text: str) -> bool:
    """Whether somebody has left --file out. No name of a file is taken for one if it is JSON."""
    try:
        parse_json(text)
    except ValueError:
        with suppress(OSError, ValueError):  # such as a name that is too long
            return Path(text).is_file()
    return False


def _plugins(new: NetworkConfig) -> tuple[PluginManager, list[str]]:
    """The plugins that `new` names, or the core alone and why those do not run here."""
    try:
        return load_plugins(new.plugin_name), []
    except PluginError as error:
        return PluginManager({}), [str(error)]


def _warn_of_unknown(new: NetworkConfig, manager: PluginManager) -> None:
    """Name the fields that neither the core nor a plugin that runs reads."""
    known = ", ".join([*field_names(NetworkConfig), *manager.config_fields])
    for name in sorted(new.extra.keys() - manager.config_fields.keys()):
        complain("warning", f"{name}: unknown field, kept as it is; known fields: {known}")


def _against(snapshot: ClusterSnapshot, new: NetworkConfig) -> list[str]:
    """What exists and is against writing `new`, one reason per line."""
    return obstacles(snapshot.config, new, snapshot.world.settled(SUBNETS))


def _write(location: EtcdLocation, snapshot: ClusterSnapshot, data: bytes) -> bool:
    """Write it as given, on one line. False: somebody else has written, and that write stays."""
    value = json.dumps(parse_json(data), separators=(",", ":")).encode()
    unchanged = Unchanged(snapshot.key, snapshot.revision_of_config)
    compare = unchanged if snapshot.revision_of_config else Absent(snapshot.key)
    with opened(location) as etcd:
        return etcd.txn([compare], [Put(snapshot.key, value)]).succeeded
