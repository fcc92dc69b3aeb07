"""Each Kubernetes node has a subnet as long as the node exists, or pods are in it.

A record below `given/` says that a subnet was given to a Kubernetes node, so it is reclaimed when
the node is deleted. Manually created subnets have none and are never reclaimed. A record below
`used/` says that a node's pods are in a subnet: it stays that node's, whatever becomes of its Node
object and of the other records. A request for a subnet (Assign) is a plugin's to answer, except
under the key of a node, which keeps what it has.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from ipaddress import IPv4Address, IPv4Network

from attrs import evolve, frozen

from k8s_ovs.builtin.node_owners import HOST, Owners, SubnetOwner, owners_to_look_at
from k8s_ovs.builtin.subnet_choice import SubnetChoice
from k8s_ovs.model.codec import decode, encode
from k8s_ovs.model.subnet import HostSubnet, subnet_problem
from k8s_ovs.model.subnet_use import SubnetUse
from k8s_ovs.model.world import GIVEN, NODES, SUBNETS, USED
from k8s_ovs.plugin.hooks import hook
from k8s_ovs.plugin.records import RecordKind
from k8s_ovs.plugin.values import Allocation, Event, Problem, Write
from k8s_ovs.plugin.view import View

__all__ = ["NodeSubnets"]


class NodeSubnets:
    """Hooks of the core that give and take back subnets."""

    @hook
    def kinds(self) -> Iterable[RecordKind]:
        return [
            RecordKind(
                SUBNETS,
                partial(decode, HostSubnet),
                encode,
                asks=lambda record: record.assign,
                holds=lambda record: record.subnet,
                exclusive="Subnet",
                check=subnet_problem,
            ),
            RecordKind(
                GIVEN,
                partial(decode, SubnetOwner),
                encode,
                indexes={HOST: _host},
                for_allocation=True,
            ),
            RecordKind(
                USED,
                partial(decode, SubnetUse),
                encode,
                holds=lambda record: record.subnet,
                leased=True,
                for_allocation=True,
            ),
        ]

    @hook
    def allocations(self, view: View) -> Iterable[Allocation | Problem]:
        owners = owners_to_look_at(view)
        yield from owners.problems
        yield from _taken_back(view, owners)
        moves = _moves(view, owners)
        for group in _groups(moves):
            yield _moved(view, group)
        # What moves is under two keys until its records have followed.
        busy = {key for move in moves for key in (move.old, move.new)}
        free = SubnetChoice(view)
        for name, address in sorted(owners.now.items()):
            if address not in busy:
                yield from _wanted(view, address, name, owners, free)
        for key, name in sorted(owners.keys().items()):
            if key not in busy:
                yield from _answered(view, key, name)


def _host(owner: SubnetOwner) -> tuple[str]:
    return (owner.host,)


@frozen
class _Move:
    """A node whose subnet is to follow it from one address to another."""

    name: str
    old: str
    new: str
    record: HostSubnet


def _taken_back(view: View, owners: Owners) -> Iterator[Allocation | Problem]:
    """Subnets of nodes that are gone: both records go together."""
    in_use = set(owners.now.values())
    for key, name in owners.of.items():
        if key in in_use:
            continue
        if name in owners.present:
            yield from _forgotten(view, owners, key)
            continue
        if name in owners.used:  # its pods have not been told that their node is gone
            continue
        unreadable = view.problem(SUBNETS, key)
        # One that contradicts another keeps nothing for anybody.
        if unreadable and not view.slot(SUBNETS, key).contradicts:
            yield Problem(f"node {name}", f"is gone, its subnet is not free: {unreadable}")
            continue
        # A request that is there already, now that the node is gone, is to be answered.
        kinds = [GIVEN] if view.request(SUBNETS, key) else [GIVEN, SUBNETS]
        writes = [_delete(view, kind, key) for kind in kinds]
        existing = tuple(write for write in writes if write.revision)
        yield Allocation(existing, f"node {name} is gone", missing=NODES)


def _forgotten(view: View, owners: Owners, key: str) -> Iterator[Allocation]:
    """The mark of a node that has its subnet elsewhere, where somebody deleted the old record: the
    address is anybody's now."""
    gone = view.subnet(key) is None and not view.problem(SUBNETS, key)
    if gone and owners.left(key):
        told = f"node {owners.of[key]} has left {key}"
        yield Allocation((_delete(view, GIVEN, key),), told)


def _moves(view: View, owners: Owners) -> list[_Move]:
    """Nodes at another address than their subnet, to which it can follow them."""
    moves: dict[str, _Move] = {}
    for old, name in sorted(owners.of.items()):
        new, record = owners.now.get(name, old), view.subnet(old)
        if new == old or owners.of.get(new) == name or record is None or record.subnet is None:
            continue
        there = view.subnet(new)
        # A record that a person wrote for the new address counts for more.
        if new in owners.of or there is None or there.subnet is None:
            moves[name] = _Move(name, old, new, record)
    while stuck := [each for each in moves.values() if not _makes_way(each.new, owners, moves)]:
        for move in stuck:
            del moves[move.name]
    return list(moves.values())


