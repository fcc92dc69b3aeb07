"""deploy/k8s-ovs.service beside the command line and the document that installs it."""

from __future__ import annotations

import re
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import typer

from k8s_ovs.cli.main import app

ROOT = Path(__file__).parents[2]
OPERATIONS = (ROOT / "docs/operations.md").read_text()


def service() -> dict[str, str]:
    """Its section [Service]."""
    unit = ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]  # names keep their capitals
    unit.read(ROOT / "deploy/k8s-ovs.service")
    return dict(unit["Service"])


def node_command() -> Any:
    root: Any = typer.main.get_command(app)
    return root.get_command(root.make_context("k8s-ovs", ["node"]), "node")


def test_it_starts_the_program_where_the_document_puts_it() -> None:
    program, *words = service()["ExecStart"].split()
    assert f"python3 -m venv {Path(program).parents[1]}\n" in OPERATIONS
    assert words == ["node", "$NODE_FLAGS"]


def test_the_document_names_its_file_of_settings() -> None:
    assert f"`{service()['EnvironmentFile']}`" in OPERATIONS


def test_settings_that_the_document_shows_are_read() -> None:
    read = {each.envvar for each in node_command().params if each.envvar} | {"KUBECONFIG"}
    shown = re.findall(r"^ *((?:K8S_OVS|KUBE)\w*)=\S+$", OPERATIONS, re.MULTILINE)
    assert len(shown) == 3
    assert set(shown) <= read
    flags = {flag for each in node_command().params for flag in each.opts}
    (example,) = re.findall(r"`NODE_FLAGS=(.+)`", OPERATIONS)
    assert {word.partition("=")[0] for word in example.split()} <= flags
