"""How soon is a change of tenant seen by packets, and what do 10,000 namespaces cost?"""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from ipaddress import IPv4Address
from statistics import quantiles
from typing import Any

from machine import rss_mib
from scale.gateway import Gateway

from k8s_ovs_lab import Lab, LabSettings, servers
from k8s_ovs_lab.command import NETNS
from k8s_ovs_lab.layout import ETCD_PREFIX, ROUTER
from k8s_ovs_lab.process import await_that
from k8s_ovs_lab.tenants import Tenants
from k8s_ovs_testing.traffic.traffic import socket_in

__all__ = ["measure"]

_NAME = "benchten"
_BASE = f"{ETCD_PREFIX}/k8ssdn"
_PODS = 100
_CHANGES = 30
_NAMESPACES = 10_000
_FEW_PODS, _FEW_TENANTS = 30, 20
_PORT = 9000
#: Seconds: between two rounds of datagrams to all pods, and after which a silence is one.
_EVERY, _SILENCE, _LIMIT = 0.005, 0.3, 20.0


def measure(progress: Callable[[str], None]) -> dict[str, Any]:
    """{"change": ..., "namespaces": ...}, in a lab of one node that is made for it."""
    settings = LabSettings(
        _NAME, nodes=1, plugin="k8s-ovs-multitenant", config={"HostSubnetLength": 9}
    )
    lab = Lab.up(settings, report=progress)
    try:
        progress(f"a tenant with {_PODS} pods")
        lab.run_pod("node1", "probe", "other")
        for number in range(_PODS):
            lab.run_pod("node1", f"pod{number}", "many")
        progress(f"{_CHANGES} joins and isolations")
        change = _changes(lab, _CHANGES)
        for number in range(_PODS):
            lab.delete_pod(f"pod{number}", "many")
        return {"change": change, "namespaces": _namespaces(lab, progress)}
    finally:
        lab.down(progress)


def _changes(lab: Lab, count: int) -> dict[str, Any]:
    """Milliseconds from before the record is written to etcd to the last effect: for a join, until
    the last pod of the tenant hears the other one's; for an isolation, until the last datagram is
    heard."""
    tenants = Tenants(lab)
    etcd = Gateway(str(ROUTER.ip), 2379, f"{_BASE}/", lab.layout.fabric)
    pods = {each.netns: each.ip for each in lab.pods().values() if each.namespace == "many"}
    times: dict[str, list[float]] = {"join": [], "isolate": []}
    with ExitStack() as stack:
        hearing = [
            stack.enter_context(closing(_bound(netns, address)))
            for netns, address in pods.items()
            if address is not None
        ]
        netns = str(NETNS / lab.netns("other/probe"))
        saying = stack.enter_context(closing(socket_in(netns, socket.AF_INET, socket.SOCK_DGRAM)))
        targets = [each.getsockname() for each in hearing]
        for _ in range(count):
            for action, other in (("join", "other"), ("isolate", "")):
                begin = _ask(etcd, tenants, action, other)
                last = _last_effect(saying, targets, hearing, joins=action == "join")
                times[action].append((last - begin) * 1e3)
                tenants.await_settled("many")
    return {
        "pods": len(hearing),
        "changes": count,
        "ms": {action: _percentiles(each) for action, each in times.items()},
    }


def _ask(etcd: Gateway, tenants: Tenants, action: str, other: str) -> float:
    """Ask for an action; when that began (time.monotonic())."""
    net_id = tenants.net_ids()["many"]
    record = {"NetName": "many", "NetID": net_id, "Action": action, "Namespace": other}
    begin = time.monotonic()
    etcd.write({"netnamespaces/many": json.dumps(record).encode()})
    return begin


def _last_effect(
    saying: socket.socket,
    targets: Sequence[tuple[str, int]],
    hearing: Sequence[socket.socket],
    *,
    joins: bool,
) -> float:
    """Say something to all targets again and again. When the last one of them heard for the first
    time, if it joins; else when the last datagram of all was heard."""
    silent = set(hearing)
    last = began = due = time.monotonic()
    while time.monotonic() - began < _LIMIT:
        for target in targets:
            saying.sendto(b"?", target)
        due += _EVERY
        while (wait := due - time.monotonic()) > 0:
            for each in select.select(hearing, (), (), wait)[0]:
                each.recv(16)
                last = time.monotonic() if not joins or each in silent else last
                silent.discard(each)
        if joins and not silent:
            break
        if not joins and time.monotonic() - last > _SILENCE:
            return last
    _drain(hearing)
    return last


def _drain(hearing: Sequence[socket.socket]) -> None:
    while ready := select.select(hearing, (), (), 0.05)[0]:
        for each in ready:
            each.recv(16)


def _bound(netns: str, address: IPv4Address) -> socket.socket:
    channel = socket_in(str(NETNS / netns), socket.AF_INET, socket.SOCK_DGRAM)
    channel.bind((str(address), _PORT))
    return channel


def _namespaces(lab: Lab, progress: Callable[[str], None]) -> dict[str, Any]:
    """10,000 namespaces with their records; then a node with few pods of few of them starts."""
    progress(f"{_NAMESPACES} namespaces")
    kube = servers.objects(lab.layout)
    for number in range(_NAMESPACES):
        kube.ensure_namespace(f"ns{number}")
    begin = time.monotonic()
    await_that("records of all", lambda: _records(lab) >= _NAMESPACES, 120)
    behind_s = time.monotonic() - begin
    progress(f"{_FEW_PODS} pods of {_FEW_TENANTS} tenants")
    for number in range(_FEW_PODS):
        lab.run_pod("node1", f"few{number}", f"ns{number % _FEW_TENANTS}")
    lab.stop_daemon("node1")
    begin = time.monotonic()
    lab.start_daemon("node1")
    start_s = time.monotonic() - begin
    pid = servers.daemon(lab.node("node1")).pid()
    return {
        "count": _NAMESPACES,
        "records_after_last_s": round(behind_s, 1),
        "start_s": round(start_s, 2),
        "rss_mib": rss_mib(pid) if pid else None,
        "pods": _FEW_PODS,
        "tenants": _FEW_TENANTS,
        "flows": _flows(lab),
    }


def _records(lab: Lab) -> int:
    keys = lab.etcdctl("get", "--prefix", "--keys-only", f"{_BASE}/netnamespaces/")
    return len(keys.split())


def _flows(lab: Lab) -> int:
    dump = ["ovs-ofctl", "-OOpenFlow14", "dump-flows", "br0"]
    return lab.exec("node1", dump).stdout.count("cookie=")


def _percentiles(times: Sequence[float]) -> dict[str, float]:
    cuts = quantiles(times, n=100, method="inclusive")
    return {f"p{each}": round(cuts[each - 1], 1) for each in (50, 90, 99)}
