"""A plugin of somebody else: built, installed and named, and nothing of the core knows of it."""

from __future__ import annotations

import json
import sys
import tempfile
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from tests.node.installed import PLUGINS, installed_plugin, run

#: The features that come along have tables and words of their own.
WITHOUT_OURS = "-k8s-ovs-extlb,-k8s-ovs-shaping"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the plugin installed from its wheel; this environment is left as it is."""
    return installed_plugin("acme_audit", tmp_path_factory.mktemp("acme"))


def probed(installed: Path, plugin_name: str, **environment: str) -> dict[str, Any]:
    """What a process finds that has the plugin on its path."""
    with tempfile.TemporaryDirectory(prefix="ovs-") as directory:
        # The cache is where stevedore remembers what is installed.
        own = {"PYTHONPATH": str(installed), "XDG_CACHE_HOME": f"{directory}/cache"}
        found = run(
            *(sys.executable, "-W", "ignore", PLUGINS / "probe.py", directory, plugin_name),
            environment=own | environment,
        )
    result: dict[str, Any] = json.loads(found.splitlines()[-1])
    return result


@pytest.fixture(scope="module")
def running(installed: Path) -> dict[str, Any]:
    return probed(installed, f"k8s-ovs-subnet,acme-audit,{WITHOUT_OURS}")


@pytest.fixture(scope="module")
def ill(installed: Path) -> dict[str, Any]:
    return probed(installed, f"k8s-ovs-subnet,acme-audit,{WITHOUT_OURS}", ACME_AUDIT_RAISES="1")


def owned(found: dict[str, Any], plugin: str) -> list[str]:
    return [flow.partition(": ")[2] for flow in found["flows"] if flow.startswith(f"{plugin}: ")]


def tables_of(traced: list[str]) -> list[str]:
    """The tables in order. A packet is in ROUTE again after each look-up of its connection."""
    return [table for table, _ in groupby(traced)]


def test_it_runs_where_it_is_named(running: dict[str, Any]) -> None:
    assert running["plugins"][:4] == ["core", "node-subnets", "k8s-ovs-subnet", "acme-audit"]
    assert running["failures"] == []


def test_it_does_not_run_where_it_is_not_named(installed: Path) -> None:
    found = probed(installed, f"k8s-ovs-subnet,{WITHOUT_OURS}")
    assert "acme-audit" not in found["plugins"]
    assert "AUDIT" not in found["tables"]
    assert tables_of(found["traces"]["silent"]) == ["CLASSIFY", "POD_IN", "ROUTE", "REMOTE"]


def test_its_table_is_where_it_says(running: dict[str, Any]) -> None:
    order = running["tables"]
    assert order.index("POD_IN") < order.index("AUDIT") < order.index("ROUTE")
    passed = tables_of(running["traces"]["default"])
    assert passed == ["CLASSIFY", "POD_IN", "AUDIT", "ROUTE", "REMOTE"]


def test_its_flows_are_in_the_pipeline_under_its_name(running: dict[str, Any]) -> None:
    assert owned(running, "acme-audit") == [
        "table=AUDIT,priority=100,ip,in_port=101 actions=goto_table:ROUTE",
        "table=AUDIT,priority=100,ip,in_port=102 actions=drop",
    ]
    assert running["traces"]["silent"] == ["CLASSIFY", "POD_IN", "AUDIT"]


def test_its_records_are_read_and_a_malformed_one_is_set_aside(running: dict[str, Any]) -> None:
    assert running["records"].keys() == {"silent"}
    assert "Since" in running["records"]["silent"]
    assert running["quarantine"] == {
        "audits/broken": 'k8ssdn/audits/broken: Silent: found "yes", expected true or false'
    }
    assert running["status"] == {"acme-audit": [{"silent": ["silent"]}]}


def test_when_its_hook_raises_it_is_named(ill: dict[str, Any]) -> None:
    source = (PLUGINS / "acme_audit/acme_audit/__init__.py").read_text().splitlines()
    (line,) = (number for number, text in enumerate(source, 1) if "auditor is ill" in text)
    assert ill["failures"] == [
        f"plugin acme-audit: pod_flows of pod {pod}: RuntimeError('the auditor is ill'), "
        f"expected Flow (acme_audit/__init__.py:{line})"
        for pod in ("default/pod1", "silent/pod2")
    ]


def test_when_its_hook_raises_all_else_works(ill: dict[str, Any], running: dict[str, Any]) -> None:
    for plugin in ("core", "k8s-ovs-subnet"):
        assert owned(ill, plugin) == owned(running, plugin)
    assert "table=AUDIT,priority=0 actions=goto_table:ROUTE" in owned(ill, "core")
    assert owned(ill, "acme-audit") == []
    for traced in ill["traces"].values():
        assert tables_of(traced) == ["CLASSIFY", "POD_IN", "AUDIT", "ROUTE", "REMOTE"]


def test_alone_it_is_told_which_modes_are_installed(installed: Path) -> None:
    (error,) = probed(installed, "acme-audit").values()
    said, _, modes = error.partition("; installed modes are ")
    assert said == 'PluginName: "acme-audit" names no mode, expected exactly one'
    assert "k8s-ovs-subnet" in modes.split(", ")
    assert "acme-audit" not in modes.split(", ")


def test_without_it_on_the_path_its_name_is_unknown() -> None:
    with tempfile.TemporaryDirectory() as nothing:
        (error,) = probed(Path(nothing), "k8s-ovs-subnet,acme-audit").values()
    assert error.startswith('PluginName: no plugin "acme-audit" is installed; installed are ')
