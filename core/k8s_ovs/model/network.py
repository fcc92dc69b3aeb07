"""The network's configuration: what the key `config` says.

``{"Name":"k8ssdn","Network":"172.11.0.0/16","HostSubnetLength":10,
"ServiceNetwork":"10.96.0.0/12","PluginName":"k8s-ovs-subnet"}``
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import IPv4Network
from typing import Any

from attrs import field, frozen

from k8s_ovs.model.codec import named

__all__ = ["NETWORK_NAME", "VXLAN_OVERHEAD", "NetworkConfig", "incompatibility"]

#: Bytes that VXLAN over IPv4 adds to a packet (RFC 7348 section 4.3 and 5).
VXLAN_OVERHEAD = 50

#: What a network can be called.
NETWORK_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")


@frozen
class NetworkConfig:
    """The network that all nodes share.

    host_subnet_length: host bits of a node's subnet; 10 gives each node a /22.
    mtu: of pods' interfaces, bytes; None: the underlay's less VXLAN_OVERHEAD.
    vxlan_port: UDP port of the tunnels.
    from_outside: what of the network is reached through a node from outside: `all` pods, which is
    also what None means, or `services` alone, host ports included.
    """

    name: str = named("Name")
    network: IPv4Network = named("Network")
    host_subnet_length: int = named("HostSubnetLength")
    service_network: IPv4Network = named("ServiceNetwork")
    plugin_name: str = named("PluginName")
    mtu: int | None = named("MTU", default=None)
    vxlan_port: int = named("VXLANPort", default=4789)
    from_outside: str | None = named("FromOutside", default=None)
    extra: Mapping[str, Any] = field(factory=dict, hash=False)

    def __attrs_post_init__(self) -> None:
        """Raises ValueError that names the field, what was found and what was expected."""
        if not NETWORK_NAME.fullmatch(self.name):
            raise ValueError(
                f'Name: found "{self.name}", expected letters, digits, dots and dashes'
            )
        most = 32 - self.network.prefixlen
        if not 2 <= self.host_subnet_length <= most:
            raise ValueError(
                f"HostSubnetLength: found {self.host_subnet_length}, expected 2 to {most}: "
                f"{self.network} has {most} host bits, and a node needs at least 2"
            )
        if self.network.overlaps(self.service_network):
            raise ValueError(
                f"ServiceNetwork: found {self.service_network}, expected one that does not "
                f"overlap Network {self.network}"
            )
        if self.mtu is not None and not 576 <= self.mtu <= 65535 - VXLAN_OVERHEAD:
            raise ValueError(f"MTU: found {self.mtu}, expected 576 to {65535 - VXLAN_OVERHEAD}")
        if not 1 <= self.vxlan_port <= 65535:
            raise ValueError(f"VXLANPort: found {self.vxlan_port}, expected 1 to 65535")
        if self.from_outside not in (None, "all", "services"):
            raise ValueError(f'FromOutside: found "{self.from_outside}", expected all or services')

    @property
    def node_prefix(self) -> int:
        """Prefix length of a node's subnet."""
        return 32 - self.host_subnet_length

    def keeps_records_of(self, old: NetworkConfig) -> bool:
        """Whether subnets that were given in `old` are right here too."""
        mine = self.name, self.network, self.host_subnet_length
        return mine == (old.name, old.network, old.host_subnet_length)


def incompatibility(
    old: NetworkConfig, new: NetworkConfig, subnet: IPv4Network, pods: int
) -> str | None:
    """Why a node with this subnet and so many pods cannot go from `old` to `new`; None: it can."""
    if pods == 0:
        return None
    if new.name != old.name:
        return f"Name: found {new.name}, expected {old.name} while {pods} pods run on this node"
    if not subnet.subnet_of(new.network):
        return (
            f"Network: found {new.network}, expected one that holds {subnet} "
            f"while {pods} pods run on this node"
        )
    return None
