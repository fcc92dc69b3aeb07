"""What has a process used, and what has a node sent to etcd and to the API server?"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from statistics import median
from typing import Any

from attrs import frozen
from tests.bench.scale.gateway import Gateway, samples

from k8s_ovs_lab.command import run

__all__ = ["Counts", "Traffic", "summary"]

_TABLE = "scale"
_PORTS = {"etcd": 2379, "kube": 6443}
_REQUESTS = "apiserver_request_total"


def summary(values: list[float], digits: int = 1) -> dict[str, float]:
    """Median and worst."""
    return {"median": round(median(values), digits), "worst": round(max(values), digits)}


@frozen
class Counts:
    """requests: by server and kind, "etcd Range" or "kube LIST nodes". octets: on the wire, by
    server and direction, "etcd in": from the node to it."""

    requests: Mapping[str, float]
    octets: Mapping[str, float]

    def since(self, before: Counts, seconds: float) -> dict[str, Any]:
        """A minute's worth of what has come since."""
        return {
            "requests": _per_minute(before.requests, self.requests, seconds),
            "bytes": _per_minute(before.octets, self.octets, seconds),
        }


class Traffic:
    """Counts what comes from one node. netns: the fabric, where both servers are. page: the API
    server's page for Prometheus."""

    def __init__(self, netns: str, gateway: Gateway, page: Callable[[], str]) -> None:
        self._netns = netns
        self._gateway = gateway
        self._page = page

    @contextmanager
    def counted(self, address: str) -> Iterator[None]:
        """Count meanwhile what the node of this address sends and gets."""
        run(["nft", "-f", "-"], netns=self._netns, text=_rules(address))
        try:
            yield
        finally:
            run(["nft", "delete", "table", "inet", _TABLE], netns=self._netns)

    def now(self) -> Counts:
        """As `counted` has counted until now."""
        said = run(["nft", "-j", "list", "counters", "table", "inet", _TABLE], netns=self._netns)
        counters = [
            each["counter"] for each in json.loads(said.stdout)["nftables"] if "counter" in each
        ]
        octets = {each["name"].replace("_", " "): float(each["bytes"]) for each in counters}
        etcd = self._gateway.received()
        kube = {
            f"kube {labels['verb']} {labels['resource']}".strip(): value
            for name, labels, value in samples(self._page())
            if name == _REQUESTS and _is_of_daemon(labels["verb"], labels["resource"])
        }
        return Counts({f"etcd {name}": count for name, count in etcd.items()} | kube, octets)


def _is_of_daemon(verb: str, resource: str) -> bool:
    """A daemon reads, and tells of events; what else is written the benchmark has written."""
    return verb in ("GET", "LIST", "WATCH") or resource == "events"


def _per_minute(
    before: Mapping[str, float], after: Mapping[str, float], seconds: float
) -> dict[str, float]:
    found = {name: (after[name] - before.get(name, 0.0)) * 60 / seconds for name in sorted(after)}
    return {name: round(value, 1) for name, value in found.items() if value}


def _rules(address: str) -> str:
    """Counters of each server, both ways."""
    lines = [f"table inet {_TABLE} {{"]
    lines += [f"counter {name}_{way} {{ }}" for name in _PORTS for way in ("in", "out")]
    for way, hook, side, port in (
        ("in", "input", "saddr", "dport"),
        ("out", "output", "daddr", "sport"),
    ):
        lines.append(f"chain {way}_ {{ type filter hook {hook} priority -300;")
        for name, number in _PORTS.items():
            lines.append(f"ip {side} {address} tcp {port} {number} counter name {name}_{way}")
        lines.append("}")
    return "\n".join([*lines, "}", ""])
