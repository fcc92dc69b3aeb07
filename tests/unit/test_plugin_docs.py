"""docs/plugins.md tells a plugin's author what there is: hooks, the view, names to import."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest

import k8s_ovs.plugin
from k8s_ovs.hooks.calls import SPECS
from k8s_ovs.pipeline.tables import CORE_TABLES, NOTE
from k8s_ovs.plugin import Hooks, View
from k8s_ovs.plugin.command.cluster import Cluster
from k8s_ovs_testing.sample_node import SampleNode

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/plugins.md").read_text()
EXAMPLE = ROOT / "tests/plugins/acme_audit"
PYTHON = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def described(hook: str) -> str:
    """The text under the heading of a hook."""
    return TEXT.partition(f"\n### `{hook}")[2].partition("\n")[2].partition("\n#")[0].strip()


def test_the_hooks_are_described_with_their_arguments_and_in_their_order() -> None:
    headings = re.findall(r"^### `(.+)`$", TEXT, re.MULTILINE)
    signatures = [
        f"{name}({', '.join(list(inspect.signature(getattr(Hooks, name)).parameters)[1:])})"
        for name in SPECS
    ]
    assert headings == signatures


@pytest.mark.parametrize("hook", SPECS)
def test_each_hook_says_what_it_returns_and_where_it_is_a_modes(hook: str) -> None:
    text = described(f"{hook}(")
    assert "Returns " in text
    spec = inspect.getdoc(getattr(Hooks, hook)) or ""
    assert ("Only a mode says this" in spec) == ("A mode's alone" in text)


@pytest.mark.parametrize("hook", SPECS)
def test_each_type_that_a_hook_returns_is_named(hook: str) -> None:
    returned = str(inspect.signature(getattr(Hooks, hook)).return_annotation)
    for name in set(re.findall(r"[A-Z]\w+", returned)) - {"Iterable", "Mapping", "Any", "None"}:
        where = described(f"{hook}(") if name not in ("Flow", "Table") else TEXT
        assert f"`{name}`" in where or f"{name}(" in where or f"`{name}`s" in where


def test_what_a_view_offers_is_listed() -> None:
    offered = {name for name in vars(View) if not name.startswith("_")}
    listed = set(re.findall(r"`view\.(\w+)", TEXT))
    assert listed == offered


def test_what_a_sample_node_offers_is_listed() -> None:
    made = SampleNode()
    offered = {name for name in (*dir(made), "world") if not name.startswith("_")}
    table = TEXT.partition("| of the node | meaning |")[2].partition("\n\n")[0]
    cells = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    listed = {name for cell in cells for name in re.findall(r"`(\w+)", cell)}
    assert listed == offered - {"config", "manager"}


def test_the_tables_of_the_core_that_packets_visit_are_offered() -> None:
    names = {table.name for table in CORE_TABLES} - {NOTE.name}
    assert names <= set(k8s_ovs.plugin.__all__)


def test_what_a_cluster_offers_is_listed_with_its_arguments() -> None:
    offered = {
        f"{name}({', '.join(list(inspect.signature(method).parameters)[1:])})"
        for name, method in vars(Cluster).items()
        if not name.startswith("_")
    }
    assert set(re.findall(r"^\| `cluster\.(.+?)`", TEXT, re.MULTILINE)) == offered


@pytest.mark.parametrize("block", PYTHON)
def test_the_names_that_examples_import_are_offered(block: str) -> None:
    for statement in ast.walk(ast.parse(block)):
        if isinstance(statement, ast.ImportFrom) and statement.module == "k8s_ovs.plugin":
            assert {each.name for each in statement.names} <= set(k8s_ovs.plugin.__all__)


def test_names_in_the_text_are_offered() -> None:
    section = TEXT.partition("\n## Flows and tables")[2].partition("\n## ")[0]
    named = set(re.findall(r"`([A-Z]\w+)[`(]", section)) - {"PluginName"}
    assert named - {"Goto"} <= set(k8s_ovs.plugin.__all__)
    assert {"Output", "SetField", "Move", "Ct", "Note", "InPort"} <= named


def test_the_example_is_the_plugin_that_is_built_and_run() -> None:
    code, real = ast.parse(PYTHON[0]), ast.parse((EXAMPLE / "acme_audit/__init__.py").read_text())
    shown = {each.name: each for each in code.body if isinstance(each, ast.ClassDef)}
    built = {each.name: each for each in real.body if isinstance(each, ast.ClassDef)}
    assert ast.dump(shown["Order"]) == ast.dump(built["Order"])
    hooks = {each.name for each in shown["Audit"].body if isinstance(each, ast.FunctionDef)}
    assert hooks == {"tables", "kinds", "pod_flows"}
    for line in PYTHON[0].splitlines():
        assert line in (EXAMPLE / "acme_audit/__init__.py").read_text().splitlines()
    (metadata,) = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    for line in metadata.splitlines():
        assert line in (EXAMPLE / "pyproject.toml").read_text().splitlines()
