"""Does Open vSwitch know the way to another node before the first packet goes there?

On the userspace datapath Open vSwitch itself asks by ARP for the MAC address that leads to another
node, once it has a packet to send there, and drops this packet. It remembers the answer for 15
minutes after the last packet. So it is given packets without content beforehand: neighbour probes.
The other node drops them, and learns from them how to answer. On the kernel's datapath the kernel
keeps packets until it knows.
"""

from __future__ import annotations

import time
from heapq import heappop, heappush
from ipaddress import IPv4Address

import structlog
from attrs import define

from k8s_ovs.errors import SwitchError, Unavailable
from k8s_ovs.model.node import LocalNode
from k8s_ovs.model.subnet import HostSubnet
from k8s_ovs.model.world import EMPTY, SUBNETS
from k8s_ovs.node.network import Network
from k8s_ovs.node.switch import Switch
from k8s_ovs.ovs.openflow.client import OpenFlow
from k8s_ovs.pipeline.action import Output, SetField
from k8s_ovs.pipeline.field import FIELDS
from k8s_ovs.pipeline.wire import actions_alone
from k8s_ovs.reconcile.reconciler import Reconciler

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

#: Who asks which records have changed.
_WHO = "neighbours"

#: A broadcast without content, of a type that no protocol has (IEEE 802, local experimental 1).
_FRAME = bytes.fromhex("ffffffffffff 020000000000 88b5")


class ProbeTimes:
    """When is which node probed? Times are seconds, of one clock. own: of this node.

    Each node begins with another one, so that nobody is asked by all at the same time.
    """

    @define
    class _Peer:
        due: float
        wait: float = _SHORTEST

    def __init__(self, own: IPv4Address) -> None:
        self._own = int(own)
        self._peers: dict[IPv4Address, ProbeTimes._Peer] = {}
        # (when it is due, address); of those that are due (wait, when, distance, address). What has
        # gone or changed since is passed over.
        self._waiting: list[tuple[float, IPv4Address]] = []
        self._ready: list[tuple[float, float, int, IPv4Address]] = []
        self._paused_until = 0.0

    def come(self, address: IPv4Address, now: float) -> None:
        """Another node is there; it is due at once."""
        if address not in self._peers:
            self._peers[address] = self._Peer(now)
            heappush(self._waiting, (now, address))

    def go(self, address: IPv4Address) -> None:
        """It is there no longer."""
        self._peers.pop(address, None)

    def take(self, now: float) -> list[IPv4Address]:
        """Whom to probe now; those that have been probed least come first."""
        if self.due_at is None or now < self.due_at:
            return []
        self._wake(now)
        self._paused_until = now + _PAUSE
        taken: list[IPv4Address] = []
        while self._ready and len(taken) < AT_ONCE:
            _, due, _, address = heappop(self._ready)
            if self._is_due(address, due):
                peer = self._peers[address]
                peer.due, peer.wait = now + peer.wait, min(2 * peer.wait, _LONGEST)
                heappush(self._waiting, (peer.due, address))
                taken.append(address)
        return taken

    @property
    def due_at(self) -> float | None:
        """When `take` has one next; None: never."""
        while self._ready and not self._is_due(self._ready[0][3], self._ready[0][1]):
            heappop(self._ready)
        while self._waiting and not self._is_due(self._waiting[0][1], self._waiting[0][0]):
            heappop(self._waiting)
        if self._ready:
            return max(self._ready[0][1], self._paused_until)
        return max(self._waiting[0][0], self._paused_until) if self._waiting else None

    def _wake(self, now: float) -> None:
        while self._waiting and self._waiting[0][0] <= now:
            due, address = heappop(self._waiting)
            if self._is_due(address, due):
                distance = (int(address) - self._own) % 2**32
                heappush(self._ready, (self._peers[address].wait, due, distance, address))

    def _is_due(self, address: IPv4Address, due: float) -> bool:
        """Whether this is what is planned for it now."""
        peer = self._peers.get(address)
        return peer is not None and peer.due == due


class Neighbours:
    """Sends neighbour probes."""

    def __init__(self, switch: Switch) -> None:
        self._switch = switch
        self._forget()

    def _forget(self) -> None:
        self._times: ProbeTimes | None = None
        self._reconciler: Reconciler | None = None
        # The address under each key.
        self._known: dict[str, IPv4Address] = {}
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
        now, own = time.monotonic(), network.local_node
        if self._times is None:
            self._times = ProbeTimes(own.host_ip)
        if not self._follow(network.reconciler, own, self._times, now) and (
            self.due_at is None or now < self.due_at
        ):
            return
        for address in self._times.take(now):
            _probe(openflow, own.tunnel_port, address)
        self.due_at = self._times.due_at

    def _follow(
        self, reconciler: Reconciler, own: LocalNode, times: ProbeTimes, now: float
    ) -> bool:
        """Take in which other nodes there are; whether that has changed."""
        slots = reconciler.world.of(SUBNETS)
        touched = {key for kind, key in reconciler.take_touched(_WHO) if kind == SUBNETS}
        if reconciler is not self._reconciler:
            self._reconciler = reconciler
            touched = self._known.keys() | slots.keys()
        for key in touched:
            record: HostSubnet | None = slots.get(key, EMPTY).settled
            old, new = self._known.pop(key, None), None
            if record is not None and record.subnet and record.host_ip != own.host_ip:
                new = self._known[key] = record.host_ip
            if new is not None:
                times.come(new, now)
            if old is not None and old != new:
                times.go(old)
        return bool(touched)


def _probe(openflow: OpenFlow, tunnel: int, address: IPv4Address) -> None:
    """Send a packet without content through port `tunnel` to the node of this address."""
    actions = SetField(FIELDS["tun_dst"], int(address)), Output(tunnel)
    try:
        openflow.send_packet(_FRAME, actions_alone(actions))
    except (Unavailable, SwitchError) as error:
        # That the connection has ended, the next look at it tells.
        _log.debug("neighbour probe not sent", peer=str(address), reason=str(error))
