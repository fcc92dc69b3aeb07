"""What do n daemons ask of one etcd, and what would 5,000?

The daemons are threads with the daemon's own classes, some per process (simulated.py); etcd is
real.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.bench.machine import processor, rss_mib
from tests.bench.scale.cluster import CONFIG, Size, make_cluster, records
from tests.bench.scale.gateway import Gateway
from tests.bench.scale.meter import summary
from tests.bench.scale.simulated import WORKER
from tests.bench.scale.stage import Progress

from k8s_ovs.model.codec import encode
from k8s_ovs.model.node_status import STATUS
from k8s_ovs.model.world import USED
from k8s_ovs_lab.command import run
from k8s_ovs_lab.layout import ETCD_PREFIX
from k8s_ovs_lab.process import await_that
from k8s_ovs_multitenant.records import NETNAMESPACES, NetNamespace
from k8s_ovs_testing.servers.ending import end
from k8s_ovs_testing.servers.etcd import EtcdProcess

__all__ = ["AT", "COUNTS", "at", "measure"]

#: How many daemons at once; and for how many it is said what they would ask for.
COUNTS, AT = (50, 100, 200), 5000
_PER_PROCESS = 50
_PROGRAM = "tests.bench.scale.simulated"
_BASE = str(CONFIG["Name"])
_CHANGES = 30
#: Seconds: between two changes, until the daemons are at rest, until they have all come.
_EVERY, _CALM, _WITHIN = 1.0, 10.0, 120.0
#: Of a connection, as ss(8) tells it: what etcd has got and sent.
_BYTES = {
    "bytes in": re.compile(r"bytes_received:(\d+)"),
    "bytes out": re.compile(r"bytes_sent:(\d+)"),
}


def measure(counts: Sequence[int], seconds: float, seed: int, progress: Progress) -> dict[str, Any]:
    """{"seconds", "by_count": {n: {"start": until all have told their status, "idle": and
    "changing": etcd's figures a second, the latter with one change of a tenant a second, "rss_mib":
    etcd's}}, "at": {the same of AT daemons, on paper}}."""
    by_count = {}
    for count in counts:
        progress(f"{count} daemons and one etcd")
        with _etcd(count, seed) as (etcd, gateway):
            by_count[count] = _of_count(etcd, gateway, count, seconds)
    return {"seconds": seconds, "by_count": by_count, "at": at(by_count, AT)}


def at(by_count: Mapping[int, Any], count: int) -> dict[str, Any]:
    """Each figure of so many daemons, if it goes on as between those that were measured."""
    counts = sorted(by_count)
    found: dict[str, Any] = {}
    for phase in ("idle", "changing"):
        names = sorted(set().union(*(by_count[each][phase] for each in counts)))
        series = {name: [by_count[each][phase].get(name, 0.0) for each in counts] for name in names}
        found[phase] = {name: _line(counts, values, count) for name, values in series.items()}
    return found


def _line(counts: Sequence[int], values: Sequence[float], at_count: int) -> float:
    """The straight line with the least squares, at another place."""
    middle, level = sum(counts) / len(counts), sum(values) / len(values)
    spread = sum((each - middle) ** 2 for each in counts)
    pairs = zip(counts, values, strict=True)
    slope = sum((x - middle) * (y - level) for x, y in pairs) / spread if spread else 0.0
    return round(max(0.0, level + slope * (at_count - middle)), 1)


@contextmanager
def _etcd(count: int, seed: int) -> Iterator[tuple[EtcdProcess, Gateway]]:
    """An etcd with the records of a cluster of so many nodes, without what daemons write."""
    cluster = make_cluster(Size(count, count, count * 9 // 10, count), seed, {})
    with (
        tempfile.TemporaryDirectory(prefix="k8s-ovs-scale-") as directory,
        EtcdProcess(Path(directory)) as etcd,
    ):
        host, _, port = etcd.endpoint.rpartition("/")[2].partition(":")
        gateway = Gateway(host, int(port), f"{ETCD_PREFIX}/")
        gateway.write(records(cluster))
        for kind in (STATUS, USED):
            gateway.clear(f"{_BASE}/{kind}/")
        yield etcd, gateway


def _of_count(etcd: EtcdProcess, gateway: Gateway, count: int, seconds: float) -> dict[str, Any]:
    begin, before = time.monotonic(), _figures(etcd, gateway)
    with _daemons(etcd, count):
        await_that(
            f"statuses of {count} daemons",
            lambda: gateway.count(f"{_BASE}/{STATUS}/") >= count,
            _WITHIN,
        )
        start = {"seconds": round(time.monotonic() - begin, 1)}
        start |= _since(before, _figures(etcd, gateway), 1.0)
        time.sleep(_CALM)
        begin, before = time.monotonic(), _figures(etcd, gateway)
        time.sleep(seconds)
        idle = _since(before, _figures(etcd, gateway), time.monotonic() - begin)
        begin, before = time.monotonic(), _figures(etcd, gateway)
        told = _changes(gateway, count)
        changing = _since(before, _figures(etcd, gateway), time.monotonic() - begin)
        rss = rss_mib(etcd.pid or 0)
    return {"start": start, "idle": idle, "changing": changing, "told_s": told, "rss_mib": rss}


def _changes(gateway: Gateway, count: int) -> dict[str, float]:
    """One change a second; the seconds until all daemons have told that they have the last one."""
    revision = 0
    for number in range(_CHANGES):
        time.sleep(_EVERY)
        begin = time.monotonic()
        record = NetNamespace("project0", 5000 + number)
        revision = gateway.write({f"{_BASE}/{NETNAMESPACES}/project0": encode(record)})
    waited = []
    for number in range(count):
        path = f"{_BASE}/{STATUS}/{WORKER}{number}"
        while (found := gateway.read(path)) is None or found[0]["Revision"] < revision:
            time.sleep(0.01)
        waited.append(time.monotonic() - begin)
    return summary(waited, 2)


@contextmanager
def _daemons(etcd: EtcdProcess, count: int) -> Iterator[None]:
    # The kernel ends them with us, however we end.
    program = ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", _PROGRAM]
    program.append(f"--endpoint={etcd.endpoint}")
    processes = []
    for first in range(0, count, _PER_PROCESS):
        some = min(_PER_PROCESS, count - first)
        processes.append(
            subprocess.Popen(
                [*program, f"--first={first}", f"--count={some}"], stdout=subprocess.DEVNULL
            )
        )
    try:
        yield
    finally:
        for process in processes:
            end(process)


def _figures(etcd: EtcdProcess, gateway: Gateway) -> dict[str, float]:
    """All that etcd has got, sent and used until now. Milliseconds of its processor."""
    port = etcd.endpoint.rpartition(":")[2]
    ours = f"( sport = :{port} and dport != :{gateway.port} )"
    told = run(["ss", "--tcp", "--info", "--no-header", "--numeric", ours]).stdout
    figures = gateway.received()
    figures |= {name: sum(map(float, each.findall(told))) for name, each in _BYTES.items()}
    return figures | {"cpu ms": processor(etcd.pid or 0) * 1e3}


def _since(before: dict[str, float], after: dict[str, float], seconds: float) -> dict[str, float]:
    """A second's worth of what came in between."""
    found = {name: (after[name] - before.get(name, 0.0)) / seconds for name in after}
    return {name: round(value, 1) for name, value in found.items() if value}
