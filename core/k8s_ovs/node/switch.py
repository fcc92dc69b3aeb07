"""Brings pods' ports and all flows to the desired state; br0 itself is `ovsdb.driver`'s."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from contextlib import closing
from ipaddress import IPv4Address
from pathlib import Path

import structlog
from attrs import evolve, frozen

from k8s_ovs.errors import SwitchError, Unavailable
from k8s_ovs.link.kernel_datapath import kernel_has_datapath
from k8s_ovs.link.veth import host_name_of
from k8s_ovs.model.node import LocalNode
from k8s_ovs.model.pod import Pod, Rates, pod_from_ids, pod_ids, rate_ids
from k8s_ovs.model.subnet import HostSubnet
from k8s_ovs.node.own_subnet import local_node_of
from k8s_ovs.ovs.datapath import Datapath, choose_datapath
from k8s_ovs.ovs.openflow.altered import altered_cookies
from k8s_ovs.ovs.openflow.client import FlowRefused, OpenFlow
from k8s_ovs.ovs.ovsdb.client import Ovsdb
from k8s_ovs.ovs.ovsdb.state import Port
from k8s_ovs.ovs.ovsdb.transaction import BridgeSettings, PortSettings, Transaction
from k8s_ovs.reconcile.desired_flows import Delta, DesiredFlows

__all__ = [
    "BRIDGE",
    "NODE_PORT",
    "PODS_FROM",
    "TUNNEL_PORT",
    "Commits",
    "Switch",
    "management_socket",
    "ofport_of",
]

BRIDGE = "br0"
TUNNEL_PORT = "vxlan0"
NODE_PORT = "tun0"
TUNNEL_OFPORT, NODE_OFPORT = 1, 2

#: The pod with the n-th address of the subnet asks for OpenFlow port PODS_FROM + n, so that its
#: flows are known before ovs-vswitchd has made the port, and are the same after a reboot.
PODS_FROM = 16
_LAST_OFPORT = 0xFEFF  # OFPP_MAX less the reserved ones, OpenFlow 1.0 section 5.2.1 as OVS has it

#: Key of br0's external_ids: removed pods have no port that would remember their address.
_LAST_GIVEN = "k8s-ovs-last-given"

_log = structlog.get_logger(__name__)


@frozen
class Commits:
    """Changes of the bridge's flows since the start. seconds: spent in them in all; last: the time
    of the last one (time.time()), 0: there was none."""

    count: int = 0
    added: int = 0
    deleted: int = 0
    seconds: float = 0.0
    last: float = 0.0


class Switch:
    """Open vSwitch of this node. run_dir: where its sockets are."""

    def __init__(self, run_dir: Path, wanted: str = "auto", timeout: float = 5.0) -> None:
        self._run_dir = run_dir
        self._wanted = wanted
        self._timeout = timeout
        self.ovsdb = Ovsdb(f"unix:{run_dir}/db.sock", timeout)
        self.openflow: OpenFlow | None = None
        self.commits = Commits()
        self._known_ports: dict[str, Port] = {}
        self._pods: dict[str, Pod] = {}
        # The OpenFlow numbers that the pods' ports ask for.
        self._requests: dict[str, int | None] = {}
        self._going: set[str] = set()

    def connect(self) -> None:
        """Reach ovsdb-server. Raises Unavailable."""
        self.ovsdb.connect()

    def datapath(self) -> Datapath:
        """The datapath that br0 gets. Raises SwitchError, Unavailable."""
        types = self.ovsdb.switch().datapath_types
        return choose_datapath(self._wanted, kernel_has_datapath(), types)

    def local_node(self, own: HostSubnet, mtu: int) -> LocalNode:
        """This node with the ports of its bridge, once ovs-vswitchd has numbered them.

        Raises SwitchError, Unavailable.
        """
        numbers = self.ovsdb.await_ofports(BRIDGE, [TUNNEL_PORT, NODE_PORT])
        ports = numbers[TUNNEL_PORT], numbers[NODE_PORT]
        return local_node_of(own, mtu, *ports, self.most_meters())

    def most_meters(self) -> int:
        """How many meters br0 can have; 0: its datapath has none. Raises Unavailable."""
        with closing(self.openflow_connection()) as openflow:
            return openflow.most_meters()

    def pods(self) -> dict[str, Pod]:
        """The pods of this node, by port.

        OVSDB tells of each once: what somebody changes there later, or takes away, is not believed.
        """
        bridge = self.ovsdb.bridge(BRIDGE)
        known, self._known_ports = self._known_ports, {}
        for name, port in bridge.ports.items() if bridge else ():
            self._known_ports[name] = port
            # A port that has not changed is the same value: most are, each time.
            if known.get(name) is not port:
                self._see(port)
        return dict(self._pods)

    def _see(self, port: Port) -> None:
        number = port.ofport or port.ofport_request or 0
        pod = self._pods.get(port.name)
        if pod is None:
            pod = _pod_of(port, number)
            self._requests[port.name] = port.ofport_request
        elif port.ofport_request == self._requests.get(port.name):
            # ovs-vswitchd chose it; it is also who may choose another one after a restart.
            pod = evolve(pod, ofport=number)
        if pod is not None:
            self._pods[port.name] = pod

    def adopt(self, pod: Pod) -> None:
        """A pod that lives on this node, although it has no port any more."""
        self._pods.setdefault(pod.port, pod)
        self._requests.setdefault(pod.port, pod.ofport or None)

    def change_ports(self, add: Iterable[Pod], remove: Iterable[str]) -> None:
        """Ports of pods, all in one transaction. Raises SwitchError, Unavailable.

        A port with the name of a removed one is added after the removal: ovs-vswitchd would keep
        the device that it has open, which no longer exists.
        """
        pods, gone = tuple(add), set(remove)
        removed = set(gone)
        if not self.busy:
            self._going.clear()
        self._going |= gone
        if not self._going.isdisjoint(pod.port for pod in pods):
            self.ovsdb.commit(Transaction(BRIDGE, remove_ports=tuple(gone)))
            self.ovsdb.await_applied()
            self._going.clear()
            gone.clear()
        ports = tuple(
            PortSettings(
                pod.port,
                ofport_request=pod.ofport or None,
                external_ids=pod_ids(pod),
                foreign_queue=pod.rates.to_pod is not None,
            )
            for pod in pods
        )
        bridge = self.ovsdb.bridge(BRIDGE)
        settings = None
        if pods and bridge:
            given = {_LAST_GIVEN: str(max(pods, key=lambda pod: pod.serial).ip)}
            settings = BridgeSettings(bridge.datapath_type, external_ids=given)
        self.ovsdb.commit(Transaction(BRIDGE, settings, ports, tuple(gone)))
        for port in removed:
            self._pods.pop(port, None)
            self._requests.pop(port, None)
        for pod in pods:
            # It may be there with another number already.
            self._known_ports.pop(pod.port, None)
        self._pods |= {pod.port: pod for pod in pods}
        self._requests |= {pod.port: pod.ofport or None for pod in pods}

    def release_ports(self, ports: Iterable[str]) -> None:
        """Remove ports of pods, and wait until ovs-vswitchd has released their devices: it restores
        their flags, and by then that may be another device of the same name.

        Raises SwitchError, Unavailable.
        """
        self.change_ports((), ports)
        self.ovsdb.await_applied()

    def note_rates(self, rates: Mapping[str, Rates]) -> None:
        """Remember the rate limits that pods' interfaces have now, by port. Raises Unavailable."""
        keys = {port: rate_ids(each) for port, each in rates.items()}
        queued = {port: each.to_pod is not None for port, each in rates.items()}
        self.ovsdb.commit(Transaction(BRIDGE, external_ids=keys, foreign_queues=queued))
        for port, each in rates.items():
            if port in self._pods:
                self._pods[port] = evolve(self._pods[port], rates=each)

    @property
    def last_given(self) -> IPv4Address | None:
        """The address that was given to a pod last, also if that pod is gone."""
        bridge = self.ovsdb.bridge(BRIDGE)
        text = bridge.external_ids.get(_LAST_GIVEN) if bridge else None
        try:
            return IPv4Address(text) if text else None
        except ValueError:
            return None  # somebody else wrote it, and only an order depends on it

    @property
    def busy(self) -> bool:
        """Whether ovs-vswitchd still has changes of OVSDB to apply."""
        return not self.ovsdb.applied

    def broken_ports(self, ports: Iterable[str]) -> dict[str, str]:
        """Which of the ports just added ovs-vswitchd cannot make, each with the reason.

        Waits until it has made all that it can. Raises Unavailable.
        """
        self.ovsdb.await_applied()
        bridge = self.ovsdb.bridge(BRIDGE)
        there = bridge.ports if bridge else {}
        return {name: reason for name in ports if (reason := _trouble(there.get(name)))}

    def read_flows(self, desired: DesiredFlows) -> None:
        """Tell `desired` what the switch has, over a connection kept open. Raises Unavailable."""
        if self.openflow is None:
            self.openflow = self.openflow_connection()
        self.openflow.patience = self.ovsdb.patience
        try:
            self.openflow.match_fragments()
            flows, meters = self.openflow.dump(), self.openflow.meters()
        except Unavailable:
            self.drop_flows_connection()
            raise
        desired.found((flow.cookie for flow in flows), meters, altered_cookies(flows, meters))

    def openflow_connection(self) -> OpenFlow:
        """A new connection to br0, the caller's to close. Raises Unavailable."""
        # While ovs-vswitchd makes ports it answers nobody.
        path = management_socket(self._run_dir)
        return OpenFlow.connect(path, self._timeout, self.ovsdb.patience)

    def commit_flows(self, desired: DesiredFlows) -> tuple[int, int]:
        """Bring the flows to what is desired, in one bundle; how many were (added, deleted).

        A flow that Open vSwitch refuses is left out and the others go in. Raises Unavailable.
        """
        if self.openflow is None:
            raise Unavailable("there is no OpenFlow connection to br0")
        while delta := desired.delta():
            begin = time.monotonic()
            self.openflow.patience = self.ovsdb.patience
            try:
                refused = self.openflow.put_meters(delta.new_meters, delta.other_meters)
                desired.metered(delta, refused)
                if refused:
                    continue
                self.openflow.commit(delta.adds, delta.deletes)
                self.openflow.delete_meters(delta.old_meters)
            except FlowRefused as error:
                if not error.cookies:
                    raise
                desired.refuse(error.cookies, str(error))
                continue
            except Unavailable:
                self.drop_flows_connection()
                raise
            desired.committed(delta)
            self._count(delta, time.monotonic() - begin)
            return len(delta.adds), len(delta.deletes)
        return 0, 0

    def _count(self, delta: Delta, seconds: float) -> None:
        before = self.commits
        self.commits = Commits(
            count=before.count + 1,
            added=before.added + len(delta.adds),
            deleted=before.deleted + len(delta.deletes),
            seconds=before.seconds + seconds,
            last=time.time(),
        )

    def drop_flows_connection(self) -> None:
        if self.openflow is not None:
            self.openflow.close()
            self.openflow = None

    def serve_flows_connection(self) -> None:
        """Answer the switch's questions; a connection that has ended is dropped."""
        if self.openflow is None:
            return
        try:
            self.openflow.service()
        except (Unavailable, SwitchError) as error:
            _log.warning("OpenFlow connection ended", bridge=BRIDGE, reason=str(error))
            self.drop_flows_connection()


def management_socket(run_dir: Path) -> str:
    """Where br0 speaks OpenFlow. run_dir: where Open vSwitch has its sockets."""
    return str(run_dir / f"{BRIDGE}.mgmt")


def _trouble(port: Port | None) -> str:
    if port is None:
        return "somebody else removed it"
    if port.error or port.ofport is None:
        return port.error or "it got no OpenFlow number: see ovs-vswitchd's log"
    return ""


def _pod_of(port: Port, number: int) -> Pod | None:
    """The pod whose port it is. One of another name than its sandbox's is somebody else's, whatever
    it says: no DEL would ever find it."""
    pod = pod_from_ids(port.name, number, port.external_ids)
    return pod if pod and host_name_of(pod.container, pod.ifname) == port.name else None


def ofport_of(pod_ip: int, subnet_start: int) -> int:
    """The port number that a pod asks for; 0: its address is too far into a huge subnet."""
    number = PODS_FROM + pod_ip - subnet_start
    return number if number <= _LAST_OFPORT else 0
