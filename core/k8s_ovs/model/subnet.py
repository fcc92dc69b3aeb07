"""Which part of the network a host has: the records below `<Name>/subnets/`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from attrs import evolve, field, frozen

from k8s_ovs.model.codec import named
from k8s_ovs.model.network import NetworkConfig

__all__ = [
    "HELD_IN",
    "WIDE",
    "HostSubnet",
    "address_order",
    "blocks_of",
    "free_subnets",
    "host_ip_problem",
    "request_problem",
    "subnet_problem",
]

#: Of "this host on this network", and reserved with broadcast (RFC 1122 section 3.2.1.3, RFC 1112
#: section 4).
_NO_HOSTS, _RESERVED = IPv4Network("0.0.0.0/8"), IPv4Network("240.0.0.0/4")

#: A gateway and one pod at least (RFC 4632 leaves the two ends unused).
_LONGEST_PREFIX = 30


@frozen
class HostSubnet:
    """A host's subnet, under its address as key.

    subnet None: none given yet. assign: a person asks for one (for a host that is no node), or for
    just this one. reason: why what was asked is refused; None: it is not.
    host_subnet_length: host bits of the subnet that is asked for; None: as many as nodes get.
    """

    host: str = named("Host")
    host_ip: IPv4Address = named("HostIP")
    subnet: IPv4Network | None = named("Subnet", default=None)
    assign: bool = named("Assign", default=False)
    reason: str | None = named("Reason", default=None)
    host_subnet_length: int | None = named("HostSubnetLength", default=None)
    extra: Mapping[str, Any] = field(factory=dict)

    @property
    def gateway(self) -> IPv4Address:
        """The host's own address in the network: the first one of its subnet."""
        if self.subnet is None:
            raise ValueError(f"{self.host} has no subnet yet")
        return self.subnet.network_address + 1

    def moved(self, address: IPv4Address) -> HostSubnet:
        """The same host at another address."""
        return evolve(self, host_ip=address)


#: Index of records by the /16 blocks in which they hold something; WIDE: in more than 256.
HELD_IN = "held in"
WIDE = -1
_BLOCK_BITS = 16


def blocks_of(network: IPv4Network) -> Iterable[int]:
    """The numbers of the /16 blocks in which `network` has a part."""
    first = int(network.network_address) >> _BLOCK_BITS
    count = max(1, network.num_addresses >> _BLOCK_BITS)
    return (WIDE,) if count > 1 << 8 else range(first, first + count)


def free_subnets(
    config: NetworkConfig,
    taken: Iterable[IPv4Network],
    host_bits: int | None = None,
    within: IPv4Network | None = None,
) -> Iterator[IPv4Network]:
    """Subnets of Network that overlap none of `taken`, lowest first.

    host_bits: how many host bits each has; None: as many as a node's. within: the part of Network
    in which they are sought; None: all. `taken` may hold subnets of any size, also outside.
    """
    where = config.network if within is None else within
    bits = config.host_subnet_length if host_bits is None else host_bits
    size, at = 1 << bits, int(where.network_address)
    end = at + where.num_addresses
    ranges = sorted((int(each.network_address), each.num_addresses) for each in taken)
    for first, length in (*ranges, (end, 0)):
        while at + size <= min(first, end):
            yield IPv4Network((at, 32 - bits))
            at += size
        # The first address behind it at which a subnet of this size can begin.
        at = max(at, -(-(first + length) // size) * size)


def request_problem(
    key: str, request: HostSubnet, config: NetworkConfig, taken: Mapping[IPv4Network, str]
) -> str | None:
    """Why a record under `key` that asks for a subnet cannot be given one; None: it can.

    taken: what others have, with their keys.
    """
    if (problem := subnet_problem(config, key, request)) is not None:
        return problem
    most, length = 32 - config.network.prefixlen, request.host_subnet_length
    if length is not None and not 2 <= length <= most:
        return f"HostSubnetLength: found {length}, expected 2 to {most}"
    for other, owner in taken.items():
        if request.subnet is not None and other.overlaps(request.subnet):
            return _overlaps(request.subnet, other, owner)
    return None


def subnet_problem(config: NetworkConfig, key: str, record: HostSubnet) -> str | None:
    """Why a record cannot be under `key` in this network; None: it can."""
    if key != str(record.host_ip):
        return f"HostIP: found {record.host_ip}, expected {key} as in the key"
    if (problem := host_ip_problem(record.host_ip, config)) is not None:
        return f"HostIP: {problem}"
    if record.subnet is not None and not record.subnet.subnet_of(config.network):
        return f"Subnet: found {record.subnet}, expected one inside Network {config.network}"
    if record.subnet is not None and record.subnet.prefixlen > _LONGEST_PREFIX:
        return f"Subnet: found {record.subnet}, expected /{_LONGEST_PREFIX} or wider, as pods need"
    return None


def host_ip_problem(address: IPv4Address, config: NetworkConfig) -> str | None:
    """Why no host can be at `address`; None: one can."""
    if address in config.network:
        return f"found {address}, expected one outside Network {config.network}"
    if address in config.service_network:
        return f"found {address}, expected one outside ServiceNetwork {config.service_network}"
    if address.is_loopback or address.is_multicast or address in _NO_HOSTS or address in _RESERVED:
        return f"found {address}, expected an address under which other hosts reach it"
    return None


def _overlaps(found: IPv4Network, other: IPv4Network, owner: str) -> str:
    return f"Subnet: found {found}, expected one that does not overlap {other} of {owner}"


def address_order(key: str) -> tuple[int, str]:
    """What keys that are IPv4 addresses are sorted by, with those that are none before them."""
    try:
        return int(IPv4Address(key)), key
    except ValueError:
        return 0, key
