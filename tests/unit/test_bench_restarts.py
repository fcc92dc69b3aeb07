"""The benchmark of restarts: how its rounds are told."""

from __future__ import annotations

import importlib
import io
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from rich.console import Console

BENCH = Path(__file__).parents[1] / "bench"


@pytest.fixture
def restarts(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return bench(monkeypatch, "restarts")


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return bench(monkeypatch, "report")


def bench(monkeypatch: pytest.MonkeyPatch, name: str) -> ModuleType:
    """A module of the benchmark, whose modules import each other by their bare names."""
    monkeypatch.syspath_prepend(str(BENCH))
    return importlib.import_module(name)


def told(restarts: ModuleType, *lost: int) -> dict[str, Any]:
    """Rounds of a restart in which so many packets were lost on the node."""
    names = ("between nodes", "on the node", "to outside")
    path = restarts._Path
    rounds = [
        restarts._Round(0.5, 1.5, {name: path(5000, 998.6, 0, 0.0042) for name in names})
        for _ in lost
    ]
    for each, number in zip(rounds, lost, strict=True):
        each.paths["on the node"] = path(5000, 998.6, number, number / 1e3)
    found: dict[str, Any] = restarts._told(rounds)
    return found


def shown(report: ModuleType, restarts: ModuleType, **losses: tuple[int, ...]) -> str:
    """What is said of a daemon killed, and of one upgraded."""
    titles = dict(zip(restarts.LOSSLESS, ("killed", "upgraded"), strict=True))
    each = {title: told(restarts, *losses[name]) for title, name in titles.items()}
    console = Console(file=io.StringIO(), width=140)
    report._restarts(console, {"per_second": 1000, "rounds": 3, "restarts": each})
    text: str = console.file.getvalue()  # type: ignore[attr-defined] - it is a StringIO
    return text


def test_rounds_are_told_by_their_median_and_their_worst(restarts: ModuleType) -> None:
    found = told(restarts, 3, 40, 5)
    assert found["ready_s"] == {"median": 1.5, "worst": 1.5}
    path = found["paths"]["on the node"]
    assert (path["sent"], path["per_second"]) == (15000, 999)
    assert path["lost"] == {"median": 5, "worst": 40}
    assert path["gap_ms"] == {"median": 5.0, "worst": 40.0}


def test_one_packet_lost_in_one_round_misses_the_target(
    report: ModuleType, restarts: ModuleType
) -> None:
    text = shown(report, restarts, killed=(0, 0, 0), upgraded=(0, 0, 1))
    assert "target met: daemon killed" in text
    assert "target missed: daemon upgraded: 1 packets lost" in text
