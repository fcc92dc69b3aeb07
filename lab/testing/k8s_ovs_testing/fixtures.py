"""Pytest fixtures: a real Open vSwitch per test. Load them with `pytest_plugins` or by import."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator

import pytest

from k8s_ovs_testing.ovs import OvsProcess

__all__ = ["ovs_dummy", "ovs_dummy_module"]


def _dummy() -> Iterator[OvsProcess]:
    # Not pytest's tmp_path: its long names do not fit into the address of a Unix socket.
    with tempfile.TemporaryDirectory(prefix="ovs-") as directory:
        ovs = OvsProcess.start(directory, dummy=True)
        try:
            yield ovs
        finally:
            ovs.stop()


@pytest.fixture
def ovs_dummy() -> Iterator[OvsProcess]:
    """An Open vSwitch with simulated ports, the test's own."""
    yield from _dummy()


@pytest.fixture(scope="module")
def ovs_dummy_module() -> Iterator[OvsProcess]:
    """An Open vSwitch with simulated ports that all tests of a file share."""
    yield from _dummy()
