"""The benchmark of limits: what its streams ask for, and how they are judged."""

from __future__ import annotations

import importlib
import io
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from rich.console import Console

BENCH = Path(__file__).parents[1] / "bench"
PACE = 200_000_000


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return bench(monkeypatch, "load")


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return bench(monkeypatch, "shaping_report")


def bench(monkeypatch: pytest.MonkeyPatch, name: str) -> ModuleType:
    """A module of the benchmark, whose modules import each other by their bare names."""
    monkeypatch.syspath_prepend(str(BENCH))
    return importlib.import_module(name)


def bitrates(load: ModuleType, **fields: Any) -> list[str]:
    """What iperf3 is told to ask for, with a limit of 10M."""
    asked = load.Load(**{"seconds": 4, "rate": 10_000_000, **fields})
    words = load.iperf_client(load.Place("netns", "10.128.0.2"), asked)
    return [word for word in words if word.startswith("--bitrate")]


def test_tcp_takes_all_it_can_get_unless_it_has_a_pace(load: ModuleType) -> None:
    assert bitrates(load, protocol="tcp", streams=1) == []
    assert bitrates(load, protocol="tcp", streams=1, pace=PACE) == ["--bitrate=200000000"]


def test_streams_at_once_share_what_is_asked_for(load: ModuleType) -> None:
    assert bitrates(load, protocol="tcp", streams=8, pace=PACE) == ["--bitrate=25000000"]
    assert bitrates(load, protocol="udp", streams=8, offered=2.0) == ["--bitrate=2500000"]


def beside(pace: int | None, ratio: float, processors: float) -> dict[str, Any]:
    """The figures of one stream beside a limited pod, as neighbour.measure tells them."""
    return {
        "pace": pace,
        "protocol": "tcp",
        "direction": "to pod",
        "alone": 800_000_000,
        "beside": 800_000_000,
        "limited": 10_000_000,
        "ratio": ratio,
        "processors": processors,
    }


def verdicts(report: ModuleType, *runs: dict[str, Any]) -> list[tuple[str, str]]:
    """Whether the two targets of streams beside a limited pod are met, and in which runs."""
    tcp = {
        "subject": "k8s-ovs",
        "rate": "10M",
        "direction": "to pod",
        "protocol": "tcp",
        "streams": 1,
        "bits_per_second": 9_550_000,
        "first_second": 9_550_000,
        "ceiling": 0.955,
        "retransmits": 0,
        "refused": 0,
        "congestion_control": "bbr",
        "ping_ms": {"p50": 1.0, "p99": 2.0},
    }
    said = io.StringIO()
    report.show(
        Console(file=said, width=400),
        {
            "fair_queue": "fq",
            "unlimited": {"k8s-ovs": {"1": 800_000_000}},
            "runs": [tcp],
            "beside": list(runs),
            "live": {"changes": []},
        },
    )
    lines = [line for line in said.getvalue().splitlines() if line.startswith("target")]
    return [(line.split()[1], line.rpartition(", ")[2].rstrip()) for line in lines[-2:]]


def test_what_the_limited_pods_programs_take_excuses_only_the_stream_that_takes_all(
    report: ModuleType,
) -> None:
    assert verdicts(report, beside(None, 0.94, 0.02), beside(PACE, 0.98, 0.02)) == [
        ("met:", "1 of 1 runs"),
        ("missed:", "in 1 of 1: tcp to pod: 0.98"),
    ]


def test_each_kind_of_stream_is_judged_by_its_own_target(report: ModuleType) -> None:
    assert verdicts(report, beside(None, 0.94, 0.0), beside(PACE, 0.99, 0.0)) == [
        ("missed:", "in 1 of 1: tcp to pod: 0.94"),
        ("met:", "1 of 1 runs"),
    ]
