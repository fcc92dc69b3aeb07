"""Devices of the node itself with their addresses and routes, read and changed by rtnetlink."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from errno import EADDRNOTAVAIL, EEXIST, ESRCH
from typing import Any

from attrs import frozen

from k8s_ovs.link import lookup
from k8s_ovs.link.netlink import LinkError
from k8s_ovs.link.rtnetlink import Kernel, request, talk
from k8s_ovs.state.diff import Difference
from k8s_ovs.state.value import Address, Device, Route, Value

__all__ = ["AddressDriver"]

#: Another one was quicker: it is there, or gone, already.
_DONE_ALREADY = (EEXIST, ESRCH, EADDRNOTAVAIL)


@frozen
class _Change:
    """A request to the kernel (see `rtnetlink.request`)."""

    what: str
    kind: str
    command: str
    fields: Mapping[str, Any]


class AddressDriver:
    """All addresses and direct routes of a desired device are ours; routes by a gateway are not.

    Works in the calling thread's network namespace.
    """

    kinds = frozenset({Device.kind, Address.kind, Route.kind})

    def read(self, desired: Sequence[Value]) -> Sequence[Value]:
        async def ask(kernel: Kernel) -> list[Value]:
            found: list[Value] = []
            for device in (each for each in desired if isinstance(each, Device)):
                known = await lookup.device(kernel, device.name)
                if known is not None:
                    found += _values(device, known, desired)
            return found

        return talk(ask)

    def apply(self, differences: Sequence[Difference]) -> None:
        async def change(kernel: Kernel) -> None:
            devices: dict[str, int] = {}
            for each in sorted(differences, key=_order):
                name = _device_of(each)
                if name not in devices:
                    devices[name] = await _index(kernel, name)
                for step in _steps(each, devices[name]):
                    await _carry_out(kernel, step)

        talk(change)


async def _carry_out(kernel: Kernel, step: _Change) -> None:
    try:
        await request(kernel, step.what, step.kind, step.command, **step.fields)
    except LinkError as error:
        if error.errno not in _DONE_ALREADY:
            raise


async def _index(kernel: Kernel, name: str) -> int:
    known = await lookup.device(kernel, name)
    if known is None:
        raise LinkError(f"device {name} does not exist: does its bridge exist?")
    return known.index


def _values(device: Device, known: lookup.Device, desired: Sequence[Value]) -> Iterator[Value]:
    yield Device(device.name, known.up, None if device.mtu is None else known.mtu)
    yield from (Address(device.name, each) for each in known.addresses)
    for route in known.routes:
        value = Route(device.name, route.to)
        # The kernel's own routes come and go with addresses.
        if route.via is None and (not route.automatic or value in desired):
            yield value


def _order(each: Difference) -> tuple[int, bool, str]:
    """Devices, then addresses, then routes; what goes before what comes.

    The first address of a subnet takes the others of it along, and each brings a route.
    """
    kinds = (Device.kind, Address.kind, Route.kind)
    return kinds.index(each.key.kind), each.expected is not None, each.key.name


def _device_of(each: Difference) -> str:
    value = each.expected or each.found
    if isinstance(value, Address | Route):
        return value.device
    return value.name if isinstance(value, Device) else ""


def _steps(each: Difference, index: int) -> Iterator[_Change]:
    match each.expected or each.found:
        case Device(name=name, up=up, mtu=mtu):
            found = each.found if isinstance(each.found, Device) else None
            if mtu is not None and (found is None or found.mtu != mtu):
                what = f"set MTU {mtu} of {name}"
                yield _Change(what, "link", "set", {"index": index, "mtu": mtu})
            if up and (found is None or not found.up):
                yield _Change(f"set {name} up", "link", "set", {"index": index, "state": "up"})
        case Address(device=device, address=address):
            fields = {
                "index": index,
                "address": str(address.ip),
                "prefixlen": address.network.prefixlen,
            }
            if each.expected is None:
                yield _Change(f"remove address {address} of {device}", "addr", "del", fields)
            else:
                broadcast = str(address.network.broadcast_address)
                what = f"set address {address} of {device}"
                yield _Change(what, "addr", "add", {**fields, "broadcast": broadcast})
        case Route(device=device, to=to):
            # Whatever is there for this destination, a blackhole say, makes room.
            verb, command = ("remove", "del") if each.expected is None else ("set", "replace")
            fields = {"oif": index, "dst": str(to), "scope": "link"}
            yield _Change(f"{verb} route {to} by {device}", "route", command, fields)
