"""Where does the time of a call go? From the daemon's own log: one line a request, one a turn."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from k8s_ovs.lab import Lab
from k8s_ovs.lab import servers

__all__ = ["Log", "entries"]

_FIELD = re.compile(r"(\w+)=(\S+)")


class Log:
    """The log of the lab's first node's daemon from now on."""

    def __init__(self, lab: Lab) -> None:
        self.path: Path = servers.daemon(lab.nodes[0]).log
        self.forget()

    def forget(self) -> None:
        """From now on."""
        self._from = self.path.stat().st_size

    def events(self, event: str) -> list[dict[str, str]]:
        """The fields of each line of an event since then."""
        with self.path.open("rb") as file:
            file.seek(self._from)
            return entries(file.read().decode().splitlines(), event)

    def steps(self, one_by_one: dict[str, Any]) -> dict[str, Any]:
        """Median milliseconds of each step of ADD and DEL, in the order in which they happen."""
        turns = self.events("commit")
        found = {}
        for command, kind in (("ADD", "adds"), ("DEL", "removes")):
            whole = one_by_one[command]["ms"]["k8s-ovs"]["p50"]
            mine = [turn for turn in turns if turn.get(kind) == "1"]
            found[command] = {"program": 0.0, "wake": 0.0} | _medians(mine)
            answered = median(
                float(each["ms"]) for each in self.events("cni") if each["command"] == command
            )
            found[command]["program"] = round(whole - answered, 1)
            turn = float(medianX)
            found[command]["wake"] = round(answered - turn, 2)
        return found


def entries(lines: Sequence[str], event: str) -> list[dict[str, str]]:
    """The fields of the log's lines that tell of `event`."""
    found = []
    for line in lines:
        _, bracket, rest = line.partition("] ")
        if bracket and rest.split(None, 1)[:1] == [event]:
            found.append(dict(_FIELD.findall(rest)))
    return found


def _medians(turns: Sequence[dict[str, str]]) -> dict[str, float]:
    names = [name for name in turns[0] if name.endswith("_ms") and name != "answered_ms"]
    return {
        name.removesuffix("_ms"): round(median(float(turn[name]) for turn in turns), 2)
        for name in names
    }
