"""What is known about external hosts, as values for people: which subnet, what is wrong, which run.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from ipaddress import IPv4Network
from typing import Any

from attrs import asdict, evolve, frozen

from k8s_ovs.plugin import GIVEN, SUBNETS, HostSubnet, K8sOvsError, Slot, View, address_order
from k8s_ovs.plugin.command.cluster import NodeStatus
from k8s_ovs_extlb.records import EXTERNAL, External

__all__ = ["HEAD", "Host", "as_cells", "as_json", "host", "hosts", "with_life"]

HEAD = ("HOST", "ADDRESS", "SUBNET", "STATE", "SEEN", "VERSION", "APPLIED")

_NONE = "-"


@frozen
class Host:
    """An external host.

    state: ok, waiting (for an answer), refused, quarantined, or idle: it has no subnet and requests
    none. problem: why it is refused or quarantined; empty: it is not. live: its daemon runs. seen:
    when it last reported (RFC 3339, UTC); None: never. version, applied: its daemon's, and etcd's
    revision that its flows reflect, in its last report. behind: how far it is behind others.
    """

    name: str
    address: str
    subnet: IPv4Network | None
    state: str
    problem: str = ""
    live: bool = False
    seen: str | None = None
    version: str | None = None
    applied: int | None = None
    behind: int = 0


def hosts(view: View) -> list[Host]:
    """All hosts with a record that are no nodes of Kubernetes, by address."""
    nodes, known, slots = view.all(GIVEN), view.all(EXTERNAL), view.slots(SUBNETS)
    keys = sorted(slots.keys() - nodes.keys(), key=address_order)
    return [_host(key, slots[key], known.get(key)) for key in keys]


def host(found: Iterable[Host], wanted: str) -> Host:
    """The one of this name or address. Raises K8sOvsError where there is none, or more than one."""
    fitting = [each for each in found if wanted in (each.name, each.address)]
    if not fitting:
        raise K8sOvsError(
            f"no external host has the name or address {wanted}; k8s-ovs external list shows all"
        )
    if len(fitting) > 1:
        known = ", ".join(each.address for each in fitting)
        raise K8sOvsError(f"host {wanted} is at {known}: name one of these addresses")
    return fitting[0]


def with_life(
    found: Iterable[Host], live: Iterable[NodeStatus], seen: Iterable[NodeStatus]
) -> list[Host]:
    """Adds what their daemons report. live: of all nodes."""
    statuses = list(live)
    newest = max((each.revision for each in statuses), default=0)
    by_address = {each.host_ip: each for each in statuses}
    remembered = {each.host_ip: each for each in seen}
    return [
        _alive(each, by_address.get(each.address), remembered.get(each.address), newest)
        for each in found
    ]


def as_cells(each: Host, now: datetime) -> tuple[str, ...]:
    """A row of the table whose head is HEAD."""
    applied = _NONE if each.applied is None else str(each.applied)
    if each.live and each.behind:
        applied += f" ({each.behind} behind)"
    return (
        each.name,
        each.address,
        str(each.subnet or _NONE),
        each.state,
        "now" if each.live else _ago(each.seen, now),
        each.version or _NONE,
        applied,
    )


def as_json(each: Host) -> dict[str, Any]:
    """A host as JSON values."""
    return asdict(each)


def _host(key: str, slot: Slot, known: External | None) -> Host:
    settled: HostSubnet | None = slot.settled
    request: HostSubnet | None = slot.asked
    record = settled or request
    name = record.host if record else known.host if known else "?"
    subnet = settled.subnet if settled else None
    if slot.problem is not None:
        return Host(name, key, subnet, "quarantined", slot.problem)
    if request is not None:
        return Host(request.host, key, subnet, "waiting")
    if settled is not None and settled.reason:
        return Host(name, key, subnet, "refused", settled.reason)
    return Host(name, key, subnet, "ok" if subnet else "idle")


def _alive(each: Host, live: NodeStatus | None, seen: NodeStatus | None, newest: int) -> Host:
    last = live or seen
    if last is None:
        return each
    return evolve(
        each,
        live=live is not None,
        seen=seen.seen if seen else None,
        version=last.version,
        applied=last.revision,
        behind=newest - last.revision if live else 0,
    )


def _ago(seen: str | None, now: datetime) -> str:
    """How long ago that was, in the largest unit that there is one of; "?": it is no time."""
    if seen is None:
        return "never"
    try:
        when = datetime.fromisoformat(seen)
    except ValueError:
        return "?"
    seconds = max(int((now - when.replace(tzinfo=when.tzinfo or UTC)).total_seconds()), 0)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit} ago"
    return f"{seconds} s ago"