def _makes_way(key: str, owners: Owners, moves: Mapping[str, _Move]) -> bool:
    return key not in owners.of or owners.left(key) or owners.of[key] in moves


def _groups(moves: Iterable[_Move]) -> list[list[_Move]]:
    """Moves that must be made together, since one goes where another one leaves."""
    groups: list[list[_Move]] = []
    for move in moves:
        ends = {move.old, move.new}
        touching = [each for each in groups if any(ends & {m.old, m.new} for m in each)]
        groups = [each for each in groups if each not in touching]
        groups.append([move, *(one for each in touching for one in each)])
    return groups


def _moved(view: View, group: list[_Move]) -> Allocation | Problem:
    told = ", ".join(f"node {move.name} moved from {move.old} to {move.new}" for move in group)
    keys = sorted({key for move in group for key in (move.old, move.new)})
    for key in keys:
        if unreadable := view.problem(SUBNETS, key):
            return Problem(told, f"and its subnet cannot: {unreadable}")
    writes = []
    for move in group:
        new = move.record.moved(IPv4Address(move.new))
        writes.append(Write(SUBNETS, move.new, new, view.revision(SUBNETS, move.new)))
        writes.append(_mark(view, move.new, move.name))
    for key in keys:
        if key not in {move.new for move in group}:
            writes += [_delete(view, SUBNETS, key), _delete(view, GIVEN, key)]
    return Allocation(tuple(writes), told)


def _wanted(
    view: View, address: str, name: str, owners: Owners, free: SubnetChoice
) -> Iterator[Allocation | Problem]:
    """What must be written so that the node `name`, which does not move, has a subnet."""
    record, owner = view.subnet(address), owners.of.get(address)
    used = owners.used.get(name)
    if record is not None and record.subnet is not None:
        if owner is None or (owner != name and owners.left(address)):
            yield Allocation((_mark(view, address, name),), f"node {name} has its record")
        elif owner != name:
            yield Problem(f"node {name}", f"has the address {address}, where node {owner} was")
        elif used is not None and not used.overlaps(record.subnet):
            yield _back(view, name, address, record, free.of(name, address))
        elif used is not None and view.slot(SUBNETS, address).contradicts:
            yield _back(view, name, address, record, record.subnet)
    elif record is None and (unreadable := view.problem(SUBNETS, address)):
        yield Problem(f"node {name}", f"has no subnet: {unreadable}")
    elif isinstance(subnet := free.of(name, address), str):
        yield Problem(f"node {name}", f"has no subnet: {subnet}")
    else:
        yield _joined(view, name, address, record, subnet)


def _back(
    view: View, name: str, address: str, record: HostSubnet, subnet: IPv4Network | str
) -> Allocation | Problem:
    """The subnet that the node's pods are in, although its record says another one."""
    if isinstance(subnet, str):
        return Problem(f"node {name}", f"has {record.subnet}: {subnet}")
    new = evolve(record, subnet=subnet, reason=None)
    write = Write(SUBNETS, address, new, view.revision(SUBNETS, address))
    told = f"has pods in {subnet}, and its record said otherwise"
    event = Event("Node", name, "SubnetRecordPutBack", f"subnets/{address}: the node {told}")
    return Allocation((write,), f"node {name} {told}", event=event)


def _joined(
    view: View, name: str, address: str, record: HostSubnet | None, subnet: IPv4Network
) -> Allocation:
    request: HostSubnet | None = view.request(SUBNETS, address)
    new = request or record or HostSubnet(name, IPv4Address(address))
    # Nodes have subnets of one size, from the lowest one up.
    refused = request is not None and (request.subnet or request.host_subnet_length) is not None
    whole = evolve(
        new,
        host_ip=IPv4Address(address),
        subnet=subnet,
        assign=False,
        reason=_is_nodes(address, name) if refused else None,
    )
    writes = (
        Write(SUBNETS, address, whole, view.revision(SUBNETS, address)),
        _mark(view, address, name),
    )
    return Allocation(writes, f"node {name} joined")


def _answered(view: View, key: str, name: str) -> Iterator[Allocation]:
    """The refusal of what is asked for under a key of the node `name`, which has its subnet."""
    record = view.subnet(key)
    if view.request(SUBNETS, key) is None or record is None or record.subnet is None:
        return
    reason = _is_nodes(key, name)
    answer = evolve(record, assign=False, reason=reason)
    write = Write(SUBNETS, key, answer, view.revision(SUBNETS, key))
    yield Allocation((write,), f"subnet for {key} refused: {reason}")


def _is_nodes(address: str, name: str) -> str:
    return f"{address} is the address of node {name}"


def _mark(view: View, address: str, name: str) -> Write:
    return Write(GIVEN, address, SubnetOwner(name), view.revision(GIVEN, address))


def _delete(view: View, kind: str, key: str) -> Write:
    return Write(kind, key, None, view.revision(kind, key))
