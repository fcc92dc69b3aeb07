"""A CNI server that runs, with a socket of the test's own."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.node.cni.cni_client import Handled

from k8s_ovs.node.cni.server import CniServer


@pytest.fixture
def path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="cni-") as directory:
        yield Path(directory) / "k8s-ovs" / "cni-server.sock"


@pytest.fixture
def handled() -> Handled:
    return Handled()


@pytest.fixture
def server(path: Path, handled: Handled) -> Iterator[CniServer]:
    running = CniServer(path, handled, allowed_uids=(os.getuid(),))
    running.start()
    yield running
    running.stop()
