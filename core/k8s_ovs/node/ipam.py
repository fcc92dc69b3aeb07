"""Which address does the next pod of this node get?

The least recently used one. Whether an address is in use is not remembered here: the ports in
OVSDB say so, and the caller passes it in. So nothing can leak; only an order is kept.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Container
from ipaddress import IPv4Address, IPv4Network
from itertools import chain

from k8s_ovs.errors import InvalidRecord, K8sOvsError

__all__ = ["AddressPool"]


class AddressPool:
    """The addresses of a node's subnet for pods: all but network, gateway and broadcast.

    last: the address that was given last before this start; allocation continues after it.
    Raises InvalidRecord when the subnet has no room for a single pod (longer than /30).
    """

    def __init__(self, subnet: IPv4Network, last: IPv4Address | None = None) -> None:
        if subnet.num_addresses < 4:
            raise InvalidRecord(f"subnet {subnet}: expected room for a pod, /30 or larger")
        self.subnet = subnet
        first = int(subnet.network_address)
        pods = range(first + 2, first + subnet.num_addresses - 1)
        behind = pods.index(int(last)) + 1 if last and int(last) in pods else 0
        self._never_used = chain(pods[behind:], pods[:behind])
        self._used: OrderedDict[IPv4Address, None] = OrderedDict()

    @property
    def size(self) -> int:
        """How many pods it has room for."""
        return self.subnet.num_addresses - 3

    def take(self, in_use: Container[IPv4Address]) -> IPv4Address:
        """The least recently used address that is not in `in_use`.

        `in_use` must hold what was taken and has no port yet, too. Raises K8sOvsError when all
        are in use.
        """
        for number in self._never_used:
            address = IPv4Address(number)
            if address in self._used:
                continue
            self._used[address] = None
            if address not in in_use:
                return address
        for _ in range(len(self._used)):
            address = next(iter(self._used))
            self._used.move_to_end(address)
            if address not in in_use:
                return address
        raise K8sOvsError(
            f"subnet {self.subnet}: all {self.size} addresses are in use by pods of this node"
        )

    def release(self, address: IPv4Address) -> None:
        """Put `address` last, now that its pod is gone."""
        self._used[address] = None
        self._used.move_to_end(address)
