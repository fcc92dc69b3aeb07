"""The core's own allocations: each Kubernetes node has a subnet as long as it is there.

A record below `given/` says that a subnet was given to a Kubernetes node, so it is taken back when
the node is gone. Records that people write for other hosts have none and are left alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from attrs import evolve, field, frozen

from k8s_ovs.model.codec import decode, encode, named
from k8s_ovs.model.node import KubeNode
from k8s_ovs.model.subnet import HostSubnet, free_subnets
from k8s_ovs.plugin.spec import Allocation, Kind, Problem, Write, hook
from k8s_ovs.plugin.view import GIVEN, QUARANTINE, SUBNETS, View

__all__ = ["NODE_SUBNETS", "Given", "NodeSubnets"]

#: The name under which these hooks run.
NODE_SUBNETS = "node-subnets"


@frozen
class Given:
    """To which Kubernetes node the subnet under the same key was given."""

    host: str = named("Host")
    extra: Mapping[str, Any] = field(factory=dict)


class NodeSubnets:
    """Hooks of the core that give and take back subnets."""

    @hook
    def kinds(self) -> Iterable[Kind]:
        return [
            Kind(SUBNETS, partial(decode, HostSubnet), encode),
            Kind(GIVEN, partial(decode, Given), encode),
        ]

    @hook
    def allocations(self, view: View) -> Iterable[Allocation | Problem]:
        nodes, problems = _nodes_by_address(view)
        yield from problems
        given: Mapping[str, Given] = view.all(GIVEN)
        moving = {record.host: key for key, record in given.items() if key not in nodes}
        present = {node.name for node in view.nodes().values()}
        yield from _taken_back(view, given, nodes, present)
        taken = [each.subnet for each in view.subnets().values() if each.subnet is not None]
        free = free_subnets(view.config, taken)
        for address, node in sorted(nodes.items(), key=lambda each: each[1].name):
            yield from _wanted(
                view, address, node, moving.get(node.name), present=present, free=free
            )


def _nodes_by_address(view: View) -> tuple[dict[str, KubeNode], list[Problem]]:
    nodes: dict[str, KubeNode] = {}
    problems = []
    for _, node in sorted(view.nodes().items()):
        subject = f"node {node.name}"
        if node.address is None:
            problems.append(Problem(subject, "has no IPv4 InternalIP in its status yet"))
        elif str(node.address) in nodes:
            other = nodes[str(node.address)].name
            problems.append(Problem(subject, f"has the address {node.address} of node {other}"))
        elif node.address in view.config.network:
            inside = f"InternalIP {node.address} is inside Network {view.config.network}"
            problems.append(Problem(subject, inside))
        else:
            nodes[str(node.address)] = node
    return nodes, problems


def _taken_back(
    view: View, given: Mapping[str, Given], nodes: Mapping[str, KubeNode], present: set[str]
) -> Iterator[Allocation | Problem]:
    """Subnets of nodes that are gone: both records go together."""
    for key, record in given.items():
        if record.host in present or key in nodes:
            continue
        if unreadable := _unreadable(view, key):
            yield Problem(f"node {record.host}", f"is gone, its subnet is not free: {unreadable}")
            continue
        writes = (_delete(view, GIVEN, key), _delete(view, SUBNETS, key))
        existing = tuple(write for write in writes if write.revision)
        yield Allocation(existing, f"node {record.host} is gone")


def _wanted(
    view: View,
    address: str,
    node: KubeNode,
    old: str | None,
    *,
    present: set[str],
    free: Iterator[IPv4Network],
) -> Iterator[Allocation | Problem]:
    """What must be written so that `node`, which had `old` as address, has a subnet."""
    record = view.subnet(address)
    given: Given | None = view.get(GIVEN, address)
    has_subnet = record is not None and record.subnet is not None
    inherited = given is not None and given.host not in present
    before = view.subnet(old) if old else None
    if old and before and before.subnet and (inherited or not has_subnet):
        yield _moved(view, node, old, address, before)
    elif has_subnet:
        if given is None or given.host != node.name:
            yield Allocation((_mark(view, address, node),), f"node {node.name} has its record")
    elif record is None and (unreadable := _unreadable(view, address)):
        yield Problem(f"node {node.name}", f"has no subnet: {unreadable}")
    elif (subnet := next(free, None)) is None:
        full = f"has no subnet: all of Network {view.config.network} are taken"
        yield Problem(f"node {node.name}", full)
    else:
        yield _joined(view, node, address, record, subnet)


def _moved(
    view: View, node: KubeNode, old: str, address: str, before: HostSubnet
) -> Allocation | Problem:
    for key in (old, address):
        if unreadable := _unreadable(view, key):
            moved = f"has moved from {old} to {address}, which its subnet cannot"
            return Problem(f"node {node.name}", f"{moved}: {unreadable}")
    new = before.moved(IPv4Address(address))
    writes = (
        Write(SUBNETS, address, new, view.revision(SUBNETS, address)),
        _mark(view, address, node),
        _delete(view, SUBNETS, old),
        _delete(view, GIVEN, old),
    )
    return Allocation(writes, f"node {node.name} moved from {old} to {address}")


def _joined(
    view: View, node: KubeNode, address: str, record: HostSubnet | None, subnet: IPv4Network
) -> Allocation:
    new = record or HostSubnet(node.name, IPv4Address(address))
    whole = evolve(new, subnet=subnet, assign=False)
    writes = (
        Write(SUBNETS, address, whole, view.revision(SUBNETS, address)),
        _mark(view, address, node),
    )
    return Allocation(writes, f"node {node.name} joined")


def _unreadable(view: View, key: str) -> str | None:
    """Why the subnet record under `key` is not taken; what is written there is not known then."""
    reason: str | None = view.get(QUARANTINE, f"{SUBNETS}/{key}")
    return reason


def _mark(view: View, address: str, node: KubeNode) -> Write:
    return Write(GIVEN, address, Given(node.name), view.revision(GIVEN, address))


def _delete(view: View, kind: str, key: str) -> Write:
    return Write(kind, key, None, view.revision(kind, key))
