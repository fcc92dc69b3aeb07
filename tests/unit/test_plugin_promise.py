"""What authors may rely on: types that a checker finds, versions, hooks that are inherited."""

from __future__ import annotations

import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

from k8s_ovs.errors import PluginError
from k8s_ovs.hooks.find import has_hook
from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.plugin import API_VERSION, Hooks, Pod, View, hook
from k8s_ovs.plugin.version import version_problem


@pytest.mark.parametrize("package", ["k8s_ovs", "k8s_ovs_lab", "k8s_ovs_testing"])
def test_each_distribution_says_that_it_has_types(package: str) -> None:
    assert (files(package) / "py.typed").is_file()


class Bare(Hooks):
    """A plugin with no hook of its own."""


class Mode(Hooks):
    api_version = API_VERSION

    @hook
    def tenant_of(self, view: View, pod: Pod) -> int:
        return 7


def test_inherited_hooks_are_none() -> None:
    assert not has_hook(Bare(), "tenant_of")
    assert not has_hook(Bare, "tenant_of")
    assert has_hook(Mode(), "tenant_of")
    assert PluginManager({"bare": Bare()}).mode == ""
    assert PluginManager({"bare": Bare(), "mine": Mode()}).mode == "mine"


@pytest.mark.parametrize("wanted", ["1", "1.0"])
def test_a_version_that_fits(wanted: str) -> None:
    assert version_problem(wanted) == ""


@pytest.mark.parametrize("wanted", ["0.9", "2", "2.0", "1.1", "one", "1.0.0", "", 1, 1.0, None])
def test_a_version_that_does_not_fit_is_named(wanted: object) -> None:
    assert version_problem(wanted) == f'api_version: found {wanted!r}, expected "1" or "1.0"'
    plugin = type("Acme", (), {"api_version": wanted})()
    with pytest.raises(PluginError, match=r"^plugin acme: api_version: found .*, expected .*1\.0"):
        PluginManager({"acme": plugin})


def test_a_version_between_is_named_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("k8s_ovs.plugin.version.API_VERSION", "3.2")
    assert [version_problem(each) for each in ("3", "3.0", "3.2")] == ["", "", ""]
    assert version_problem("3.3").endswith('expected "3" or "3.0" or "3.1" or "3.2"')
    assert version_problem("2.0") != ""


WRONG = """
from collections.abc import Iterable, Iterator

from k8s_ovs.plugin import Flow, Hooks, Pod, View, hook


class Acme(Hooks):
    api_version = "1.0"

    @hook
    def pod_flows(self, view: View, pod: Pod) -> Iterator[Flow]:
        yield from ()

    @hook
    def node_flows(self, view: View, node: Pod) -> Iterable[Flow]:  # wrong
        return []

    @hook
    def network_flows(self, view: View) -> Iterable[str]:  # wrong
        return []
"""


def test_a_type_checker_compares_hooks_with_those_of_the_base(tmp_path: Path) -> None:
    (tmp_path / "acme.py").write_text(WRONG)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "acme.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    errors = [line.split(":")[1] for line in done.stdout.splitlines() if ": error: " in line]
    wrong = [str(at) for at, line in enumerate(WRONG.splitlines(), 1) if "# wrong" in line]
    assert errors == wrong, done.stdout + done.stderr
