"""Is this node as it should be? Looks, puts right what somebody changed, and says so.

Notifications of OVSDB and of the kernel have it look at once at what they are about; everything is
looked at every few seconds.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

import structlog
from attrs import evolve

from k8s_ovs.errors import K8sOvsError
from k8s_ovs.link import veth
from k8s_ovs.link.veth_driver import InterfaceDriver, VethDriver
from k8s_ovs.model.pod import Pod, Rates, pod_from_memory
from k8s_ovs.node.host.desired import (
    host_values,
    nft_values,
    pod_values,
    rate_values,
)
from k8s_ovs.node.host.round_robin import RoundRobin
from k8s_ovs.node.host.state import Look, Unknown, host_state
from k8s_ovs.node.network import Network, link_settings, pod_link
from k8s_ovs.node.rate_limits import RateLimits
from k8s_ovs.node.switch import Switch, ofport_of
from k8s_ovs.ovs.ovsdb.driver import SwitchDriver
from k8s_ovs.state.diff import Difference
from k8s_ovs.state.value import Bridge, Interface, NftTable, Port, RateLimit, Value, Veth

__all__ = ["Keeper"]

_log = structlog.get_logger(__name__)

#: Seconds between two looks at everything. With the repair, all is right again within 10.
_LOOK_EVERY = 8.0
#: Seconds between two looks at what the kernel notifies of: pods that come and go change much.
_NOTICE_EVERY = 1.0

#: Seconds for which a look waits for ovs-vswitchd, and how often: busy with ports it answers
#: nothing, and who waits for the end of a reconcile would wait for that.
_PUT_OFF, _MOST_PUT_OFF = 0.25, 20

#: Pods of which the queues are looked at in one look, each some 2 ms, and those of which the
#: interface is, each some 0.3 ms.
_LIMITED_AT_ONCE, _PODS_AT_ONCE = 50, 50
#: Seconds until a device that could not be made is tried again: its port goes for the attempt.
_UNMADE_REST = 60.0

#: Told when a pod is cut off, and when it is not any more ("").
PodTold = Callable[[Pod, str], None]


class Keeper:
    """told: of each pod that is cut off, and of each that no longer is."""

    def __init__(self, node: str, switch: Switch, limits: RateLimits, told: PodTold) -> None:
        self._node = node
        self._switch = switch
        self._limits = limits
        self._told = told
        self._veths = VethDriver()
        self.host = host_state(switch)
        self._look_at = 0.0
        self._put_off = 0
        self._noticed: set[str] = set()
        self._noticed_at = 0.0
        self._seqno = -1
        self._repairs: Counter[str] = Counter()
        self._cut_off: dict[str, str] = {}
        # Devices of pods that have no way back to the bridge, as the last look found.
        self._stranded: set[str] = set()
        # Ports whose device could not be made again, and when to try that again.
        self._unmade: dict[str, float] = {}
        self._strangers: list[str] = []
        self._limited = RoundRobin(_LIMITED_AT_ONCE)
        self._pods = RoundRobin(_PODS_AT_ONCE)
        # Ports of the pods whose interfaces were looked at last, and what is wrong with any.
        self._looked_into: list[str] = []
        self._inside: dict[str, str] = {}
        self._reason = ""

    @property
    def due_at(self) -> float:
        """When to look (time.monotonic())."""
        return min(self._look_at, self._noticed_at) if self._noticed else self._look_at

    @property
    def reason(self) -> str:
        """Why the node itself does not work; "": it does."""
        return self._reason

    @property
    def problems(self) -> list[str]:
        """Pods that are cut off, each with the reason, and devices with names of ours that are
        nobody's."""
        return [*self._cut_off.values(), *self._strangers]

    @property
    def repairs(self) -> Mapping[str, int]:
        """How often something of each kind was put right since the start."""
        return dict(self._repairs)

    def repaired(self, kind: str, found: str, count: int = 1, pod: str = "") -> None:
        """Something was put right: count it and say so."""
        self._repairs[kind] += count
        of_pod = {"pod": pod} if pod else {}
        _log.warning("repaired", node=self._node, kind=kind, found=found, **of_pod)

    def repaired_all(self, found: Iterable[Difference]) -> None:
        """These were put right."""
        for each in found:
            self.repaired(each.key.kind, str(each), pod=each.pod)

    def look_soon(self) -> None:
        """Look at everything in the next reconcile."""
        self._look_at, self._put_off = 0.0, _MOST_PUT_OFF

    def notice(self, kinds: Collection[str]) -> None:
        """Something of these kinds has changed: look at it soon."""
        self._noticed.update(kinds)

    def keep(self, network: Network, own: Sequence[Value], leaving: Collection[str]) -> bool:
        """Look, if it is time to, and put right what differs.

        own: the bridge and its own ports as they should be. leaving: devices that are being
        deleted. True: the bridge's flows may be gone with what was put back.
        """
        kinds = self._due_kinds()
        due = kinds == self.host.kinds
        if not kinds:
            return False
        if Veth.kind in kinds:
            self._match_devices(network, leaving)
            # It takes ports away, and finds pods that need one.
            kinds |= SwitchDriver.kinds
        desired, unknown = self._desired(network, own, kinds)
        done, left = self.host.repair(desired)
        left = evolve(left, unknown=(*left.unknown, *unknown))
        self._seqno = self._switch.ovsdb.seqno
        self.repaired_all(done)
        self._judge(left, due, leaving)
        of_switch = any(each.key.kind in (Bridge.kind, Port.kind) for each in done)
        if of_switch:
            # Devices and their queues may be new ones, or without what they had.
            self.notice(self.host.kinds)
        return of_switch

    def _due_kinds(self) -> frozenset[str]:
        """What it is time to look at: all, or that of which there are notifications."""
        now = time.monotonic()
        if now >= self._look_at and self._switch.busy and self._put_off < _MOST_PUT_OFF:
            self._look_at, self._put_off = now + _PUT_OFF, self._put_off + 1
        if now >= self._look_at:
            self._look_at, self._put_off = now + _LOOK_EVERY, 0
            self._noticed.clear()
            return self.host.kinds
        kinds: set[str] = set()
        if self._noticed and time.monotonic() >= self._noticed_at:
            kinds |= self._noticed
            self._noticed.clear()
            self._noticed_at = time.monotonic() + _NOTICE_EVERY
        if self._switch.ovsdb.seqno != self._seqno:
            kinds |= SwitchDriver.kinds
        return frozenset(kinds)

    def _desired(
        self, network: Network, own: Sequence[Value], kinds: frozenset[str]
    ) -> tuple[list[Value], list[Unknown]]:
        """What there should be of these kinds, and of which that could not be found out."""
        pods = self._switch.pods()
        of_all = kinds - InterfaceDriver.kinds
        values, unknown = [*own, *pod_values(pods.values(), of_all)], list[Unknown]()
        if not SwitchDriver.kinds.union(VethDriver.kinds).issuperset(kinds):
            values += host_values(network.local_node, network.config, network.datapath)
        if NftTable.kind in kinds:
            try:
                values += nft_values(network.local_node, network.config, network.etcd)
            except K8sOvsError as error:
                unknown.append(Unknown(frozenset({NftTable.kind}), error))
        self._looked_into = []
        if RateLimit.kind in kinds:
            limited = [port for port, pod in pods.items() if pod.rates != Rates()]
            chosen = [pods[port] for port in self._limited.choose(limited)]
            values += rate_values(chosen, network.datapath)
        if Interface.kind in kinds:
            self._looked_into = self._pods.choose(pods)
            chosen = [pods[port] for port in self._looked_into]
            values += pod_values(chosen, InterfaceDriver.kinds)
        return [each for each in values if each.kind in kinds], unknown

    def _match_devices(self, network: Network, leaving: Collection[str]) -> None:
        """Give pods what they lack, port or device: who lives here, both of them say."""
        devices = {each.name: each for each in self._veths.read(()) if isinstance(each, Veth)}
        pods = self._switch.pods()
        ended = [port for port, pod in pods.items() if port not in devices and _has_ended(pod)]
        for port in ended:
            _log.info("pod has ended, its port removed", pod=pods[port].identity, node=self._node)
        if ended:
            self._switch.change_ports((), ended)
        missing = pods.keys() - devices.keys()
        self._unmade = {port: at for port, at in self._unmade.items() if port in missing}
        for port in missing - set(ended):
            if time.monotonic() >= self._unmade.get(port, 0.0):
                self._make_device(network, pods[port])
        self._stranded.clear()
        for name in devices.keys() - pods.keys() - set(leaving):
            self._judge_orphan(network, name, devices[name].memory)

    def _make_device(self, network: Network, pod: Pod) -> None:
        """Somebody deleted the device of a pod that lives: make it again, as it was."""
        try:
            settings = link_settings(network, pod)
            link = pod_link(network, pod, settings, self._switch.pods().values())
            try:
                self._switch.release_ports([pod.port])
            finally:
                self._switch.adopt(pod)
            veth.delete_inside(link)
            veth.create(link)
            self._limits.begin(network, pod, settings)
        except K8sOvsError as error:
            self._unmade[pod.port] = time.monotonic() + _UNMADE_REST
            self._cut(pod, f"its device {pod.port} is missing and cannot be made: {error}")
        else:
            self._unmade.pop(pod.port, None)
            found = f"veth {pod.port} of pod {pod.identity}: missing"
            self.repaired(Veth.kind, found, pod=pod.identity)

    def _judge_orphan(self, network: Network, name: str, memory: str) -> None:
        """A device without a port: its pod gets the port back if it lives."""
        pod = pod_from_memory(name, 0, memory)
        subnet = network.local_node.subnet
        if pod is None or not Path(pod.netns).exists():
            if pod is not None or not memory:
                self._delete_orphan(name)
            return
        if pod.ip not in subnet:
            self._strand(pod, f"its address {pod.ip} is not in this node's subnet {subnet}")
            return
        taken = {each.ip: each for each in self._switch.pods().values()}
        if pod.ip in taken:
            self._strand(pod, f"its address {pod.ip} is that of pod {taken[pod.ip].identity}")
            return
        number = ofport_of(int(pod.ip), int(subnet.network_address))
        self._switch.adopt(evolve(pod, ofport=number))

    def _delete_orphan(self, name: str) -> None:
        try:
            veth.delete([name])
        except K8sOvsError as error:
            _log.warning("orphaned device not deleted", device=name, reason=str(error))
        else:
            _log.info("orphaned device deleted", device=name, node=self._node)

    def _strand(self, pod: Pod, why: str) -> None:
        self._stranded.add(pod.port)
        self._cut(pod, why)

    def _judge(self, left: Look, due: bool, leaving: Collection[str]) -> None:
        """Who is cut off by what could not be put right, and does the node itself work?"""
        pods = self._switch.pods()
        for each in left.differences:
            if each.key.kind == RateLimit.kind:
                self._limits.lost(pods[each.key.name], str(each))
        of_node = [str(e) for e in left.differences if not e.pod and e.key.kind != Veth.kind]
        of_node += [str(each) for each in left.unknown]
        if due or of_node:
            self._reason = "; ".join(of_node)
        others = (Interface.kind, RateLimit.kind)
        of_pods = [each for each in left.differences if each.pod and each.key.kind not in others]
        wrong = self._wrong_inside(left) | {each.key.name: str(each) for each in of_pods}
        for port, reason in wrong.items():
            if port in pods and port not in self._unmade:
                self._cut(pods[port], reason)
        if due:
            # What could not be asked may be what cuts them off.
            healed = self._cut_off.keys() - wrong.keys() - self._unmade.keys()
            self._heal(port for port in healed if port in pods and not left.unknown)
            for port in self._cut_off.keys() - pods.keys() - wrong.keys() - self._stranded:
                del self._cut_off[port]
            self._note_strangers(left, leaving)

    def _wrong_inside(self, left: Look) -> dict[str, str]:
        """Pods that have not their address: as seen in this look, or when it was their turn."""
        found = {e.key.name: str(e) for e in left.differences if e.key.kind == Interface.kind}
        for port in () if left.why_unknown(Interface.kind) else self._looked_into:
            self._inside.pop(port, None)
        pods = self._switch.pods()
        now = (self._inside | found).items()
        self._inside = {port: why for port, why in now if port in pods}
        return dict(self._inside)

    def _note_strangers(self, left: Look, leaving: Collection[str]) -> None:
        """Devices that nobody can tell whose they are: perhaps a pod lives behind one."""
        known = {*leaving, *self._stranded}
        found = [
            f"device {each.key.name}: it has a name of ours and no port, and does not say whose it "
            f"is (ip link delete {each.key.name}, if it is nobody's)"
            for each in left.differences
            if each.key.kind == Veth.kind and not each.pod and each.key.name not in known
        ]
        for text in set(found) - set(self._strangers):
            _log.warning("device is nobody's", node=self._node, found=text)
        self._strangers = found

    def _cut(self, pod: Pod, why: str) -> None:
        reason = f"pod {pod.identity} is cut off: {why}"
        if self._cut_off.get(pod.port) != reason:
            _log.error("pod is cut off", node=self._node, pod=pod.identity, reason=why)
            self._told(pod, reason)
        self._cut_off[pod.port] = reason

    def _heal(self, ports: Iterable[str]) -> None:
        pods = self._switch.pods()
        for port in list(ports):
            del self._cut_off[port]
            self._told(pods[port], "")


def _has_ended(pod: Pod) -> bool:
    """A pod whose network namespace is gone; its DEL is still to come, or never does."""
    return not Path(pod.netns).exists()
