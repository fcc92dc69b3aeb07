"""Which subnet can a node be given? Its pods', the one that it had, or the lowest free one."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network

from k8s_ovs.model.subnet import free_subnets
from k8s_ovs.model.world import SUBNETS, USED
from k8s_ovs.plugin.view import View

__all__ = ["SubnetChoice", "used_subnets"]


def used_subnets(view: View) -> dict[str, IPv4Network]:
    """What the pods of each node are in, by the node's name."""
    return {key: use.subnet for key, use in view.all(USED).items() if use.host == key}


class SubnetChoice:
    """What is free in one reconcile; each subnet is given once."""

    def __init__(self, view: View) -> None:
        self._network = view.config.network
        # What a node had until a moment ago is for that node, should it come back.
        self._had: dict[str, IPv4Network] = {
            each.value.host: each.value.subnet
            for each in view.deleted(SUBNETS).values()
            if each.by_leader and each.value is not None and each.value.subnet is not None
        }
        self._free = free_subnets(view.config, [*view.taken(), *self._had.values()])
        self._records = {key: r.subnet for key, r in view.subnets().items() if r.subnet}
        self._used = used_subnets(view)

    def of(self, name: str, address: str) -> IPv4Network | str:
        """A subnet for the node `name`, or why it cannot have one."""
        if name in self._used:
            wanted = self._used[name]
            if not wanted.subnet_of(self._network):
                return f"its pods are in {wanted}, which is outside Network {self._network}"
            for other, subnet in self._others(name, address):
                if subnet.overlaps(wanted):
                    return f"its pods are in {wanted}, which overlaps {subnet} of {other}"
            return wanted
        had = self._had.pop(name, None)
        others = self._others(name, address)
        if had is not None and not any(subnet.overlaps(had) for _, subnet in others):
            return had
        lately = " or were until a moment ago" if self._had else ""
        return next(self._free, None) or f"all of Network {self._network} are taken{lately}"

    def _others(self, name: str, address: str) -> Iterator[tuple[str, IPv4Network]]:
        yield from ((key, subnet) for key, subnet in self._records.items() if key != address)
        yield from ((host, subnet) for host, subnet in self._used.items() if host != name)
