"""Which subnet has this node? Its record is the one under an address of this machine."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from ipaddress import IPv4Address

from k8s_ovs.errors import K8sOvsError
from k8s_ovs.model.subnet import HostSubnet

__all__ = ["NoSubnet", "find_own_subnet"]


class NoSubnet(K8sOvsError):
    """This node has no subnet (yet). Says where the daemon looked."""


def find_own_subnet(
    subnets: Mapping[str, HostSubnet],
    addresses: Collection[IPv4Address],
    hostname: str,
    quarantined: Mapping[str, str],
) -> HostSubnet:
    """The record of this node: under an address of its own; if several match, the one with its
    name.

    quarantined: why records are invalid, by "subnets/<address>". Raises NoSubnet.
    """
    ours = [subnets[str(address)] for address in sorted(addresses) if str(address) in subnets]
    given = [record for record in ours if record.subnet is not None]
    for record in given:
        if record.host == hostname:
            return record
    if given:
        return given[0]
    for record in ours:
        if record.reason is not None:
            raise NoSubnet(f"node {hostname} has no subnet: it was refused: {record.reason}")
    for address in sorted(addresses):
        if reason := quarantined.get(f"subnets/{address}"):
            raise NoSubnet(f"node {hostname} has no subnet: {reason}")
    looked = ", ".join(f"subnets/{address}" for address in sorted(addresses)) or "no address"
    raise NoSubnet(
        f"node {hostname} has no subnet yet: no record with a subnet under {looked}; "
        "the allocator gives one to each Kubernetes node by its InternalIP, and to other hosts "
        "that a record asks for"
    )
