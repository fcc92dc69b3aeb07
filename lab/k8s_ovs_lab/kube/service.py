"""Services as kube-proxy translates them, for nodes that have no kube-proxy.

`translation` is the whole of a node's table as text; like `kube-proxy --cluster-cidr=NETWORK` it
picks an endpoint at random, keeps the client's address, and puts the node's address in its place
only for a client beyond the pods' network and for a pod that gets itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from attrs import frozen

from k8s_ovs_lab.command import run

__all__ = ["Endpoint", "Service", "free_address", "install", "services_of", "translation"]

_MARK = "0x4000"
# Below it are addresses that installations hand out by hand: .1 the API server's, .10 the DNS's.
_FIRST_FREE = 11


@frozen(order=True)
class Endpoint:
    """Where a service's packets are sent."""

    address: IPv4Address
    port: int


@frozen
class Service:
    """One port of a service. protocol is `tcp` or `udp`."""

    namespace: str
    name: str
    address: IPv4Address
    port: int
    protocol: str
    endpoints: tuple[Endpoint, ...] = ()

    @property
    def title(self) -> str:
        """NAMESPACE/NAME/PROTOCOL/PORT."""
        return f"{self.namespace}/{self.name}/{self.protocol}/{self.port}"


def services_of(
    services: Iterable[Mapping[str, Any]], endpoints: Iterable[Mapping[str, Any]]
) -> tuple[Service, ...]:
    """The services that have an address, from Kubernetes' Service and Endpoints objects."""
    subsets = {_key(item): item.get("subsets") or [] for item in endpoints}
    found = []
    for item in services:
        address = item["spec"].get("clusterIP")
        for port in item["spec"].get("ports") or [] if address not in (None, "", "None") else []:
            namespace, name = _key(item)
            found.append(
                Service(
                    namespace,
                    name,
                    IPv4Address(address),
                    port["port"],
                    port.get("protocol", "TCP").lower(),
                    _endpoints(subsets.get((namespace, name), []), port.get("name", "")),
                )
            )
    return tuple(sorted(found, key=lambda service: service.title))


def free_address(network: IPv4Network, taken: Iterable[IPv4Address]) -> IPv4Address:
    """The first address of the service network that no service has."""
    used = frozenset(taken)
    return next(
        address
        for offset in range(_FIRST_FREE, network.num_addresses)
        if (address := network[offset]) not in used
    )


def translation(table: str, services: Sequence[Service], network: IPv4Network) -> str:
    """The rule set of a node, as `nft -f` reads it; it replaces the old table.

    network: the pods' network. A service without endpoints refuses, as kube-proxy makes it.
    """
    served = [service for service in services if service.endpoints]
    body = [
        *_lookup("served", (f"{_match(item)} : goto service-{item.title}" for item in served)),
        *_lookup(
            "empty", (f"{_match(item)} : goto refuse" for item in services if item not in served)
        ),
        *_chain("refuse", ["reject with icmp port-unreachable"]),
    ]
    for service in served:
        body += _service_chains(service, network)
    lookup = "ip daddr . meta l4proto . th dport vmap @"
    marked = f"meta mark and {_MARK} == {_MARK}"
    unmark = f"meta mark set meta mark xor {_MARK}"
    for name, hook, rule in (
        ("prerouting", "nat hook prerouting priority dstnat", f"{lookup}served"),
        ("output", "nat hook output priority -100", f"{lookup}served"),
        ("refuse-forward", "filter hook forward priority filter", f"{lookup}empty"),
        ("refuse-output", "filter hook output priority filter", f"{lookup}empty"),
        (
            "postrouting",
            "nat hook postrouting priority srcnat",
            f"{marked} {unmark} masquerade fully-random",
        ),
    ):
        body += _chain(name, [f"type {hook}", rule])
    # `delete` fails on a missing table, and `add` does not on an existing one.
    return "\n".join(
        [f"add table ip {table}", f"delete table ip {table}", f"table ip {table} {{", *body, "}\n"]
    )


def install(netns: str, rules: str) -> None:
    """Put a rule set into force in a node's namespace, all of it or nothing."""
    run(["nft", "-f", "-"], netns=netns, text=rules)


def _service_chains(service: Service, network: IPv4Network) -> list[str]:
    chains = {
        endpoint: f"endpoint-{service.title}-{endpoint.address}-{endpoint.port}"
        for endpoint in service.endpoints
    }
    choice = ", ".join(f"{number} : goto {chain}" for number, chain in enumerate(chains.values()))
    mark = f"meta mark set meta mark or {_MARK}"
    lines = _chain(
        f"service-{service.title}",
        [f"ip saddr != {network} {mark}", f"numgen random mod {len(chains)} vmap {{ {choice} }}"],
    )
    for endpoint, chain in chains.items():
        target = f"meta l4proto {service.protocol} dnat to {endpoint.address}:{endpoint.port}"
        lines += _chain(chain, [f"ip saddr {endpoint.address} {mark}", target])
    return lines


def _lookup(name: str, elements: Iterable[str]) -> list[str]:
    listed = ", ".join(elements)
    head = [f"  map {name} {{", "    type ipv4_addr . inet_proto . inet_service : verdict"]
    return [*head, *([f"    elements = {{ {listed} }}"] if listed else []), "  }"]


def _chain(name: str, rules: Iterable[str]) -> list[str]:
    return [f"  chain {name} {{", *(f"    {rule}" for rule in rules), "  }"]


def _match(service: Service) -> str:
    return f"{service.address} . {service.protocol} . {service.port}"


def _key(item: Mapping[str, Any]) -> tuple[str, str]:
    return item["metadata"].get("namespace", "default"), item["metadata"]["name"]


def _endpoints(subsets: Iterable[Mapping[str, Any]], port_name: str) -> tuple[Endpoint, ...]:
    found = {
        Endpoint(IPv4Address(address["ip"]), port["port"])
        for subset in subsets
        for port in subset.get("ports") or []
        if port.get("name", "") == port_name
        for address in subset.get("addresses") or []
    }
    return tuple(sorted(found))
