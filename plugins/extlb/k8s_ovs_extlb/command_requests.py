"""What a command asks, as records to write; allocations.py answers. Pure."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

from attrs import evolve

from k8s_ovs.plugin import (
    GIVEN,
    SUBNETS,
    HostSubnet,
    InvalidRecord,
    K8sOvsError,
    View,
    Write,
    host_ip_problem,
)
from k8s_ovs_extlb.listing import Host, host, hosts
from k8s_ovs_extlb.records import EXTERNAL

__all__ = ["chosen", "moved", "removed", "requested"]


def chosen(view: View, wanted: str) -> Host:
    """The host of this name or address. Raises K8sOvsError where there is none, more than one, or
    a node of Kubernetes."""
    _refuse_node(view, wanted)
    for key, given in view.all(GIVEN).items():
        if given.host == wanted:
            _refuse_node(view, key)
    return host(hosts(view), wanted)


def requested(
    view: View, name: str, address: IPv4Address, subnet: IPv4Network | None, length: int | None
) -> Write:
    """A record that asks for a subnet. length: host bits, None: as many as nodes get.

    Raises K8sOvsError where another host is there, or this one is elsewhere.
    """
    key = str(address)
    _refuse_no_host(view, address)
    _refuse_node(view, key)
    for each in hosts(view):
        if each.address == key and each.name != name:
            raise K8sOvsError(f"{key} is the address of host {each.name}, remove it first")
        if each.name == name and each.address != key:
            raise K8sOvsError(
                f"host {name} is at {each.address}; to move it: k8s-ovs external move {name} {key}"
            )
    before = _written(view, key) or HostSubnet(name, address)
    wanted = evolve(
        before, host=name, subnet=subnet, assign=True, reason=None, host_subnet_length=length
    )
    return Write(SUBNETS, key, wanted, view.revision(SUBNETS, key))


def removed(view: View, found: Host) -> list[Write]:
    """Its records, gone."""
    return [
        Write(kind, found.address, None, revision)
        for kind in (SUBNETS, EXTERNAL)
        if (revision := view.revision(kind, found.address))
    ]


def moved(view: View, found: Host, address: IPv4Address) -> list[Write]:
    """Its records under its new address. Raises K8sOvsError where that cannot be."""
    new = str(address)
    _refuse_node(view, new)
    if view.revision(SUBNETS, new):
        raise K8sOvsError(f"{new} has a record already; k8s-ovs subnet list shows whose")
    _refuse_no_host(view, address)
    record = _written(view, found.address)
    if record is None:
        raise K8sOvsError(f"{SUBNETS}/{found.address} cannot be read: {found.problem}")
    # What goes first is gone when nodes see the rest: no two hosts ever have the subnet.
    writes = [*removed(view, found), Write(SUBNETS, new, record.moved(address), 0)]
    if (known := view.get(EXTERNAL, found.address)) is not None:
        writes.append(Write(EXTERNAL, new, known, view.revision(EXTERNAL, new)))
    return writes


def _written(view: View, key: str) -> HostSubnet | None:
    """The record as it is in etcd; None: there is none, or it cannot be read."""
    if view.problem(SUBNETS, key) is not None:
        return None
    asks: HostSubnet | None = view.request(SUBNETS, key)
    return asks or view.subnet(key)


def _refuse_no_host(view: View, address: IPv4Address) -> None:
    if (problem := host_ip_problem(address, view.config)) is not None:
        raise InvalidRecord(f"the host's address: {problem}")


def _refuse_node(view: View, key: str) -> None:
    given = view.get(GIVEN, key)
    if given is not None:
        raise K8sOvsError(f"{key} is the address of node {given.host}, not an external host")
