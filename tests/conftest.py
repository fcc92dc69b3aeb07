"""What all tests share: `k8s-ovs` as a person types it, the CNI program of the image, and lines
for the summary."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Protocol

import pytest
import structlog
from hypothesis import settings
from typer.testing import CliRunner, Result

from k8s_ovs.cli.main import app
from k8s_ovs_cni.standalone import build

_REPORTED = "reported"

# How long an example takes is not asked: that depends on what else the machine does.
settings.register_profile("k8s-ovs", deadline=None)
settings.load_profile("k8s-ovs")


class Cli(Protocol):
    """Runs a command; keywords are environment variables."""

    def __call__(self, *words: str, stdin: str | None = None, **env: str) -> Result: ...


@pytest.fixture
def k8s_ovs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cli]:
    """The command line, without what the environment of the test says of etcd, OVS and the API."""
    for name in os.environ:
        if name.startswith(("K8S_OVS_", "KUBE", "OVS_")):
            monkeypatch.delenv(name)

    def run(*words: str, stdin: str | None = None, **env: str) -> Result:
        return CliRunner().invoke(
            app, list(words), input=stdin, env=env, prog_name="k8s-ovs", catch_exceptions=False
        )

    yield run
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def standalone_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The standalone CNI program."""
    program = tmp_path_factory.mktemp("own") / "k8s-ovs"
    build(program)
    return program


@pytest.fixture
def report(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Shows a line to the person who runs the tests, in the summary at the end."""
    return partial(record_property, _REPORTED)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The lines that tests have told."""
    lines = [
        text
        for passed in terminalreporter.getreports("passed")
        for name, text in passed.user_properties
        if name == _REPORTED and passed.when == "call"
    ]
    if lines:
        terminalreporter.section("reported")
    for line in lines:
        terminalreporter.line(str(line))
