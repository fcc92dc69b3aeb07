"""What several unit tests begin with."""

from __future__ import annotations

import pytest
from tests.unit.office import Office, make_office


@pytest.fixture
def office() -> Office:
    """Seated, with nodes 1 and 2, of which nothing is written yet."""
    office = make_office()
    office.take_seat()
    office.join(1, 2)
    return office
