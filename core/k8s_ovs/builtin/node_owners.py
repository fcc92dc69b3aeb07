"""Whose is which key of a subnet, and about which nodes is there anything to do?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from attrs import field, frozen

from k8s_ovs.builtin.subnet_choice import used_subnet
from k8s_ovs.model.codec import named
from k8s_ovs.model.node import KubeNode
from k8s_ovs.model.world import GIVEN, NODES, SUBNETS
from k8s_ovs.plugin.values import Problem
from k8s_ovs.plugin.view import View

__all__ = ["HOST", "Owners", "SubnetOwner", "owners_to_look_at"]

#: Index of GIVEN by whom it was given to.
HOST = "host"


@frozen
class SubnetOwner:
    """To which Kubernetes node the subnet under the same key was given."""

    host: str = named("Host")
    extra: Mapping[str, Any] = field(factory=dict)


@frozen
class Owners:
    """Whose is which key, and where are they now?

    of: node's name by key. now: address by name, of nodes that can have a subnet. present: names
    of nodes that exist. used: what the pods of each node are in, by its name. problems: of nodes
    that cannot have one.
    """

    of: Mapping[str, str]
    now: Mapping[str, str]
    present: frozenset[str]
    used: Mapping[str, IPv4Network]
    problems: tuple[Problem, ...] = ()

    def keys(self) -> dict[str, str]:
        """Nodes by the keys that are theirs: their addresses now, and where they were given one."""
        given = {key: name for key, name in self.of.items() if name in self.present}
        return given | {address: name for name, address in self.now.items()}

    def left(self, key: str) -> bool:
        """Whether the owner of `key` is gone, or has its subnet under its new address already."""
        owner = self.of[key]
        return owner not in self.present or self.of.get(self.now.get(owner, "")) == owner


def owners_to_look_at(view: View) -> Owners:
    """Those about whom there is something to do, and all with whom they share an address."""
    names, keys = set(view.each(_is_unsettled, NODES)), set(view.each(_is_left, GIVEN))
    new_names, new_keys = names, keys
    while new_names or new_keys:
        new_names = {name for key in new_keys for name in _names_at(view, key)} - names
        names |= new_names
        new_keys = {key for name in names for key in _keys_of(view, name)} - keys
        keys |= new_keys
    return _owners_in(view, names, keys)


def _owners_in(view: View, names: Iterable[str], keys: Iterable[str]) -> Owners:
    """What is known of these nodes and keys."""
    given = {key: owner for key in keys if (owner := view.get(GIVEN, key)) is not None}
    found = [node for name in names if (node := view.get(NODES, name)) is not None]
    nodes, problems = _nodes_by_address(view, found)
    used = {name: subnet for name in names if (subnet := used_subnet(view, name)) is not None}
    return Owners(
        {key: owner.host for key, owner in given.items()},
        {node.name: address for address, node in nodes.items()},
        frozenset(node.name for node in found),
        used,
        tuple(problems),
    )


def _keys_of(view: View, name: str) -> Iterator[str]:
    node: KubeNode | None = view.get(NODES, name)
    yield from map(str, node.addresses if node else ())
    yield from view.having(GIVEN, HOST, name)


def _names_at(view: View, key: str) -> Iterator[str]:
    owner: SubnetOwner | None = view.get(GIVEN, key)
    if owner is not None:
        yield owner.host
    yield from view.nodes_at(key)


def _is_unsettled(view: View, name: str) -> bool | None:
    """True: there is something to do about this node, or to tell; None: there is not."""
    node: KubeNode | None = view.get(NODES, name)
    address = None if node is None else _address(view, node)
    key = str(address)
    if address is None or address in view.config.network:
        return True
    others = [other for other in view.nodes_at(key) if other != name]
    if others or view.having(GIVEN, HOST, name).keys() != {key}:
        return True
    slot, used = view.slot(SUBNETS, key), used_subnet(view, name)
    record = slot.settled
    if record is None or record.subnet is None:
        return True
    return True if used and (slot.contradicts or not used.overlaps(record.subnet)) else None


def _is_left(view: View, key: str) -> bool | None:
    """True: a key was given to a node that is not there, or that is asked for; None: it is well."""
    owner: SubnetOwner = view.get(GIVEN, key)
    if owner is None or view.get(NODES, owner.host) is not None:
        return True if view.request(SUBNETS, key) is not None else None
    return True if used_subnet(view, owner.host) is None else None


def _nodes_by_address(
    view: View, found: Iterable[KubeNode]
) -> tuple[dict[str, KubeNode], list[Problem]]:
    """Nodes that can have a subnet; of two at one address the one that has its subnet there."""
    nodes: dict[str, KubeNode] = {}
    problems = []
    addresses = {node.name: _address(view, node) for node in found}

    def standing(node: KubeNode) -> tuple[bool, str]:
        return not _is_given(view, addresses[node.name], node.name), node.name

    for node in sorted(found, key=standing):
        subject, address = f"node {node.name}", addresses[node.name]
        if address is None:
            problems.append(Problem(subject, "has no IPv4 InternalIP in its status yet"))
        elif str(address) in nodes:
            other = nodes[str(address)].name
            problems.append(Problem(subject, f"has the address {address} of node {other}"))
        elif address in view.config.network:
            inside = f"InternalIP {address} is inside Network {view.config.network}"
            problems.append(Problem(subject, inside))
        else:
            nodes[str(address)] = node
    return nodes, problems


def _address(view: View, node: KubeNode) -> IPv4Address | None:
    """Of several InternalIPs the one under which the node has its subnet: their order may change
    at any time, and its tunnels must not."""
    has = (each for each in node.addresses if _is_given(view, each, node.name))
    return next(has, node.addresses[0] if node.addresses else None)


def _is_given(view: View, address: IPv4Address | None, name: str) -> bool:
    owner: SubnetOwner | None = view.get(GIVEN, str(address))
    return owner is not None and owner.host == name
