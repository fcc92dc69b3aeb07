"""What to write about external hosts: answers to requests, and what is remembered.

Pure: the world in, allocations out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum, auto
from ipaddress import IPv4Address, IPv4Network

from attrs import evolve

from k8s_ovs.plugin import (
    GIVEN,
    SUBNETS,
    Allocation,
    HostSubnet,
    Refusal,
    View,
    Write,
    free_subnets,
    request_problem,
)
from k8s_ovs_extlb.records import EXTERNAL, External

__all__ = ["allocations"]


def allocations(view: View) -> Iterator[Allocation]:
    """Answers first, then which existing subnets to remember, and which to forget."""
    wanted = sorted(view.each(_to_do, SUBNETS, EXTERNAL).items())
    now: dict[IPv4Network, str] = {}
    for key, what in wanted:
        request = view.request(SUBNETS, key)
        if what is _ToDo.ANSWER and request is not None:
            yield _answer(view, key, request, now)
    for key, what in wanted:
        record = view.subnet(key)
        if what is _ToDo.REMEMBER and record is not None and record.subnet is not None:
            write = _remember(view, key, record.host, record.subnet)
            yield Allocation((write,), f"host {record.host} at {key} has {record.subnet} by hand")
    for key, what in wanted:
        known: External | None = view.get(EXTERNAL, key)
        if what is _ToDo.FORGET and known is not None:
            write = Write(EXTERNAL, key, None, view.revision(EXTERNAL, key))
            yield Allocation((write,), f"host {known.host} is gone from {key}")


class _ToDo(Enum):
    """About the host at one address."""

    ANSWER = auto()
    REMEMBER = auto()
    FORGET = auto()


def _to_do(view: View, key: str) -> _ToDo | None:
    """None: nothing."""
    record, known = view.subnet(key), view.get(EXTERNAL, key)
    if _is_of_node(view, key):
        return None if known is None else _ToDo.FORGET
    if view.request(SUBNETS, key) is not None:
        return _ToDo.ANSWER
    if record is not None and record.subnet is not None:
        same = known is not None and (known.host, known.subnet) == (record.host, record.subnet)
        return None if same else _ToDo.REMEMBER
    return None if known is None or view.problem(SUBNETS, key) else _ToDo.FORGET


def _is_of_node(view: View, key: str) -> bool:
    """Whether a node of Kubernetes is there: the core allocates, moves and answers then."""
    nodes = view.nodes_at(key).values()
    return view.get(GIVEN, key) is not None or any(key == str(it.addresses[0]) for it in nodes)


def _answer(view: View, key: str, request: HostSubnet, now: dict[IPv4Network, str]) -> Allocation:
    """The record with its subnet, or with the reason why it gets none.

    now: what was given since `view`, with the keys; noted here.
    """
    taken = {**view.taken(besides=key), **now}
    before = _record_before(view, key, request, taken)
    try:
        subnet = _fitting(view, key, request, before, taken)
    except Refusal as refusal:
        kept = before or evolve(request, subnet=None)
        answer = evolve(kept, assign=False, reason=refusal.reason)
        told = f"subnet for {request.host} at {key} refused: {refusal.reason}"
        return Allocation((_answered(view, key, answer),), told)
    now[subnet] = key
    answer = evolve(request, subnet=subnet, assign=False, reason=None)
    writes = (_answered(view, key, answer), _remember(view, key, request.host, subnet))
    return Allocation(writes, f"host {request.host} at {key} has {subnet}")


def _fitting(
    view: View,
    key: str,
    request: HostSubnet,
    before: HostSubnet | None,
    taken: Mapping[IPv4Network, str],
) -> IPv4Network:
    """The subnet for a host: the one that was written manually, the one it had, or the first free
    one.

    Raises Refusal.
    """
    if reason := request_problem(key, request, view.config, taken):
        raise Refusal(reason)
    if request.subnet is not None:
        return request.subnet
    length = request.host_subnet_length
    had = before.subnet if before else None
    if had is not None and length in (None, 32 - had.prefixlen):
        return had
    free = next(free_subnets(view.config, taken, length), None)
    if free is None:
        size = view.config.node_prefix if length is None else 32 - length
        raise Refusal(f"Subnet: no /{size} of Network {view.config.network} is free")
    return free


def _record_before(
    view: View, key: str, request: HostSubnet, taken: Mapping[IPv4Network, str]
) -> HostSubnet | None:
    """The host's record as it was before it asked; None: it had no subnet, or none that is left."""
    before = view.subnet(key)
    known: External | None = view.get(EXTERNAL, key)
    if known is not None and (before is None or before.subnet is None):
        host_ip = IPv4Address(key)
        before = evolve(request, host=known.host, host_ip=host_ip, subnet=known.subnet)
    if before is None or before.subnet is None:
        return None
    before = evolve(before, host_subnet_length=None)
    return None if request_problem(key, before, view.config, taken) else before


def _answered(view: View, key: str, answer: HostSubnet) -> Write:
    return Write(SUBNETS, key, answer, view.revision(SUBNETS, key))


def _remember(view: View, key: str, host: str, subnet: IPv4Network) -> Write:
    known: External = view.get(EXTERNAL, key) or External(host, subnet)
    record = evolve(known, host=host, subnet=subnet)
    return Write(EXTERNAL, key, record, view.revision(EXTERNAL, key))
