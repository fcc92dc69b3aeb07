"""Output that cannot be written, and arguments that are no text: one line each, and no trace."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.test_cli_main import GROUPS, LEAVES
from typer.testing import Result

Cli = Callable[..., Result]

PROGRAM = (sys.executable, "-W", "ignore", "-m", "k8s_ovs.cli.main")
NO_TEXT = b"a\xff"
FULL = "error: cannot write standard output: No space left on device\n"


def run(*words: str, stdout: Any = subprocess.PIPE, stderr: Any = subprocess.PIPE) -> Any:
    return subprocess.run(
        [*PROGRAM, *words], stdout=stdout, stderr=stderr, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(
    "words",
    [
        ("--help",),
        ("--version",),
        ("--show-completion", "bash"),
        *((group, "--help") for group in GROUPS),
        ("status", "--help"),
        ("status", "--ovs-run-dir", "/nowhere"),
        ("status", "--ovs-run-dir", "/nowhere", "-o", "json"),
        ("version",),
        ("doctor", "--ovs-run-dir", "/nowhere", "--etcd-endpoints", "http://127.0.0.1:1"),
    ],
    ids=" ".join,
)
def test_a_full_disk_is_named_in_one_line(words: tuple[str, ...]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = run(*words, stdout=full)
    assert done.returncode == 1
    assert done.stderr == FULL


def test_that_standard_error_is_full_does_not_change_what_is_found() -> None:
    with Path("/dev/full").open("wb") as full:
        done = run("version", "--cni-socket", "/proc/self/mem/x/cni.sock", stderr=full)
        assert run("nosuch", stderr=full).returncode == 2
    assert done.returncode in (0, 1)


@pytest.mark.parametrize("words", [("--help",), ("version",)], ids=" ".join)
def test_a_reader_that_has_ended_is_no_error(words: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as broken:
        done = run(*words, stdout=broken)
    assert done.stderr == ""


def texts() -> list[tuple[tuple[str, ...], tuple[str, ...], str]]:
    """(words of a command, what gives it a wrong text, the text's name), of every text."""
    found = []
    for words, command in LEAVES.items():
        arguments = [each for each in command.params if not each.opts[0].startswith("-")]
        for parameter in command.params:
            if parameter.type_descriptor.annotation in (str, list[str], str | None):
                flag = next((each for each in parameter.opts if each.startswith("--")), None)
                named = flag or (parameter.metavar or parameter.name.upper()).strip("[]")
                before = arguments[: arguments.index(parameter)] if flag is None else arguments
                others = ["x" for each in before if each.required or flag is None]
                found.append((words, (*others, *filter(None, [flag]), os.fsdecode(NO_TEXT)), named))
    return found


TEXTS = texts()


def test_there_are_texts() -> None:
    assert (("config", "set"), (os.fsdecode(NO_TEXT),), "JSON") in TEXTS
    assert len(TEXTS) > 50


@pytest.mark.parametrize(("words", "given", "named"), TEXTS, ids=ascii)
def test_bytes_that_are_no_text_are_refused_with_their_name(
    words: tuple[str, ...], given: tuple[str, ...], named: str, k8s_ovs: Cli
) -> None:
    shown = k8s_ovs(*words, *given)
    assert shown.exit_code == 1
    assert shown.stderr == f"error: {named}: found bytes that are no UTF-8, expected text\n"


def test_what_the_environment_says_is_a_text_too(k8s_ovs: Cli) -> None:
    shown = k8s_ovs(
        "subnet", "list", "--etcd-username", "a", K8S_OVS_ETCD_PASSWORD=os.fsdecode(NO_TEXT)
    )
    assert shown.stderr == "error: --etcd-password: found bytes that are no UTF-8, expected text\n"


def test_a_files_name_may_be_of_any_bytes(tmp_path: Path, k8s_ovs: Cli) -> None:
    path = tmp_path / os.fsdecode(NO_TEXT)
    path.mkdir()
    shown = k8s_ovs("version", "--cni-socket", str(path / "cni.sock"))
    assert shown.exit_code == 0
