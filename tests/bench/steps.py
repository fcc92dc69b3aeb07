"""Where does the time of a call go? From the daemon's log: one line per request, one per
reconcile."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from k8s_ovs_lab import Lab, servers

__all__ = ["Log", "entries"]

#: Steps until the answer: DEL is answered as soon as the database has it.
_STEPS = {
    "ADD": ("plan", "links", "ovsdb", "flows", "ports"),
    "DEL": ("plan", "ovsdb"),
}
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
        """Median milliseconds of each step of ADD and DEL, in the order in which they happen.

        program: its start and end, and both ways over the socket; wake: from the daemon's reading
        the request until its reconcile begins, and the answer's way out; the rest is the
        reconcile's steps.
        """
        commits = self.events("commit")
        found = {}
        for command, kind in (("ADD", "adds"), ("DEL", "removes")):
            mine = [commit for commit in commits if commit[kind] == "1"]
            steps = {
                name: round(median(float(commit[f"{name}_ms"]) for commit in mine), 2)
                for name in _STEPS[command]
            }
            answered = median(
                float(each["ms"]) for each in self.events("cni") if each["command"] == command
            )
            until = median(sum(float(commit[f"{name}_ms"]) for name in steps) for commit in mine)
            whole = one_by_one[command]["ms"]["k8s-ovs"]["p50"]
            outside = {
                "program": round(whole - answered, 2),
                "wake": round(answered - until, 2),
            }
            found[command] = outside | steps
        return found


def entries(lines: Sequence[str], event: str) -> list[dict[str, str]]:
    """The fields of the log's lines that tell of `event`, and "time"."""
    found = []
    for line in lines:
        head, bracket, rest = line.partition("] ")
        if bracket and f"{rest} ".startswith(f"{event} "):
            found.append({"time": head.split()[0], **dict(_FIELD.findall(rest))})
    return found
