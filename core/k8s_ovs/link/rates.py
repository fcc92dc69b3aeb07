"""How fast may a pod's interface be? Its two directions wait at two devices.

What the pod sends waits at its own interface, where the programs in it feel that and slow down.
What it receives waits at the node's end of the pair, on its way from Open vSwitch.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from attrs import frozen

from k8s_ovs.link.namespace import entered, opened
from k8s_ovs.link.netlink import LinkError, open_route_socket
from k8s_ovs.link.shape import Queue, Shaped, queue_of, shape
from k8s_ovs.link.veth import PodLink, index_of
from k8s_ovs.model.pod import Rates

__all__ = ["PodQueues", "hold", "queues", "rate_problems"]

#: Milliseconds of sending that may wait where the kernel has one queue for all. Programs in the pod
#: are stopped before that is full; who sends to the pod from elsewhere only knows a lost packet.
_FROM_POD_MS, _TO_POD_MS = 200, 20
#: Bytes that may wait to a pod. Open vSwitch's userspace datapath sends to all devices by one
#: socket, and what waits at one of them is charged to all.
_TO_POD_MOST = 1 << 16


@frozen
class PodQueues:
    """The queues in front of a pod's interface; None: it has no limit."""

    to_pod: Queue | None
    from_pod: Queue | None


def hold(link: PodLink, rates: Rates) -> bool:
    """Hold both directions to `rates`; a direction without a rate loses its limit. False: all was
    so already.

    Raises LinkError where the kernel cannot do that.
    """
    with _both_ends(link.netns) as (node, pod):
        to_pod = Shaped(
            index_of(node, link.host_name), link.host_name, link.mtu, _TO_POD_MS, _TO_POD_MOST
        )
        from_pod = Shaped(index_of(pod, link.ifname), link.ifname, link.mtu, _FROM_POD_MS)
        changed = [shape(node, to_pod, rates.to_pod), shape(pod, from_pod, rates.from_pod)]
        return any(changed)


def queues(host_name: str, netns: str, ifname: str) -> PodQueues:
    """The queues of a pod's interface as they are. Raises LinkError."""
    with _both_ends(netns) as (node, pod):
        return PodQueues(
            queue_of(node, index_of(node, host_name)), queue_of(pod, index_of(pod, ifname))
        )


def rate_problems(link: PodLink, rates: Rates) -> list[str]:
    """Where the interface is not held to `rates`, each as a sentence; empty when all is well."""
    try:
        found = queues(link.host_name, link.netns, link.ifname)
    except LinkError as error:
        return [str(error)]
    return [
        *_differs(link.host_name, found.to_pod, rates.to_pod),
        *_differs(link.ifname, found.from_pod, rates.from_pod),
    ]


def _differs(device: str, queue: Queue | None, wanted: int | None) -> list[str]:
    rate = None if queue is None else queue.rate
    # The kernel counts in bytes.
    if (rate and rate // 8) == (wanted and wanted // 8):
        return []
    return [f"{device} is held to {_said(rate)}, expected {_said(wanted)}"]


def _said(rate: int | None) -> str:
    return "no rate" if rate is None else f"{rate} bit/s"


@contextmanager
def _both_ends(netns: str) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Route sockets on the node and in the pod."""
    with opened(netns) as inside, open_route_socket() as node:
        with entered(inside):
            pod = open_route_socket()
        with pod:
            yield node, pod
