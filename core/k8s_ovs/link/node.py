"""The node's own devices and routes: what is there, and tun0 as it should be.

Works in the calling thread's network namespace. What is right already is not touched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from socket import socket

from attrs import frozen

from k8s_ovs.link import encode, lookup
from k8s_ovs.link.ethtool import disable_tx_checksums
from k8s_ovs.link.netlink import NLM_F_CREATE_EXCL, LinkError, Step, open_route_socket, perform

__all__ = [
    "DefaultRoute",
    "NodeLink",
    "default_route",
    "local_addresses",
    "set_up",
    "underlay_mtu",
]

_SYSCTL = Path("/proc/sys/net")
_EVERYWHERE = IPv4Network("0.0.0.0/0")


@frozen
class NodeLink:
    """What the node's port of the bridge should be: this address and no other.

    routes: destinations that are on-link, the cluster network among them; no others are.
    mtu None: Open vSwitch sets it.
    checksum_offload: False where packets are read in user space (see `ethtool`).
    """

    name: str
    address: IPv4Interface
    routes: tuple[IPv4Network, ...]
    mtu: int | None = None
    checksum_offload: bool = True


@frozen
class DefaultRoute:
    """How the node reaches the world; via None: by a point-to-point device."""

    device: str
    via: IPv4Address | None


def set_up(link: NodeLink) -> list[str]:
    """Make it so; gives what had to be done, each as a few words. Raises LinkError."""
    with open_route_socket() as channel:
        device = lookup.devices(channel).get(link.name)
        if device is None:
            raise LinkError(f"device {link.name} is not there: does its bridge exist?")
        done = _write_sysctls(_sysctls(link.name))
        # Addresses bring and take routes, and the first of a subnet takes the others of it along,
        # so each phase looks at what the one before has left.
        for phase in (_device_steps, _stale_address_steps, _address_steps, _route_steps):
            steps = list(phase(channel, device.index, link))
            if steps:
                perform(channel, steps)
            done += [step.what for step in steps]
        if not link.checksum_offload:
            disable_tx_checksums(channel, link.name)
    return done


def local_addresses() -> frozenset[IPv4Address]:
    """All IPv4 addresses of this node. Raises LinkError."""
    with open_route_socket() as channel:
        return frozenset(interface.ip for _, interface in lookup.addresses(channel))


def underlay_mtu(address: IPv4Address) -> int:
    """The MTU of the device that has the node's address. Raises LinkError when none has it."""
    with open_route_socket() as channel:
        owners = {interface.ip: index for index, interface in lookup.addresses(channel)}
        for device in lookup.devices(channel).values():
            if device.index == owners.get(address):
                return device.mtu
    found = ", ".join(sorted(map(str, owners))) or "none"
    raise LinkError(f"no device of this node has the address {address}; found {found}")


def default_route() -> DefaultRoute | None:
    """The default route with the lowest metric; None: there is none. Raises LinkError."""
    with open_route_socket() as channel:
        names = {device.index: name for name, device in lookup.devices(channel).items()}
        routes = [route for route in lookup.routes(channel) if route.to == _EVERYWHERE]
    if not routes:
        return None
    best = min(routes, key=lambda route: route.metric)
    return DefaultRoute(names[best.device], best.via)


def _device_steps(channel: socket, index: int, link: NodeLink) -> Iterator[Step]:
    device = lookup.devices(channel)[link.name]
    if link.mtu is not None and device.mtu != link.mtu:
        body = encode.device(index) + encode.mtu(link.mtu)
        yield Step(f"set MTU {link.mtu} of {link.name}", encode.RTM_NEWLINK, 0, body)
    if not device.up:
        body = encode.device(index, encode.IFF_UP)
        yield Step(f"set {link.name} up", encode.RTM_NEWLINK, 0, body)


def _stale_address_steps(channel: socket, index: int, link: NodeLink) -> Iterator[Step]:
    for stale in sorted(_addresses_of(channel, index) - {link.address}):
        body = encode.address(index, stale)
        yield Step(f"remove address {stale} of {link.name}", encode.RTM_DELADDR, 0, body)


def _address_steps(channel: socket, index: int, link: NodeLink) -> Iterator[Step]:
    if link.address not in _addresses_of(channel, index):
        body = encode.address(index, link.address)
        what = f"set address {link.address} of {link.name}"
        yield Step(what, encode.RTM_NEWADDR, NLM_F_CREATE_EXCL, body)


def _route_steps(channel: socket, index: int, link: NodeLink) -> Iterator[Step]:
    """A route by a gateway is someone else's and stays."""
    here = [each for each in lookup.routes(channel) if each.device == index and each.via is None]
    own = {route.to for route in here if not route.automatic}
    for stale in sorted(own - set(link.routes)):
        body = encode.route(index, stale, None)
        yield Step(f"remove route {stale} by {link.name}", encode.RTM_DELROUTE, 0, body)
    for to in sorted(set(link.routes) - {route.to for route in here}):
        body = encode.route(index, to, None)
        what = f"set route {to} by {link.name}"
        yield Step(what, encode.RTM_NEWROUTE, NLM_F_CREATE_EXCL, body)


def _addresses_of(channel: socket, index: int) -> set[IPv4Interface]:
    return {interface for owner, interface in lookup.addresses(channel) if owner == index}


def _sysctls(name: str) -> Mapping[str, str]:
    """Kernel settings that the road of a service's packet needs (ip-sysctl.rst in Linux).

    rp_filter: the larger of `all` and the device's counts; 2 (any route will do) overrules a
    strict 1 of `all` without changing other devices. send_redirects: either one turns it on.
    """
    strict = _read("ipv4/conf/all/rp_filter") != "0"
    wanted = {
        "ipv4/ip_forward": "1",
        f"ipv4/conf/{name}/rp_filter": "2" if strict else "0",
        "ipv4/conf/all/send_redirects": "0",
        f"ipv4/conf/{name}/send_redirects": "0",
        f"ipv6/conf/{name}/disable_ipv6": "1",
    }
    # Without IPv6 in the kernel there is nothing to turn off.
    return {key: value for key, value in wanted.items() if (_SYSCTL / key).exists()}


def _write_sysctls(wanted: Mapping[str, str]) -> list[str]:
    done = []
    for key, value in wanted.items():
        if _read(key) == value:
            continue
        try:
            (_SYSCTL / key).write_text(value)
        except OSError as error:
            raise LinkError(f"cannot set net/{key} to {value}: {error.strerror}") from error
        done.append(f"set net/{key} to {value}")
    return done


def _read(key: str) -> str:
    try:
        return (_SYSCTL / key).read_text().strip()
    except OSError as error:
        raise LinkError(f"cannot read net/{key}: {error.strerror}") from error
