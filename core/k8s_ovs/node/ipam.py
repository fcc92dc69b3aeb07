"""Which address does the next pod of this node get?

The least recently used one of those that it may have. Whether an address is in use is not
remembered here: the ports in OVSDB say so, and the caller passes it in. So nothing can leak; only
an order is kept.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Container, Iterator
from ipaddress import IPv4Address, IPv4Network
from itertools import chain

from k8s_ovs.errors import InvalidRecord, K8sOvsError
from k8s_ovs.plugin.values import AddressChoice

__all__ = ["AddressPool"]


_ANY = AddressChoice()


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
        self._pods = pods = range(first + 2, first + subnet.num_addresses - 1)
        behind = pods.index(int(last)) + 1 if last and int(last) in pods else 0
        self._never_used = chain(pods[behind:], pods[:behind])
        # Never used either: they were not of a pod's choice when it was their turn.
        self._passed: dict[IPv4Address, None] = {}
        self._used: OrderedDict[IPv4Address, None] = OrderedDict()

    @property
    def size(self) -> int:
        """How many pods it has room for."""
        return self.subnet.num_addresses - 3

    def take(self, in_use: Container[IPv4Address], choice: AddressChoice = _ANY) -> IPv4Address:
        """The least recently used address of the choice that is not in `in_use`.

        `in_use` must hold what was taken and has no port yet, too. Raises K8sOvsError when all are
        in use, InvalidRecord when the subnet has none of the choice.
        """
        excluded = self._numbers_of(choice.without)
        if choice.within:
            address = self._first_of(self._allowed(choice, excluded), in_use)
        elif len(excluded) < len(self._pods):
            address = self._first(in_use, excluded)
        else:
            raise InvalidRecord(f"subnet {self.subnet}: all of it is kept for other pods")
        if address is None:
            which = self._named(choice)
            raise K8sOvsError(f"subnet {self.subnet}: all {which} are in use by pods of this node")
        self.release(address)
        return address

    def _first(self, in_use: Container[IPv4Address], excluded: set[int]) -> IPv4Address | None:
        for address in self._in_turn():
            if address in in_use:
                self.release(address)  # it need not be looked at each time
            elif int(address) not in excluded:
                return address
        return None

    def _in_turn(self) -> Iterator[IPv4Address]:
        yield from tuple(self._passed)
        for number in self._never_used:
            address = IPv4Address(number)
            if address not in self._used:
                self._passed[address] = None
                yield address
        yield from tuple(self._used)

    def _first_of(
        self, allowed: Collection[IPv4Address], in_use: Container[IPv4Address]
    ) -> IPv4Address | None:
        free = dict.fromkeys(each for each in allowed if each not in in_use)
        for address in free:
            if address not in self._used:
                return address
        return next((each for each in self._used if each in free), None)

    def _allowed(self, choice: AddressChoice, excluded: set[int]) -> list[IPv4Address]:
        """The addresses of a pool. Raises InvalidRecord if there is none of them here."""
        listed = ", ".join(map(str, choice.within))
        numbers = self._numbers_of(choice.within)
        if not numbers:
            raise InvalidRecord(
                f"found {listed}, expected an address for pods of subnet {self.subnet}"
            )
        if not numbers - excluded:
            raise InvalidRecord(f"found {listed}, of which all is kept for other pods")
        return [IPv4Address(number) for number in sorted(numbers - excluded)]

    def _numbers_of(self, networks: Collection[IPv4Network]) -> set[int]:
        """The pods' addresses here that are in any of the networks."""
        return {number for each in networks for number in _shared(self._pods, each)}

    def _named(self, choice: AddressChoice) -> str:
        if choice.within:
            return f"addresses in {', '.join(map(str, choice.within))}"
        return f"{self.size} addresses"

    def release(self, address: IPv4Address) -> None:
        """Put `address` last, now that its pod is gone."""
        self._passed.pop(address, None)
        self._used[address] = None
        self._used.move_to_end(address)


def _shared(numbers: range, network: IPv4Network) -> range:
    """Those of the numbers that are addresses of a network."""
    first = int(network.network_address)
    return range(max(numbers.start, first), min(numbers.stop, first + network.num_addresses))
