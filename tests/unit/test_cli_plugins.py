"""Plugins' command groups: found without a configuration, and one that breaks breaks alone."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from types import ModuleType
from typing import Any

import pytest
import typer
from typer.testing import Result

from k8s_ovs.cli import plugin_commands
from k8s_ovs.plugin import hook

Cli = Callable[..., Result]
Install = Callable[..., None]


def group(answer: str) -> typer.Typer:
    """A group with one command."""
    app = typer.Typer(help=f"Says {answer}.")

    @app.command()
    def say() -> None:
        typer.echo(answer)

    return app


def offering(commands: dict[str, Any]) -> type:
    """A plugin with these commands."""

    class Plugin:
        @hook
        def commands(self) -> dict[str, Any]:
            return commands

    return Plugin


class Raises:
    @hook
    def commands(self) -> dict[str, Any]:
        raise RuntimeError("out of ideas")


class CannotBeMade:
    def __init__(self) -> None:
        raise RuntimeError("no licence")


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Have just these plugins installed: classes by name, in place of a dash an underscore."""

    def these(**plugins: type) -> None:
        module = ModuleType("acme")
        vars(module).update(plugins)
        monkeypatch.setitem(sys.modules, "acme", module)
        entries = [
            EntryPoint(name.replace("_", "-"), f"acme:{name}", plugin_commands.PLUGINS_GROUP)
            for name in plugins
        ]
        monkeypatch.setattr(plugin_commands, "entry_points", lambda group: entries)

    return these


def test_a_group_is_shown_and_runs(install: Install, k8s_ovs: Cli) -> None:
    install(acme_audit=offering({"audit": group("done")}))
    assert "audit" in k8s_ovs("--help").stdout
    assert "Says done." in k8s_ovs("--help").stdout
    assert k8s_ovs("audit", "say").stdout == "done\n"


def test_a_group_is_completed(install: Install, k8s_ovs: Cli) -> None:
    install(acme_audit=offering({"audit": group("done")}))
    completing = {"_K8S_OVS_COMPLETE": "complete_bash", "COMP_CWORD": "1"}
    assert k8s_ovs(COMP_WORDS="k8s-ovs au", **completing).stdout.split() == ["audit"]


def test_a_group_of_a_plugin_has_no_completion_of_its_own(install: Install, k8s_ovs: Cli) -> None:
    install(acme_audit=offering({"audit": group("done")}))
    assert "--install-completion" not in k8s_ovs("audit", "--help").stdout


@pytest.mark.parametrize(
    ("broken", "complaint"),
    [
        (
            Raises,
            "plugin acme-bad: commands of this plugin: RuntimeError('out of ideas'), expected ",
        ),
        (
            CannotBeMade,
            "plugin \"acme-bad\" (acme:acme_bad) does not load: RuntimeError('no licence'), ",
        ),
        (
            offering({"audit2": "a word"}),
            "plugin acme-bad: command audit2 is 'a word', expected a typer application",
        ),
        (offering({"config": group("x")}), "plugin acme-bad: there is a command config already"),
    ],
)
def test_a_plugin_that_breaks_is_named_and_the_others_go_on(
    broken: type, complaint: str, install: Install, k8s_ovs: Cli
) -> None:
    install(acme_bad=broken, acme_good=offering({"good": group("done")}))
    shown = k8s_ovs("good", "say")
    assert shown.exit_code == 0
    assert shown.stdout == "done\n"
    assert shown.stderr.startswith(f"warning: {complaint}")
    assert shown.stderr.count("\n") == 1


def test_of_two_groups_with_one_name_the_first_wins(install: Install, k8s_ovs: Cli) -> None:
    install(acme_a=offering({"audit": group("first")}), acme_b=offering({"audit": group("second")}))
    shown = k8s_ovs("audit", "say")
    assert shown.stdout == "first\n"
    assert shown.stderr == "warning: plugin acme-b: there is a command audit already\n"


def test_a_command_of_the_core_asks_no_plugin(install: Install, k8s_ovs: Cli) -> None:
    install(acme_bad=CannotBeMade)
    assert "does not load" not in k8s_ovs("config", "set").stderr


@pytest.mark.parametrize(
    ("group", "wanted"), [("lab", "k8s-ovs-lab"), ("plugin", "k8s-ovs-testing")]
)
def test_a_group_of_a_distribution_that_is_not_here_says_which(
    group: str, wanted: str, install: Install, k8s_ovs: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    install()
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [])
    shown = k8s_ovs(group, "check")
    assert shown.exit_code == 1
    assert shown.stderr == (
        f"error: command {group}: found no distribution {wanted}, expected it beside this one: "
        f"pip install {wanted}\n"
    )
