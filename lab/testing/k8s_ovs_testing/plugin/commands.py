"""`k8s-ovs plugin`: a project for a new plugin, and what an installed one would do."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from attrs import asdict

from k8s_ovs.errors import InvalidRecord
from k8s_ovs.hooks.time_limit import LIMIT
from k8s_ovs.model.json_text import parse_json
from k8s_ovs.plugin import API_VERSION
from k8s_ovs.plugin.command.output import Output, OutputForm, printable, say_columns, say_json
from k8s_ovs_testing.ovs import OvsProcess
from k8s_ovs_testing.plugin.check import Checked, check_plugin, try_flows
from k8s_ovs_testing.plugin.scaffold import check_new_name, make_project
from k8s_ovs_testing.sample_node import SampleNode

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="For authors of plugins: a project to begin with, and what a plugin would do.",
)


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Of the plugin, such as acme-audit.")],
    directory: Annotated[
        str, typer.Option("--directory", help="Where the project is made; by default NAME.")
    ] = "",
) -> None:
    """Make a project for a new plugin, with tests that pass.

    \b
    Example:
      k8s-ovs plugin new acme-audit
    """
    place = Path(directory or check_new_name(name))
    for path in make_project(check_new_name(name), place):
        typer.echo(path)
    typer.echo(f"next: cd {place} && pip install --editable '.[dev]' && pytest")


@app.command()
def check(
    name: Annotated[str, typer.Argument(help="Of the installed plugin.")],
    records: Annotated[
        list[str] | None,
        typer.Option("--record", help="KIND/KEY=JSON that is in etcd; may be repeated."),
    ] = None,
    objects: Annotated[
        list[str] | None,
        typer.Option("--object", help="RESOURCE/KEY=JSON that is in Kubernetes; may be repeated."),
    ] = None,
    output: OutputForm = Output.TABLE,
) -> None:
    """Ask every hook of a plugin on a sample network; exit status 1 if there are mistakes.

    \b
    Examples:
      k8s-ovs plugin check acme-audit
      k8s-ovs plugin check acme-audit --record 'audits/default={"Silent":true}'
    """
    written = dict(_pairs("--record", records))
    seen = {path: _object(path, text) for path, text in _pairs("--object", objects)}
    LIMIT.watch()
    try:
        found, node = check_plugin(name, written, seen)
    finally:
        LIMIT.stop()
    switched = _switch_says(node) if not found.mistakes else []
    mistakes = [*found.mistakes, *(switched or [])]
    if output is Output.JSON:
        say_json({"api_version": API_VERSION, **asdict(found), "mistakes": mistakes})
    else:
        _say(found, mistakes, tried=switched is not None and not found.mistakes)
    if mistakes:
        raise typer.Exit(1)


def _say(found: Checked, mistakes: list[str], *, tried: bool) -> None:
    beside = "a mode" if found.is_mode else "beside the mode k8s-ovs-subnet"
    typer.echo(f"plugin {found.plugin}, {beside}, plugin API {API_VERSION}")
    rows = [
        (each.hook, each.subject, f"{each.seconds * 1000:.2f} ms", _told(each.said, each.mistakes))
        for each in found.answers
    ]
    say_columns(("HOOK", "OF", "TIME", "RESULT"), rows, none="it has no hooks")
    typer.echo()
    say_columns(("FLOW",), [(flow,) for flow in found.flows], none="no flows")
    typer.echo()
    for text in mistakes:
        typer.secho("mistake: ", fg=typer.colors.RED, nl=False)
        typer.echo(printable(text))
    if not mistakes:
        switch = "takes the flows" if tried else "is not installed here, the flows were not tried"
        typer.echo(f"no mistakes; Open vSwitch {switch}")


def _told(said: Iterable[str], mistakes: Iterable[str]) -> str:
    return "a mistake, see below" if any(mistakes) else "; ".join(said) or "nothing"


def _switch_says(node: SampleNode) -> list[str] | None:
    """What a real Open vSwitch refuses; None: there is none on this machine."""
    if not shutil.which("ovs-vswitchd"):
        return None
    with tempfile.TemporaryDirectory(prefix="ovs-") as directory:
        ovs = OvsProcess.start(directory, dummy=True)
        try:
            return try_flows(node, ovs)
        finally:
            ovs.stop()


def _pairs(flag: str, texts: Iterable[str] | None) -> Iterable[tuple[str, str]]:
    for text in texts or ():
        path, equals, value = text.partition("=")
        if not equals or "/" not in path:
            raise InvalidRecord(f"{flag}: found {text!r}, expected KIND/KEY=JSON")
        yield path, value


def _object(path: str, text: str) -> Any:
    try:
        found = parse_json(text.encode())
    except ValueError as error:
        raise InvalidRecord(f"--object {path}: not JSON ({error}), expected an object") from None
    if not isinstance(found, dict):
        raise InvalidRecord(f"--object {path}: found {text}, expected a JSON object")
    return found
