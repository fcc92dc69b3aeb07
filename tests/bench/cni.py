"""How fast are ADD and DEL, one by one and many at once, of both subjects in the same minutes?

Both alternate, so that other load of the machine meets both; ratios are taken within one round.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import median, quantiles
from typing import Any

from calls import run_burst, run_one
from subjects import Subject, devices, settle

__all__ = ["bursts", "one_by_one"]

#: Seconds between two calls, so that what the one leaves to be done later is not the other's.
_PAUSE_S = 0.03


def one_by_one(subjects: Sequence[Subject], count: int) -> dict[str, Any]:
    """{"ADD": {title: percentiles in ms}, "DEL": ...} of `count` pods of each subject."""
    found: dict[str, dict[str, list[float]]] = {}
    for command in ("ADD", "DEL"):
        times: dict[str, list[float]] = {each.title: [] for each in subjects}
        for number in range(count):
            for subject in subjects:
                times[subject.title].append(run_one(subject.call(command, number)))
                time.sleep(_PAUSE_S)
        found[command] = times
    return {command: _compared(times) for command, times in found.items()}


def bursts(subjects: Sequence[Subject], count: int, at_once: int, rounds: int) -> dict[str, Any]:
    """{"ADD": {title: calls per second, ms, processor_ms}, "DEL": ...}; each pod comes and goes in
    each round. processor_ms: of a pod, with what is done after the answer."""
    rates: dict[str, dict[str, list[float]]] = {"ADD": {}, "DEL": {}}
    times: dict[str, dict[str, list[float]]] = {"ADD": {}, "DEL": {}}
    spent: dict[str, dict[str, list[float]]] = {"ADD": {}, "DEL": {}}
    idle = {each.title: devices(each) for each in subjects}
    for turn in range(1, rounds + 1):
        for command in ("ADD", "DEL"):
            for subject in subjects:
                calls = [subject.call(command, number, turn) for number in range(count)]
                before = subject.processor()
                burst = run_burst(calls, at_once)
                rates[command].setdefault(subject.title, []).append(burst.per_second)
                times[command].setdefault(subject.title, []).extend(burst.ms)
                if command == "DEL":
                    settle(subject, idle[subject.title])
                time.sleep(_PAUSE_S)
                each = (subject.processor() - before) / count * 1e3
                spent[command].setdefault(subject.title, []).append(each)
    return {
        command: {
            "processor_ms": {title: round(median(it), 1) for title, it in spent[command].items()},
            "per_second": {title: round(median(each), 1) for title, each in rates[command].items()},
            "ratio": round(median(_ratios(rates[command])), 2),
            "ratios": [round(each, 2) for each in _ratios(rates[command])],
            "ms": {title: _percentiles(each) for title, each in times[command].items()},
        }
        for command in rates
    }


def _compared(times: dict[str, list[float]]) -> dict[str, Any]:
    ours, theirs = (median(each) for each in times.values())
    return {
        "ms": {title: _percentiles(each) for title, each in times.items()},
        "ratio": round(ours / theirs, 2),
    }


def _ratios(rates: dict[str, list[float]]) -> list[float]:
    ours, theirs = rates.values()
    return [our / their for our, their in zip(ours, theirs, strict=True)]


def _percentiles(times: Sequence[float]) -> dict[str, float]:
    cuts = quantiles(times, n=100, method="inclusive")
    return {f"p{each}": round(cuts[each - 1], 1) for each in (50, 90, 99)}
