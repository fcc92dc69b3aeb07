"""How fast may a pod's interface be? Its two directions wait at two devices.

What the pod sends waits at its own interface, where the programs in it feel that and slow down.
What it receives waits at the node's end of the pair, on its way from Open vSwitch.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from attrs import frozen

from k8s_ovs.link.namespace import entered, opened
from k8s_ovs.link.netlink import LinkError, open_route_socket
from k8s_ovs.link.shaping.fair_queueing import QueueLimits
from k8s_ovs.link.shaping.token_bucket import (
    Queue,
    ShapedDevice,
    alteration,
    queue_of,
    same_rate,
    set_rate,
)
from k8s_ovs.link.veth import index_of, mtu_of
from k8s_ovs.model.pod import Rates

__all__ = ["PodQueues", "observed_rates", "queues", "rate_problems", "set_rates"]

#: What a pod sends: its programs are stopped by what their sockets may hold, mostly before these
#: are full.
_FROM_POD = QueueLimits(connections=64, frames=300, others=300)
#: What it receives: as much as a node without limits lets wait for a connection (sch_fq).
_TO_POD = QueueLimits(connections=64, frames=100, others=100)
#: The same where Open vSwitch sends to all devices by one socket, whose 208 KiB hold 92 frames.
#: What waits at one device is charged to all, so less may.
_TO_POD_IN_USER_SPACE = QueueLimits(connections=2, frames=26, others=8)


class PodEnds(Protocol):
    """A pod's interface: its end on the node, and the one in the pod's network namespace."""

    @property
    def host_name(self) -> str: ...
    @property
    def netns(self) -> str: ...
    @property
    def ifname(self) -> str: ...
    @property
    def in_user_space(self) -> bool:
        """Whether Open vSwitch's userspace datapath sends to it."""
        ...


@frozen
class PodQueues:
    """The queues at a pod's interface; None: it has no limit."""

    to_pod: Queue | None
    from_pod: Queue | None


def set_rates(link: PodEnds, rates: Rates) -> bool:
    """Set the rate limits of both directions; a direction without a rate has its limit cleared.
    False: all were set already.

    Raises LinkError if the kernel cannot do that.
    """
    with _devices(link) as ((node, to_pod), (pod, from_pod)):
        changed = [set_rate(node, to_pod, rates.to_pod), set_rate(pod, from_pod, rates.from_pod)]
        return any(changed)


def observed_rates(link: PodEnds) -> tuple[int | None, int | None, list[str]]:
    """The rates to the pod and from it, in bits per second, and what somebody changed of the queues
    beside them, each as a sentence. Raises LinkError."""
    with _devices(link) as ends:
        found = [(*end, queue_of(end[0], end[1].index)) for end in ends]
        to_pod, from_pod = (queue.rate if queue else None for _, _, queue in found)
        altered = [text for each in found if (text := alteration(*each))]
        return to_pod, from_pod, altered


def rate_problems(link: PodEnds, rates: Rates) -> list[str]:
    """Where the interface's rate limits differ from `rates`, each as a sentence; empty: nowhere."""
    try:
        to_pod, from_pod, altered = observed_rates(link)
    except LinkError as error:
        return [str(error)]
    return [
        *_differs(link.host_name, to_pod, rates.to_pod),
        *_differs(link.ifname, from_pod, rates.from_pod),
        *altered,
    ]


@contextmanager
def _devices(
    link: PodEnds,
) -> Iterator[tuple[tuple[socket.socket, ShapedDevice], tuple[socket.socket, ShapedDevice]]]:
    """The device where what the pod receives waits, and the one where what it sends does, each with
    a socket where it is."""
    with _both_ends(link.netns) as (node, pod):
        to_pod = _device(node, link.host_name, _to_pod(link))
        yield (node, to_pod), (pod, _device(pod, link.ifname, _FROM_POD))


def _to_pod(link: PodEnds) -> QueueLimits:
    return _TO_POD_IN_USER_SPACE if link.in_user_space else _TO_POD


def _device(channel: socket.socket, name: str, limits: QueueLimits) -> ShapedDevice:
    return ShapedDevice(index_of(channel, name), name, mtu_of(channel, name), limits)


def queues(host_name: str, netns: str, ifname: str) -> PodQueues:
    """The queues of a pod's interface as they are. Raises LinkError."""
    with _both_ends(netns) as (node, pod):
        return PodQueues(
            queue_of(node, index_of(node, host_name)), queue_of(pod, index_of(pod, ifname))
        )


def _differs(device: str, rate: int | None, wanted: int | None) -> list[str]:
    if same_rate(rate, wanted):
        return []
    expected = "none" if wanted is None else f"{wanted} bit/s"
    return [f"{device} has {_rate_limit(rate)}, expected {expected}"]


def _rate_limit(rate: int | None) -> str:
    return "no rate limit" if rate is None else f"a rate limit of {rate} bit/s"


@contextmanager
def _both_ends(netns: str) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Route sockets on the node and in the pod."""
    with opened(netns) as inside, open_route_socket() as node:
        with entered(inside):
            pod = open_route_socket()
        with pod:
            yield node, pod
