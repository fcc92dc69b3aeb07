"""The node's own devices and routes: what exists, and the desired state of tun0.

Works in the calling thread's network namespace. It does not touch what is right already.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any

from attrs import frozen

from k8s_ovs.link import lookup
from k8s_ovs.link.ethtool import disable_tx_checksums
from k8s_ovs.link.lookup import Device
from k8s_ovs.link.netlink import LinkError
from k8s_ovs.link.rtnetlink import Kernel, request, talk
from k8s_ovs.link.sysctl import SYSCTL

__all__ = [
    "NodeLink",
    "deviations",
    "local_addresses",
    "set_up",
    "underlay_mtu",
]


@frozen
class NodeLink:
    """The desired state of the node's port of the bridge: this address and no other.

    routes: destinations that are on-link, the cluster network among them; no others are.
    mtu None: Open vSwitch sets it.
    in_user_space: Open vSwitch reads and sends packets there, not in the kernel.
    """

    name: str
    address: IPv4Interface
    routes: tuple[IPv4Network, ...]
    mtu: int | None = None
    in_user_space: bool = False


@frozen
class _Change:
    """A request to the kernel (see `rtnetlink.request`)."""

    what: str
    kind: str
    command: str
    fields: Mapping[str, Any]


def set_up(link: NodeLink) -> list[str]:
    """Apply it; returns what had to be done, each as a few words. Raises LinkError."""

    async def change(kernel: Kernel) -> list[str]:
        device = await _own(kernel, link)
        done = _write_sysctls(_wrong_sysctls(link.name))
        for phase in _PHASES:
            changes = list(phase(device, link))
            for each in changes:
                await request(kernel, each.what, each.kind, each.command, **each.fields)
                done.append(each.what)
            if changes:
                device = await _own(kernel, link)
        return done

    done = talk(change)
    if link.in_user_space:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
            disable_tx_checksums(channel, link.name)
    return done


def deviations(link: NodeLink) -> list[str]:
    """What `set_up` would do now, each as a few words; changes nothing. Raises LinkError."""
    device = talk(lambda kernel: _own(kernel, link))
    sysctls = [f"set net/{key} to {value}" for key, value in _wrong_sysctls(link.name).items()]
    return sysctls + [each.what for phase in _PHASES for each in phase(device, link)]


def local_addresses() -> frozenset[IPv4Address]:
    """All IPv4 addresses of this node. Raises LinkError."""
    return frozenset(interface.ip for _, interface in talk(lookup.addresses))


def underlay_mtu(address: IPv4Address) -> int:
    """The MTU of the device that has the node's address. Raises LinkError when none has it."""

    async def ask(kernel: Kernel) -> int:
        owners = {interface.ip: index for index, interface in await lookup.addresses(kernel)}
        if address not in owners:
            found = ", ".join(sorted(map(str, owners))) or "none"
            raise LinkError(f"no device of this node has the address {address}; found {found}")
        (device,) = await kernel.link("get", index=owners[address])
        return int(device.get("mtu"))

    return talk(ask)


async def _own(kernel: Kernel, link: NodeLink) -> Device:
    device = await lookup.device(kernel, link.name)
    if device is None:
        raise LinkError(f"device {link.name} does not exist: does its bridge exist?")
    return device


def _device_changes(device: Device, link: NodeLink) -> Iterator[_Change]:
    index = device.index
    if link.mtu is not None and device.mtu != link.mtu:
        what = f"set MTU {link.mtu} of {link.name}"
        yield _Change(what, "link", "set", {"index": index, "mtu": link.mtu})
    if not device.up:
        yield _Change(f"set {link.name} up", "link", "set", {"index": index, "state": "up"})


def _stale_addresses(device: Device, link: NodeLink) -> Iterator[_Change]:
    for stale in sorted(device.addresses - {link.address}):
        what = f"remove address {stale} of {link.name}"
        yield _Change(what, "addr", "del", _address(device, stale))


def _missing_address(device: Device, link: NodeLink) -> Iterator[_Change]:
    if link.address not in device.addresses:
        what = f"set address {link.address} of {link.name}"
        fields = _address(device, link.address)
        broadcast = str(link.address.network.broadcast_address)
        yield _Change(what, "addr", "add", {**fields, "broadcast": broadcast})


def _route_changes(device: Device, link: NodeLink) -> Iterator[_Change]:
    """Routes by a gateway belong to others and stay."""
    direct = [each for each in device.routes if each.via is None]
    own = {route.to for route in direct if not route.automatic}
    for stale in sorted(own - set(link.routes)):
        what = f"remove route {stale} by {link.name}"
        yield _Change(what, "route", "del", _route(device, stale))
    for to in sorted(set(link.routes) - {route.to for route in direct}):
        what = f"set route {to} by {link.name}"
        yield _Change(what, "route", "add", _route(device, to))


# Addresses bring and take routes, and the first of a subnet takes the others of it along, so each
# phase works on what the one before has left.
_PHASES = (_device_changes, _stale_addresses, _missing_address, _route_changes)


def _address(device: Device, address: IPv4Interface) -> dict[str, Any]:
    prefix = address.network.prefixlen
    return {"index": device.index, "address": str(address.ip), "prefixlen": prefix}


def _route(device: Device, to: IPv4Network) -> dict[str, Any]:
    return {"oif": device.index, "dst": str(to), "scope": "link"}


def _sysctls(name: str) -> Mapping[str, str]:
    """Kernel settings that forwarding of service packets needs (ip-sysctl.rst in Linux).

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
    return {key: value for key, value in wanted.items() if (SYSCTL / key).exists()}


def _wrong_sysctls(name: str) -> dict[str, str]:
    return {key: value for key, value in _sysctls(name).items() if _read(key) != value}


def _write_sysctls(wanted: Mapping[str, str]) -> list[str]:
    done = []
    for key, value in wanted.items():
        try:
            (SYSCTL / key).write_text(value)
        except OSError as error:
            raise LinkError(f"cannot set net/{key} to {value}: {error.strerror}") from error
        done.append(f"set net/{key} to {value}")
    return done


def _read(key: str) -> str:
    try:
        return (SYSCTL / key).read_text().strip()
    except OSError as error:
        raise LinkError(f"cannot read net/{key}: {error.strerror}") from error
