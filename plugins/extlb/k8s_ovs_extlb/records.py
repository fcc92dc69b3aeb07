"""The record of an external host: which subnet it got, so that it gets it again.

A new request overwrites `subnets/<address>`, so `external/<address>` remembers what was there
before: also while no daemon runs that has seen it.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from attrs import field, frozen

from k8s_ovs.plugin import InvalidRecord, RecordKind, decode, encode, named

__all__ = ["EXTERNAL", "KINDS", "External"]

#: Below `<Name>/`, by address.
EXTERNAL = "external"


@frozen
class External:
    """Which subnet the host under the same key has."""

    host: str = named("Host")
    subnet: IPv4Network = named("Subnet")
    extra: Mapping[str, Any] = field(factory=dict)


def _external(path: str, data: bytes) -> External:
    address = path.rpartition("/")[2]
    try:
        IPv4Address(address)
    except ValueError:
        raise InvalidRecord(f"{path}: key: found {address}, expected an IPv4 address") from None
    return decode(External, path, data)


KINDS = (RecordKind(EXTERNAL, _external, encode, holds=lambda record: record.subnet),)
