"""What several unit tests begin with."""

from __future__ import annotations

import pytest
from tests.unit.allocator_harness import AllocatorHarness, make_harness


@pytest.fixture
def harness() -> AllocatorHarness:
    """The leader, with nodes 1 and 2, of which nothing is written yet."""
    harness = make_harness()
    harness.become_leader()
    harness.join(1, 2)
    return harness
