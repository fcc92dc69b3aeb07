"""`k8s-ovs plugin new`: which names and places it refuses, and that what it makes loads."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from typer.testing import Result

from k8s_ovs.errors import InvalidRecord
from k8s_ovs_testing.plugin.scaffold import check_new_name, make_project
from k8s_ovs_testing.sample_node import SampleNode

Cli = Callable[..., Result]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("Acme", "expected small letters and digits"),
        ("acme_audit", "words joined by -, such as acme-audit"),
        ("acme--audit", "expected small letters and digits"),
        ("../acme", "expected small letters and digits"),
        ("", "expected small letters and digits"),
        ("a" * 25, "24 characters at most"),
        ("k8s-ovs-audit", "expected one that does not begin with k8s-ovs"),
        ("json", "is a word or a module of Python"),
        ("class", "is a word or a module of Python"),
        ("route", "is the name of a table of the core"),
        ("subnets", "is the name of records of the core"),
    ],
)
def test_a_bad_name_is_refused(name: str, why: str) -> None:
    with pytest.raises(InvalidRecord, match=r"^NAME: found ") as refused:
        check_new_name(name)
    assert why in str(refused.value)
    assert repr(name) in str(refused.value)


def test_the_name_of_an_installed_plugin_is_refused(install: Callable[..., str]) -> None:
    install("class Plugin: pass", ("acme-audit",))
    with pytest.raises(
        InvalidRecord, match="'acme-audit', which is installed already, expected another name"
    ):
        check_new_name("acme-audit")


def test_a_directory_with_files_is_left_as_it_is(k8s_ovs: Cli, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("kept")
    shown = k8s_ovs("plugin", "new", "acme-audit", "--directory", str(tmp_path))
    assert shown.exit_code == 1
    assert f"found {tmp_path} that has files, expected an empty or new one" in shown.stderr
    assert [each.name for each in tmp_path.iterdir()] == ["mine"]
    shown = k8s_ovs("plugin", "new", "acme-audit", "--directory", str(tmp_path / "mine"))
    assert "that is a file, expected an empty or new one" in shown.stderr


def test_it_says_which_files_it_made_and_what_comes_next(k8s_ovs: Cli, tmp_path: Path) -> None:
    place = tmp_path / "new"
    shown = k8s_ovs("plugin", "new", "acme-audit", "--directory", str(place))
    *files, then = shown.stdout.splitlines()
    made = {str(path) for path in place.rglob("*") if path.is_file()}
    assert set(files) == made
    assert then == f"next: cd {place} && pip install --editable '.[dev]' && pytest"


@settings(max_examples=20, deadline=None)
@given(name=st.from_regex(r"[a-z][a-z0-9]{0,6}(-[a-z0-9]{1,6}){0,2}", fullmatch=True))
def test_a_plugin_of_any_accepted_name_runs(
    name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    try:
        check_new_name(name)
    except InvalidRecord:
        assume(False)
    place = tmp_path_factory.mktemp("new")
    make_project(name, place)
    module = name.replace("-", "_")
    source = (place / module / "__init__.py").read_text()
    made: dict[str, object] = {"__name__": f"made_by_scaffold_{module}"}
    sys.modules[str(made["__name__"])] = type(sys)(str(made["__name__"]))  # attrs looks it up
    exec(compile(source, "plugin.py", "exec"), made)  # noqa: S102 - our own template
    del sys.modules[str(made["__name__"])]
    class_name = "".join(word.capitalize() for word in name.split("-"))
    node = SampleNode(named={name: made[class_name]()})  # type: ignore[operator]  # a class
    assert len(node.flows(name)) == 2
    assert node.failures == []
