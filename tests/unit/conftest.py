"""What several unit tests begin with."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.allocator_harness import AllocatorHarness, make_harness
from tests.unit.made_up import Install, installing


@pytest.fixture
def harness() -> AllocatorHarness:
    """The leader, with nodes 1 and 2, of which nothing is written yet."""
    harness = make_harness()
    harness.become_leader()
    harness.join(1, 2)
    return harness


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Installs a plugin that is made up; see made_up.py."""
    return installing(tmp_path, monkeypatch)
