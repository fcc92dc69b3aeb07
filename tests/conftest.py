"""`k8s-ovs` as a person types it, inside the test's own process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Protocol

import pytest
import structlog
from typer.testing import CliRunner, Result

from k8s_ovs.cli.main import app


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
