"""A bridge with simulated ports that has the flows of a world, to ask where packets go.

bridge = TracedBridge(ovs, manager)
bridge.show(world)
assert bridge.trace("in_port=101,icmp,...").sent_to == 102
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from ipaddress import IPv4Address

from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.model.pod import Pod
from k8s_ovs.model.world import LOCAL_NODE, PODS, World
from k8s_ovs.ovs.openflow.client import OpenFlow
from k8s_ovs.pipeline.wire import WireFlow
from k8s_ovs.reconcile.reconciler import Reconciler
from k8s_ovs_testing.ovs import OvsProcess
from k8s_ovs_testing.trace import ANSWER, Trace, trace
from k8s_ovs_testing.world import indexed

__all__ = ["TracedBridge"]


class TracedBridge:
    """A bridge of `ovs`, which has a dummy datapath. failures: what plugins failed at."""

    def __init__(self, ovs: OvsProcess, manager: PluginManager, name: str = "br0") -> None:
        self._ovs = ovs
        self._manager = manager
        self._name = name
        self._ports: set[int] = set()
        self._cookies: set[int] = set()
        self.reconciler = Reconciler(manager)
        ovs.vsctl("add-br", name, "--", "set", "bridge", name, "fail_mode=secure")

    @property
    def failures(self) -> list[str]:
        return self.reconciler.failures

    def show(self, world: World) -> None:
        """Have the ports and the flows of `world`, and no others."""
        local_node = world.of(LOCAL_NODE)[""].settled
        self._add_ports({local_node.tunnel_port: ("type=vxlan", "options:remote_ip=flow")})
        self._add_ports({local_node.node_port: ("type=dummy",)})
        pods: Iterable[Pod] = world.settled(PODS).values()
        self._add_ports({pod.ofport: ("type=dummy",) for pod in pods})
        self.reconciler = Reconciler(self._manager, indexed(world, self._manager))
        self.reconciler.compute()
        self.install(flow for flow, _ in self.reconciler.desired.flows())

    def install(self, flows: Iterable[WireFlow]) -> None:
        """Have just these flows, and the meters that they name."""
        wanted = {flow.cookie: flow for flow in flows}
        with closing(OpenFlow.connect(self._ovs.mgmt(self._name))) as connection:
            adds = [flow for cookie, flow in wanted.items() if cookie not in self._cookies]
            meters = {flow.meter.number: flow.meter for flow in wanted.values() if flow.meter}
            there = connection.meters()
            connection.put_meters(
                [meters[number] for number in meters.keys() - there.keys()],
                [meters[number] for number in meters.keys() & there.keys()],
            )
            connection.commit(adds, sorted(self._cookies - wanted.keys()))
            connection.delete_meters(sorted(there.keys() - meters.keys()))
        self._cookies = set(wanted)

    def trace(self, packet: str, *, answer: bool = False, ct_next: tuple[str, ...] = ()) -> Trace:
        """The way of `packet` (ovs-ofctl's syntax); answer: connection tracking knows it as one.

        ct_next: what connection tracking says each time that it is asked, see `trace`.
        """
        control = self._ovs.directory / "ovs-vswitchd.ctl"
        ct_next = (ANSWER,) if answer else ct_next
        return trace(control, self._name, self._manager.pipeline, packet, ct_next=ct_next)

    def send(self, pod: Pod, to: IPv4Address | str, packet: str = "icmp") -> Trace:
        """The way of a pod's packet to an address. packet: its protocol and what else it carries,
        such as "tcp,tcp_dst=80"."""
        return self.trace(
            f"{packet},in_port={pod.ofport},dl_src={pod.mac},nw_src={pod.ip},nw_dst={to}"
        )

    def _add_ports(self, wanted: dict[int, tuple[str, ...]]) -> None:
        words: list[str] = []
        for number in sorted(wanted.keys() - self._ports):
            port = f"{self._name}-{number}"
            words += ["--", "add-port", self._name, port, "--", "set", "interface", port]
            words += [f"ofport_request={number}", *wanted[number]]
        if words:
            self._ovs.vsctl(*words[1:])
        self._ports |= wanted.keys()
