"""The bridge and its ports as values, read from what OVSDB has and changed in one transaction."""

from __future__ import annotations

import socket
from collections.abc import Collection, Iterator, Mapping, Sequence

from k8s_ovs.model.pod import pod_from_ids
from k8s_ovs.ovs.ovsdb.client import Ovsdb
from k8s_ovs.ovs.ovsdb.state import Bridge as KnownBridge
from k8s_ovs.ovs.ovsdb.state import Port as KnownPort
from k8s_ovs.ovs.ovsdb.transaction import (
    FOREIGN_QUEUE,
    BridgeSettings,
    PortSettings,
    Transaction,
)
from k8s_ovs.pipeline.tables import CLASSIFY
from k8s_ovs.state.diff import Difference
from k8s_ovs.state.value import Bridge, Port, Value

__all__ = ["SwitchDriver"]

#: Behind all numbers that ports ask for come those that ask for none.
_LAST = 1 << 16


class SwitchDriver:
    """Bridge and ports. Ports that are not desired are left to who added them, while their bridge
    is desired.

    bridge: the name of the one that is ours, if its tables have our names.
    """

    kinds = frozenset({Bridge.kind, Port.kind})

    def __init__(self, ovsdb: Ovsdb, bridge: str) -> None:
        self._ovsdb = ovsdb
        self._bridge = bridge
        self._desired: dict[str, Bridge] = {}

    def read(self, desired: Sequence[Value]) -> Sequence[Value]:
        self._desired = {each.name: each for each in desired if isinstance(each, Bridge)}
        if not desired:
            return self._ours()
        found: list[Value] = []
        for name in self._desired:
            bridge = self._ovsdb.bridge(name)
            if bridge is not None:
                found.append(_bridge(bridge, _names(desired)))
                found += _ports(bridge.ports, desired)
        return found

    def _ours(self) -> Sequence[Value]:
        """The bridge and all its ports: with it they are removed."""
        self._ovsdb.connect()
        bridge = self._ovsdb.bridge(self._bridge)
        if bridge is None or CLASSIFY.name not in bridge.tables.values():
            return ()
        ports = sorted(bridge.ports.values(), key=lambda port: port.ofport_request or _LAST)
        return [_bridge(bridge), *(_own_port(each) for each in ports if each.name != bridge.name)]

    def apply(self, differences: Sequence[Difference]) -> None:
        for each in differences:
            if isinstance(each.found, Bridge) and each.expected is None:
                self._delete(each.found.name)
        wrong = [each.expected for each in differences if isinstance(each.expected, Port)]
        ports = tuple(map(_settings, wrong))
        queues = {
            each.key.name: each.expected.qos == FOREIGN_QUEUE
            for each in differences
            if isinstance(each.expected, Port)
            and isinstance(each.found, Port)
            and each.found.qos != each.expected.qos
        }
        for bridge in self._desired.values():
            self._release(bridge.name, [each.key.name for each in differences if not each.found])
            as_new = frozenset(
                column
                for each in differences
                if isinstance(each.found, Bridge)
                for column in each.found.foreign
            )
            settings = BridgeSettings(
                bridge.datapath, bridge.fail_mode, tables=bridge.tables, as_new=as_new
            )
            change = Transaction(bridge.name, settings, ports, foreign_queues=queues)
            self._ovsdb.commit(change)
            self._ovsdb.await_applied()

    def _release(self, bridge: str, missing: Sequence[str]) -> None:
        """Take away ports that are missing although they have a row: their device is gone. Together
        with the new one ovs-vswitchd would keep the device that it has open."""
        known = self._ovsdb.bridge(bridge)
        dead = tuple(name for name in missing if known and name in known.ports)
        if dead:
            self._ovsdb.commit(Transaction(bridge, remove_ports=dead))
            self._ovsdb.await_applied()

    def _delete(self, bridge: str) -> None:
        # One that starts later would leave the devices of a bridge that it has never seen.
        self._ovsdb.await_vswitchd()
        self._ovsdb.delete_bridge(bridge)
        # Only then are its devices gone, and the kernel's end of the tunnel (vxlan_sys_4789).
        self._ovsdb.await_applied()


def _bridge(bridge: KnownBridge, ours: Collection[str] = ()) -> Bridge:
    """ours: ports that are desired. A mirror that leads to one takes it for itself; one to another
    port, as ovs-tcpdump makes it, does no harm."""
    stolen = [name for name, port in bridge.mirrors.items() if port in ours]
    foreign = {**bridge.foreign, **({"mirrors": ", ".join(stolen)} if stolen else {})}
    datapath = bridge.datapath_type or "system"
    return Bridge(bridge.name, datapath, bridge.tables, bridge.fail_mode or "", foreign)


def _names(desired: Sequence[Value]) -> set[str]:
    return {each.name for each in desired if isinstance(each, Port)}


def _own_port(port: KnownPort) -> Port:
    """With what says whose it is: more is not asked of what is not desired."""
    pod = pod_from_ids(port.name, 0, port.external_ids)
    return Port(port.name, port.type, ids=port.external_ids, pod=pod.identity if pod else "")


def _ports(known: Mapping[str, KnownPort], desired: Sequence[Value]) -> Iterator[Port]:
    for each in desired:
        port = known.get(each.name) if isinstance(each, Port) else None
        if isinstance(each, Port) and port is not None and _has_device(port):
            same = each.ofport is None or each.ofport in (port.ofport, port.ofport_request)
            yield Port(
                port.name,
                port.type,
                each.ofport if same else port.ofport_request,
                port.options,
                None if each.mac is None else port.mac,
                None if each.mtu is None else port.mtu_request,
                {key: text for key, text in port.external_ids.items() if key in each.ids},
                port.qos,
                port.ingress_policing_rate,
                pod=each.pod,
            )


def _has_device(port: KnownPort) -> bool:
    """Whether a device that Open vSwitch made is still there, by its name."""
    if port.type != "internal":
        return True
    try:
        socket.if_nametoindex(port.name)
    except OSError:
        return False
    return True


def _settings(port: Port) -> PortSettings:
    return PortSettings(
        port.name,
        port.type,
        port.options,
        ofport_request=port.ofport,
        external_ids=port.ids,
        mtu_request=port.mtu,
        mac=port.mac,
        ingress_policing_rate=port.policing,
        foreign_queue=port.qos == FOREIGN_QUEUE,
    )
