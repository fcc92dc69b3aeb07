"""The command line as a whole: help, completion, errors, and that nothing is loaded in vain."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import Result

from k8s_ovs.cli.main import app

Cli = Callable[..., Result]

GROUPS = ("config", "subnet", "pod", "lab", "tenant", "external")
SINGLE = ("node", "status", "flows", "doctor", "install-cni", "uninstall", "version")
COMMANDS = (*SINGLE, *GROUPS)
REFERENCE = Path(__file__).parents[2] / "docs" / "cli.md"


def leaves() -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that does something, with its words; tenant and external are plugins'."""
    root: Any = typer.main.get_command(app)
    context = root.make_context("k8s-ovs", ["config"])
    for name in COMMANDS:
        yield from below((name,), root.get_command(context, name))


def below(words: tuple[str, ...], command: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The command, or those in it."""
    if not hasattr(command, "commands"):
        yield words, command
    for word, inner in getattr(command, "commands", {}).items():
        yield from below((*words, word), inner)


LEAVES = dict(leaves())


def test_help_names_every_command(k8s_ovs: Cli) -> None:
    shown = k8s_ovs("--help")
    assert shown.exit_code == 0
    for name in COMMANDS:
        assert f" {name} " in shown.stdout


def test_help_alone_loads_no_command() -> None:
    program = (
        "import sys; from k8s_ovs.cli.main import app; app(['--help'], standalone_mode=False); "
        "print([m for m in sys.modules if m in ('k8s_ovs_lab', 'k8s_ovs.node.daemon', 'grpc')])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("words", LEAVES, ids=" ".join)
def test_the_help_of_each_command_has_examples(words: tuple[str, ...], k8s_ovs: Cli) -> None:
    shown = k8s_ovs(*words, "--help")
    assert shown.exit_code == 0
    assert "Examples:" in shown.stdout
    assert f"k8s-ovs {' '.join(words)}" in shown.stdout


@pytest.mark.parametrize("group", GROUPS)
def test_only_the_root_offers_to_install_completion(group: str, k8s_ovs: Cli) -> None:
    assert "--install-completion" in k8s_ovs("--help").stdout
    assert "--install-completion" not in k8s_ovs(group, "--help").stdout


@pytest.mark.parametrize("words", LEAVES, ids=" ".join)
def test_the_reference_describes_each_command_and_option(words: tuple[str, ...]) -> None:
    text = REFERENCE.read_text()
    assert f"k8s-ovs {' '.join(words)}" in text
    for parameter in LEAVES[words].params:
        for flag in (flag for flag in parameter.opts if flag.startswith("--")):
            assert f"`{flag}" in text, f"{' '.join(words)} {flag}"


def test_a_mistyped_command_is_guessed(k8s_ovs: Cli) -> None:
    shown = k8s_ovs("statsu")
    assert shown.exit_code == 2
    assert "No such command 'statsu'. Did you mean 'status'?" in shown.stderr


def test_what_a_user_can_cause_is_one_line_and_status_1(k8s_ovs: Cli) -> None:
    shown = k8s_ovs("config", "show", "--etcd-endpoints", "10.0.0.1")
    assert shown.exit_code == 1
    assert shown.stdout == ""
    assert shown.stderr == (
        "error: --etcd-endpoints: found '10.0.0.1', expected http://HOST:PORT or https://HOST:PORT\n"
    )


def test_flags_without_a_command_are_the_daemons(k8s_ovs: Cli) -> None:
    shown = k8s_ovs("--etcd-endpoints=http://10.0.0.1:2379", "--log-level", "loud")
    assert shown.exit_code == 1
    assert shown.stderr == (
        "error: --log-level: found loud, expected one of debug, info, warning, error\n"
    )


@pytest.mark.parametrize("flag", ["--version", "-V"])
def test_the_version_can_be_asked_for(flag: str, k8s_ovs: Cli) -> None:
    shown = k8s_ovs(flag)
    assert (shown.exit_code, shown.stdout) == (0, f"{version('k8s-ovs')}\n")


def test_the_version_of_the_daemon_is_shown_where_one_runs(k8s_ovs: Cli, tmp_path: Path) -> None:
    path = tmp_path / "cni.sock"
    status = {"node": "node1", "pid": os.getpid(), "version": "0.0.7"}
    (tmp_path / "status.json").write_text(json.dumps(status))
    words = ("version", "--cni-socket", str(path))
    alone = k8s_ovs(*words)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(path))
        listening.listen()
        both = k8s_ovs(*words)
        as_json = json.loads(k8s_ovs(*words, "-o", "json").stdout)
    assert alone.stdout == f"client  {version('k8s-ovs')}\n"
    assert both.stdout == f"client  {version('k8s-ovs')}\ndaemon  0.0.7\n"
    assert as_json == {"client": version("k8s-ovs"), "daemon": "0.0.7"}


@pytest.mark.parametrize("status", ["[]", "{", '"x"', "\udc80", '{"pid": []}'])
def test_a_status_that_is_none_is_no_traceback(status: str, k8s_ovs: Cli, tmp_path: Path) -> None:
    (tmp_path / "status.json").write_bytes(status.encode(errors="surrogateescape"))
    shown = k8s_ovs("version", "--cni-socket", str(tmp_path / "cni.sock"))
    assert (shown.exit_code, shown.stdout) == (0, f"client  {version('k8s-ovs')}\n")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--versoin",), "No such option: --versoin. Did you mean '--version'?"),
        (("--foo", "status"), "No such option: --foo."),
        (("--output", "json", "status"), "No such option: --output."),
        (("--etcd-endpoint=http://a:1",), "No such option: --etcd-endpoint. Did you mean"),
        (("--etcd-endpoints=http://a:1", "--foo"), "No such option: --foo."),
        (("--etcd-endpoints", "http://a:1", "status"), "'status' comes behind an option"),
        (("-x", "status"), "No such option: -x"),
    ],
    ids=str,
)
def test_options_in_front_of_a_command_are_named_and_not_taken_for_the_daemons(
    words: tuple[str, ...], complaint: str, k8s_ovs: Cli
) -> None:
    shown = k8s_ovs(*words)
    assert shown.exit_code == 2
    assert "k8s-ovs node" not in shown.stderr
    assert "Usage: k8s-ovs [OPTIONS] COMMAND" in shown.stderr
    assert complaint in " ".join(shown.stderr.replace("│", " ").split())


def test_a_form_of_output_that_is_none_is_refused(k8s_ovs: Cli) -> None:
    shown = k8s_ovs("status", "-o", "yaml")
    assert shown.exit_code == 2
    assert "Invalid value for '--output'" in shown.stderr


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("k8s-ovs s", {"subnet", "status"}),
        ("k8s-ovs config s", {"set", "show"}),
        ("k8s-ovs flows --des", {"--desired"}),
    ],
)
def test_the_shell_completes(line: str, offered: set[str], k8s_ovs: Cli) -> None:
    place = str(len(line.split()) - 1)
    shown = k8s_ovs(_K8S_OVS_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=place)
    assert set(shown.stdout.split()) == offered


def test_the_completion_script_can_be_shown(k8s_ovs: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    # Otherwise the shell is found out from the process that started us.
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    shown = k8s_ovs("--show-completion", "bash")
    assert shown.exit_code == 0
    assert "complete -o default -F _k8s_ovs_completion k8s-ovs" in shown.stdout
