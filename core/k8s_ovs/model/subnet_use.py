"""Which subnet are the pods of a node in? Its daemon says so below `<Name>/used/`, by its name.

The record is under a lease that outlives the daemon, so the allocator respects it whatever
became of the Node object and of the other records.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from attrs import field, frozen

from k8s_ovs.model.codec import named

__all__ = ["SubnetUse", "subnet_of_pods"]


@frozen
class SubnetUse:
    """``{"Host":"node2","Subnet":"172.11.8.0/22"}``: pods of this node have addresses in it."""

    host: str = named("Host")
    subnet: IPv4Network = named("Subnet")
    extra: Mapping[str, Any] = field(factory=dict)


def subnet_of_pods(
    addresses: Collection[IPv4Address], known: Iterable[IPv4Network | None], host_bits: int
) -> IPv4Network | None:
    """The subnet that all `addresses` are in; None: there are none, or they are in several.

    known: subnets that may be the node's, as somebody may have chosen their size. host_bits: of a
    node's subnet, where none of them is it.
    """
    if not addresses:
        return None
    for each in known:
        if each is not None and all(address in each for address in addresses):
            return each
    first = min(addresses)
    found = IPv4Network((int(first) >> host_bits << host_bits, 32 - host_bits))
    return found if all(each in found for each in addresses) else None
