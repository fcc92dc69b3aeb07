"""Which subnet can a node be given? Its pods', the one that it had, or the lowest free one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from ipaddress import IPv4Network
from itertools import chain, islice

from k8s_ovs.model.network import NetworkConfig
from k8s_ovs.model.subnet import free_subnets
from k8s_ovs.model.subnet_use import SubnetUse
from k8s_ovs.model.world import SUBNETS, USED
from k8s_ovs.plugin.view import View

__all__ = ["SubnetChoice", "used_subnet"]

#: What is free is remembered for each block of Network of this size, so many of it.
_BLOCK_PREFIX, _MANY = 16, 64


def used_subnet(view: View, name: str) -> IPv4Network | None:
    """What the pods of a node are in; None: nothing."""
    use: SubnetUse | None = view.get(USED, name)
    return use.subnet if use is not None and use.host == name else None


def _blocks(config: NetworkConfig) -> Iterable[IPv4Network]:
    """Parts of Network, each with room for a node at least."""
    wide = min(_BLOCK_PREFIX, config.node_prefix)
    return config.network.subnets(new_prefix=max(config.network.prefixlen, wide))


def _first_free_in(view: View, block: IPv4Network) -> tuple[IPv4Network, ...]:
    return tuple(islice(free_subnets(view.config, view.taken_near(block), within=block), _MANY))


def _next_free(view: View) -> tuple[IPv4Network, ...]:
    """The lowest ones that are free, some of them."""
    found = (view.ask(_first_free_in, block) for block in _blocks(view.config))
    return next(filter(None, found), ())


class SubnetChoice:
    """What is free in one reconcile; each subnet is given once."""

    def __init__(self, view: View) -> None:
        self._view = view
        # Asked for always, as what nobody asks for is not remembered.
        self._next = view.ask(_next_free)

    @cached_property
    def _had(self) -> dict[str, IPv4Network]:
        """What a node had until a moment ago is for that node, should it come back."""
        return {
            each.value.host: each.value.subnet
            for each in self._view.deleted(SUBNETS).values()
            if each.by_leader and each.value is not None and each.value.subnet is not None
        }

    @cached_property
    def _free(self) -> Iterator[IPv4Network]:
        """Lowest first: those that are known to be next, then the others."""
        had = tuple(self._had.values())
        for subnet in chain(self._next, self._others_free()):
            if not any(each.overlaps(subnet) for each in had):
                yield subnet

    def _others_free(self) -> Iterator[IPv4Network]:
        """These take a look at all records, so only where nothing else is left."""
        for subnet in free_subnets(self._view.config, self._view.taken()):
            if subnet not in self._next:
                yield subnet

    def of(self, name: str, address: str) -> IPv4Network | str:
        """A subnet for the node `name`, or why it cannot have one."""
        network = self._view.config.network
        if (wanted := used_subnet(self._view, name)) is not None:
            if not wanted.subnet_of(network):
                return f"its pods are in {wanted}, which is outside Network {network}"
            for other, subnet in self._others(name, address):
                if subnet.overlaps(wanted):
                    return f"its pods are in {wanted}, which overlaps {subnet} of {other}"
            return wanted
        had = self._had.pop(name, None)
        others = self._others(name, address)
        if had is not None and not any(subnet.overlaps(had) for _, subnet in others):
            return had
        lately = " or were until a moment ago" if self._had else ""
        return next(self._free, None) or f"all of Network {network} are taken{lately}"

    def _others(self, name: str, address: str) -> Iterator[tuple[str, IPv4Network]]:
        for key, record in self._view.subnets().items():
            if key != address and record.subnet is not None:
                yield key, record.subnet
        for host in self._view.all(USED):
            subnet = used_subnet(self._view, host)
            if host != name and subnet is not None:
                yield host, subnet
