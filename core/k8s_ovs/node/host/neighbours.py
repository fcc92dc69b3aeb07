"""Does Open vSwitch know the way to another node before the first packet goes there?

On the userspace datapath Open vSwitch itself asks by ARP for the MAC address that leads to another
node, once it has a packet to send there, and drops this packet. It remembers the answer for 15
minutes after the last packet. So it is given packets without content beforehand: neighbour probes.
The other node drops them, and learns from them how to answer. On the kernel's datapath the kernel
keeps packets until it knows.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Set
from ipaddress import IPv4Address

import structlog
from attrs import define

from k8s_ovs.errors import SwitchError, Unavailable
from k8s_ovs.model.node import LocalNode
from k8s_ovs.model.world import SUBNETS, Slot
from k8s_ovs.node.network import Network
from k8s_ovs.node.switch import Switch
from k8s_ovs.ovs.openflow.client import OpenFlow
from k8s_ovs.pipeline.action import Output, SetField
from k8s_ovs.pipeline.field import FIELDS
from k8s_ovs.pipeline.wire import actions_alone

__all__ = ["AT_ONCE", "Neighbours", "ProbeTimes"]

_log = structlog.get_logger(__name__)

#: Seconds until a node is probed again: first this, in case the question or its answer is lost or
#: the other node is still starting, then twice as long each time.
_SHORTEST = 1.0
#: At last this, well below the 15 minutes.
_LONGEST = 240.0
#: So many nodes at most, each time; then the others wait for a second. With more than 14,000 nodes
#: one that nothing is sent to may be forgotten.
AT_ONCE = 16
_PAUSE = 1.0

#: A broadcast without content, of a type that no protocol has (IEEE 802, local experimental 1).
_FRAME = bytes.fromhex("ffffffffffff 020000000000 88b5")


class ProbeTimes:
    """When is which node probed? Times are seconds, of one clock."""

    @define
    class _Peer:
        due: float
        wait: float = _SHORTEST

    def __init__(self) -> None:
        self._peers: dict[IPv4Address, ProbeTimes._Peer] = {}
        self._paused_until = 0.0

    def follow(self, addresses: Set[IPv4Address], own: IPv4Address, now: float) -> None:
        """These are the other nodes now; new ones are due. own: of this node.

        Each node begins with another one, so that nobody is asked by all at the same time.
        """
        self._peers = {at: peer for at, peer in self._peers.items() if at in addresses}
        new = (each for each in addresses if each not in self._peers)
        for address in sorted(new, key=lambda each: (int(each) - int(own)) % 2**32):
            self._peers[address] = self._Peer(now)

    def take(self, now: float) -> list[IPv4Address]:
        """Whom to probe now; those that have been probed least come first."""
        if self.due_at is None or now < self.due_at:
            return []
        due = [(address, peer) for address, peer in self._peers.items() if peer.due <= now]
        due.sort(key=lambda each: (each[1].wait, each[1].due))
        self._paused_until = now + _PAUSE
        for _, peer in due[:AT_ONCE]:
            peer.due, peer.wait = now + peer.wait, min(2 * peer.wait, _LONGEST)
        return [address for address, _ in due[:AT_ONCE]]

    @property
    def due_at(self) -> float | None:
        """When `take` has one next; None: never."""
        soonest = min((peer.due for peer in self._peers.values()), default=None)
        return None if soonest is None else max(soonest, self._paused_until)


class Neighbours:
    """Sends neighbour probes."""

    def __init__(self, switch: Switch) -> None:
        self._switch = switch
        self._forget()

    def _forget(self) -> None:
        self._times = ProbeTimes()
        self._slots: Mapping[str, Slot] | None = None
        self._through: OpenFlow | None = None
        self.due_at: float | None = None

    def tend(self, network: Network) -> None:
        """Send what is due. It never waits, and what fails is not told: then the first packet to a
        node is lost. It wants to be called again at `due_at` (time.monotonic()); None: never.
        """
        openflow = self._switch.openflow
        if network.datapath != "netdev" or openflow is None:
            self._forget()
            return
        if openflow is not self._through:  # it may be another ovs-vswitchd, which knows nobody
            self._forget()
            self._through = openflow
        now, slots = time.monotonic(), network.reconciler.world.of(SUBNETS)
        own = network.local_node
        if slots is not self._slots:  # a world is immutable: the same slots say the same
            self._times.follow(set(_others(slots, own)), own.host_ip, now)
            self._slots = slots
        elif self.due_at is None or now < self.due_at:
            return
        for address in self._times.take(now):
            _probe(openflow, own.tunnel_port, address)
        self.due_at = self._times.due_at


def _others(slots: Mapping[str, Slot], own: LocalNode) -> Iterator[IPv4Address]:
    for slot in slots.values():
        record = slot.settled
        if record is not None and record.subnet is not None and record.host_ip != own.host_ip:
            yield record.host_ip


def _probe(openflow: OpenFlow, tunnel: int, address: IPv4Address) -> None:
    """Send a packet without content through port `tunnel` to the node of this address."""
    actions = SetField(FIELDS["tun_dst"], int(address)), Output(tunnel)
    try:
        openflow.send_packet(_FRAME, actions_alone(actions))
    except (Unavailable, SwitchError) as error:
        # That the connection has ended, the next look at it tells.
        _log.debug("neighbour probe not sent", peer=str(address), reason=str(error))
