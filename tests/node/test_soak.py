"""A short soak: nothing stays behind, whoever is killed on the way. `make soak` takes an hour."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.soak.soak import Checkpoint, Soak

from k8s_ovs_lab import Lab

REQUESTS, EVERY, KILL_EVERY_S = 600, 200, 1.5


def test_nothing_is_left_over(
    lab_of: Callable[..., Lab], standalone_program: Path, report: Callable[[str], None]
) -> None:
    told: list[Checkpoint] = []
    lab = lab_of("soak", plugin="k8s-ovs-multitenant", nodes=1)
    soak = Soak(lab, standalone_program, seed=1, tell=told.append)
    try:
        soak.run(REQUESTS, EVERY, KILL_EVERY_S)
    finally:
        soak.close()
    assert soak.kills > 0
    assert told[-1].requests >= REQUESTS
    assert sum(each.attached for each in soak.sandboxes) > REQUESTS / 10
    assert sum(each.checked for each in soak.sandboxes) > 0
    report(f"soak: {told[-1].requests} requests, daemon killed {soak.kills} times, nothing left")
