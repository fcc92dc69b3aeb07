"""Which part of the network a host has: the records below `<Name>/subnets/`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from attrs import evolve, field, frozen

from k8s_ovs.model.codec import named
from k8s_ovs.model.network import NetworkConfig

__all__ = ["HostSubnet", "free_subnets", "subnet_problems"]

#: A gateway and one pod at least (RFC 4632 leaves the two ends unused).
_LONGEST_PREFIX = 30


@frozen
class HostSubnet:
    """A host's subnet, under its address as key.

    subnet None: none given yet. assign: a person asks for one (for a host that is no node).
    """

    host: str = named("Host")
    host_ip: IPv4Address = named("HostIP")
    subnet: IPv4Network | None = named("Subnet", default=None)
    assign: bool = named("Assign", default=False)
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


def subnet_problems(
    config: NetworkConfig, records: Mapping[str, tuple[HostSubnet, int]]
) -> dict[str, str]:
    """Which records cannot stand, each with the reason, by key.

    records: (record, etcd's mod_revision) by key. Of two that overlap, the later written is wrong.
    """
    problems: dict[str, str] = {}
    blocks: dict[int, list[HostSubnet]] = defaultdict(list)
    for key, (record, _) in sorted(records.items(), key=lambda each: (each[1][1], each[0])):
        problem = _own_problem(key, record, config)
        if problem is None and record.subnet is not None:
            covered = [blocks[number] for number in _blocks(config, record.subnet)]
            problem = _overlap(record, (other for block in covered for other in block))
            if problem is None:
                for block in covered:
                    block.append(record)
        if problem is not None:
            problems[key] = problem
    return problems


def free_subnets(config: NetworkConfig, taken: Iterable[IPv4Network]) -> Iterator[IPv4Network]:
    """Subnets of a node's size that overlap none of `taken`, lowest first."""
    used = {number for subnet in taken for number in _blocks(config, subnet)}
    for number, candidate in enumerate(config.network.subnets(new_prefix=config.node_prefix)):
        if number not in used:
            yield candidate


def _own_problem(key: str, record: HostSubnet, config: NetworkConfig) -> str | None:
    if key != str(record.host_ip):
        return f"HostIP: found {record.host_ip}, expected {key} as in the key"
    if record.host_ip in config.network:
        return f"HostIP: found {record.host_ip}, expected one outside Network {config.network}"
    if record.subnet is not None and not record.subnet.subnet_of(config.network):
        return f"Subnet: found {record.subnet}, expected one inside Network {config.network}"
    if record.subnet is not None and record.subnet.prefixlen > _LONGEST_PREFIX:
        return f"Subnet: found {record.subnet}, expected /{_LONGEST_PREFIX} or wider, as pods need"
    return None


def _overlap(record: HostSubnet, others: Iterable[HostSubnet]) -> str | None:
    for other in others:
        if other.subnet and record.subnet and other.subnet.overlaps(record.subnet):
            return (
                f"Subnet: found {record.subnet}, expected one that does not overlap "
                f"{other.subnet} of {other.host_ip}"
            )
    return None


def _blocks(config: NetworkConfig, subnet: IPv4Network) -> range:
    """Numbers of the node-sized blocks of Network that `subnet` touches."""
    base = int(config.network.network_address)
    first = (int(subnet.network_address) - base) >> config.host_subnet_length
    last = (int(subnet.broadcast_address) - base) >> config.host_subnet_length
    return range(first, last + 1)
