"""The bridge and its ports as values, read from what OVSDB has and changed in one transaction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from k8s_ovs.ovs.ovsdb.client import Ovsdb
from k8s_ovs.ovs.ovsdb.state import Port as KnownPort
from k8s_ovs.ovs.ovsdb.transaction import BridgeSettings, PortSettings, Transaction
from k8s_ovs.state.diff import Difference
from k8s_ovs.state.value import Bridge, Port, Value

__all__ = ["SwitchDriver"]


class SwitchDriver:
    """Bridge and ports. Ports that are not desired are left to who added them."""

    kinds = frozenset({Bridge.kind, Port.kind})

    def __init__(self, ovsdb: Ovsdb) -> None:
        self._ovsdb = ovsdb
        self._desired: dict[str, Bridge] = {}

    def read(self, desired: Sequence[Value]) -> Sequence[Value]:
        self._desired = {each.name: each for each in desired if isinstance(each, Bridge)}
        found: list[Value] = []
        for name in self._desired:
            bridge = self._ovsdb.bridge(name)
            if bridge is not None:
                datapath = bridge.datapath_type or "system"
                found.append(Bridge(name, datapath, bridge.tables, bridge.fail_mode or ""))
                found += _ports(bridge.ports, desired)
        return found

    def apply(self, differences: Sequence[Difference]) -> None:
        ports = tuple(
            _settings(each.expected) for each in differences if isinstance(each.expected, Port)
        )
        for bridge in self._desired.values():
            settings = BridgeSettings(bridge.datapath, bridge.fail_mode, tables=bridge.tables)
            self._ovsdb.commit(Transaction(bridge.name, settings, ports))
            self._ovsdb.await_applied()


def _ports(known: Mapping[str, KnownPort], desired: Sequence[Value]) -> Iterator[Port]:
    for each in desired:
        port = known.get(each.name) if isinstance(each, Port) else None
        if isinstance(each, Port) and port is not None:
            same = each.ofport is None or each.ofport in (port.ofport, port.ofport_request)
            yield Port(
                port.name,
                port.type,
                each.ofport if same else port.ofport_request,
                port.options,
                None if each.mac is None else port.mac,
                None if each.mtu is None else port.mtu_request,
                {key: text for key, text in port.external_ids.items() if key in each.ids},
                pod=each.pod,
            )


def _settings(port: Port) -> PortSettings:
    return PortSettings(
        port.name,
        port.type,
        port.options,
        ofport_request=port.ofport,
        external_ids=port.ids,
        mtu_request=port.mtu,
        mac=port.mac,
    )
