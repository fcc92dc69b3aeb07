"""The desired state of Open vSwitch, and the database operations that bring it there.

`operations` is a pure function of what is wanted and what exists: if nothing differs it returns
nothing. The form of its operations is that of RFC 7047 section 5.2.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from attrs import frozen

from k8s_ovs.errors import SwitchError
from k8s_ovs.ovs.ovsdb.state import Bridge, Port

__all__ = [
    "FOREIGN_QUEUE",
    "BridgeSettings",
    "PortSettings",
    "Transaction",
    "deletion",
    "operations",
    "sign_of_life",
]

#: Keys to set; a key whose value is None is taken out; keys that are not named stay as they are.
Keys = Mapping[str, str | None]
Operation = dict[str, Any]

_NOTHING: Keys = {}

#: Columns of a bridge as a new one has them.
_AS_NEW: Mapping[str, Any] = {
    "stp_enable": False,
    "rstp_enable": False,
    "protocols": ["set", []],
    "controller": ["set", []],
    "mirrors": ["set", []],
}

#: The kind of queue with which ovs-vswitchd leaves a device's queueing discipline alone.
FOREIGN_QUEUE = "linux-noop"
#: Key in external_ids of a row of QoS: the name of the port that it was made for.
_QUEUE_OF = "k8s-ovs-port"


@frozen
class BridgeSettings:
    """The desired state of a bridge; a missing bridge is made.

    tables: names of OpenFlow tables by number, all of them; None leaves them alone. as_new:
    columns that are to be as in a new bridge.
    """

    datapath_type: str
    fail_mode: str = "secure"
    other_config: Keys = _NOTHING
    external_ids: Keys = _NOTHING
    tables: Mapping[int, str] | None = None
    as_new: frozenset[str] = frozenset()


@frozen
class PortSettings:
    """The desired state of a port; a missing one is made.

    type: "" is a network device of this name, "internal" one that OVS makes, or "vxlan".
    options are set as a whole. None in ofport_request, mtu_request (bytes), mac and
    ingress_policing_rate (kbit/s) leaves to OVS what it has. foreign_queue: somebody else manages a
    new port's queueing discipline.
    """

    name: str
    type: str = ""
    options: Mapping[str, str] = {}
    ofport_request: int | None = None
    external_ids: Keys = _NOTHING
    mtu_request: int | None = None
    mac: str | None = None
    ingress_policing_rate: int | None = None
    foreign_queue: bool = False


@frozen
class Transaction:
    """All that is to change on one bridge, in one transaction.

    settings: of the bridge itself, None leaves it as it is. remove_ports: names; missing ones are
    no error, and one that is in add_ports too is made anew.
    external_ids: keys of ports by the port's name; foreign_queues: whether somebody else manages
    the queueing discipline of an existing port. Missing ports are skipped.
    """

    bridge: str
    settings: BridgeSettings | None = None
    add_ports: tuple[PortSettings, ...] = ()
    remove_ports: tuple[str, ...] = ()
    external_ids: Mapping[str, Keys] = {}
    foreign_queues: Mapping[str, bool] = {}


def operations(transaction: Transaction, root: UUID, bridge: Bridge | None) -> list[Operation]:
    """What to send to the database. root: the Open_vSwitch row; bridge: what exists now.

    Raises SwitchError for ports on a bridge that neither exists nor has settings.
    """
    made = _make_bridge(transaction, root) if bridge is None else _bring_bridge(transaction, bridge)
    return [*made, _next_cfg(root)] if made else []


def deletion(bridge: Bridge | None, root: UUID) -> list[Operation]:
    """What to send to the database to delete a bridge with all its ports."""
    if bridge is None:
        return []
    gone = ["bridges", "delete", _uuid(bridge.row)]
    without = _without_queues(bridge.ports.values())
    return [*without, _mutate("Open_vSwitch", root, [gone]), _next_cfg(root)]


def sign_of_life(root: UUID) -> list[Operation]:
    """What to send to the database so that ovs-vswitchd, if it runs, writes that it has seen it."""
    return [_next_cfg(root)]


def _make_bridge(transaction: Transaction, root: UUID) -> list[Operation]:
    settings = transaction.settings
    if settings is None:
        raise SwitchError(
            f"bridge {transaction.bridge} does not exist, so no port of it can change"
        )
    ports = {port.name: port for port in transaction.add_ports}
    # OVS gives each bridge a port of its own name, but its database does not demand it.
    ports.setdefault(transaction.bridge, PortSettings(transaction.bridge, "internal"))
    row = {
        "name": transaction.bridge,
        "datapath_type": settings.datapath_type,
        "fail_mode": settings.fail_mode,
        "other_config": _map(_kept(settings.other_config)),
        "external_ids": _map(_kept(settings.external_ids)),
        "flow_tables": _table_names(settings.tables or {}),
        "ports": _set([_named("port", place) for place in range(len(ports))]),
    }
    made = [
        operation
        for place, port in enumerate(ports.values())
        for operation in _insert_port(port, place)
    ]
    insert = {"op": "insert", "table": "Bridge", "uuid-name": "bridge", "row": row}
    hung = _mutate("Open_vSwitch", root, [["bridges", "insert", ["named-uuid", "bridge"]]])
    return [*made, *_insert_tables(settings.tables or {}), insert, hung]


def _bring_bridge(transaction: Transaction, bridge: Bridge) -> list[Operation]:
    there = {
        name: port for name, port in bridge.ports.items() if name not in transaction.remove_ports
    }
    gone = [port for name, port in bridge.ports.items() if name not in there]
    new = [port for port in transaction.add_ports if port.name not in there]
    made = [] if transaction.settings is None else _bring_settings(transaction.settings, bridge)
    made += _without_queues(gone)
    for settings in transaction.add_ports:
        if settings.name in there:
            made += _bring_port(settings, there[settings.name])
    for name, keys in transaction.external_ids.items():
        if name in there:
            made += _bring_keys("Interface", there[name].row, external_ids=(there[name], keys))
    for place, (name, foreign) in enumerate(transaction.foreign_queues.items(), len(new)):
        if name in there:
            made += _bring_queue(there[name], place, foreign=foreign)
    for place, settings in enumerate(new):
        made += _insert_port(settings, place)
    # Only added and removed ports are named: the cost does not grow with the ports that stay.
    mutations: list[Any] = []
    if gone:
        mutations.append(["ports", "delete", _set([_uuid(port.port_row) for port in gone])])
    if new:
        named = [_named("port", place) for place in range(len(new))]
        mutations.append(["ports", "insert", _set(named)])
    return [*made, _mutate("Bridge", bridge.row, mutations)] if mutations else made


def _bring_settings(settings: BridgeSettings, bridge: Bridge) -> list[Operation]:
    wanted = {"datapath_type": settings.datapath_type, "fail_mode": settings.fail_mode}
    row: dict[str, Any] = _differing(wanted, bridge)
    made: list[Operation] = []
    row |= {column: value for column, value in _AS_NEW.items() if column in settings.as_new}
    if settings.tables is not None and (
        settings.tables != bridge.tables or "flow_tables" in settings.as_new
    ):
        row["flow_tables"] = _table_names(settings.tables)
        made += _insert_tables(settings.tables)
    return [
        *made,
        *_update("Bridge", bridge.row, row),
        *_bring_keys(
            "Bridge",
            bridge.row,
            other_config=(bridge, settings.other_config),
            external_ids=(bridge, settings.external_ids),
        ),
    ]


def _bring_port(settings: PortSettings, port: Port) -> list[Operation]:
    row = _differing(_columns(settings), port)
    if settings.options != port.options:
        row["options"] = _map(settings.options)
    return [
        *_update("Interface", port.row, row),
        *_bring_keys("Interface", port.row, external_ids=(port, settings.external_ids)),
    ]


def _insert_port(settings: PortSettings, place: int) -> list[Operation]:
    interface = {
        "name": settings.name,
        **_columns(settings),
        "options": _map(settings.options),
        "external_ids": _map(_kept(settings.external_ids)),
    }
    port = {"name": settings.name, "interfaces": _named("interface", place)}
    if settings.foreign_queue:
        port["qos"] = _named("qos", place)
    return [
        *(_foreign_queue(settings.name, place) if settings.foreign_queue else []),
        {
            "op": "insert",
            "table": "Interface",
            "uuid-name": f"interface{place}",
            "row": interface,
        },
        {"op": "insert", "table": "Port", "uuid-name": f"port{place}", "row": port},
    ]


def _bring_queue(port: Port, place: int, *, foreign: bool) -> list[Operation]:
    if not foreign:
        return _without_queues([port])
    made = _foreign_queue(port.name, place)
    return [*made, *_update("Port", port.port_row, {"qos": _named("qos", place)})]


def _foreign_queue(port: str, place: int) -> list[Operation]:
    """Without it ovs-vswitchd takes away what it finds at a device (ovs-vswitchd.conf.db(5), QoS,
    linux-noop)."""
    row = {"type": FOREIGN_QUEUE, "external_ids": _map({_QUEUE_OF: port})}
    insert = {"op": "insert", "table": "QoS", "uuid-name": f"qos{place}", "row": row}
    return [_forget_queue(port), insert]


def _without_queues(ports: Iterable[Port]) -> list[Operation]:
    return [
        operation
        for port in ports
        for operation in (
            *_update("Port", port.port_row, {"qos": _set([])}),
            _forget_queue(port.name),
        )
    ]


def _forget_queue(port: str) -> Operation:
    """Unlike ports, rows of this table stay until somebody deletes them, and one that a port still
    refers to afterwards cannot be deleted."""
    where = [["external_ids", "includes", _map({_QUEUE_OF: port})]]
    return {"op": "delete", "table": "QoS", "where": where}


def _columns(settings: PortSettings) -> dict[str, Any]:
    row = {
        "type": settings.type,
        "ofport_request": settings.ofport_request,
        "mtu_request": settings.mtu_request,
        "mac": settings.mac,
        "ingress_policing_rate": settings.ingress_policing_rate,
    }
    return {column: value for column, value in row.items() if value is not None}


def _differing(wanted: Mapping[str, Any], there: Bridge | Port) -> dict[str, Any]:
    return {key: value for key, value in wanted.items() if getattr(there, key) != value}


def _bring_keys(table: str, row: UUID, **columns: tuple[Bridge | Port, Keys]) -> list[Operation]:
    mutations: list[Any] = []
    for column, (owner, keys) in columns.items():
        there: Mapping[str, str] = getattr(owner, column)
        wrong = {key: value for key, value in keys.items() if there.get(key) != value}
        # "insert" leaves a key that is there as it is, so that it must be deleted first.
        if stale := [key for key in wrong if key in there]:
            mutations.append([column, "delete", _set(stale)])
        if wanted := _kept(wrong):
            mutations.append([column, "insert", _map(wanted)])
    return [_mutate(table, row, mutations)] if mutations else []


def _insert_tables(tables: Mapping[int, str]) -> list[Operation]:
    return [
        {
            "op": "insert",
            "table": "Flow_Table",
            "uuid-name": f"table{number}",
            "row": {"name": name},
        }
        for number, name in tables.items()
    ]


def _table_names(tables: Mapping[int, str]) -> list[Any]:
    return ["map", [[number, _named("table", number)] for number in tables]]


def _kept(keys: Keys) -> dict[str, str]:
    return {key: value for key, value in keys.items() if value is not None}


def _next_cfg(root: UUID) -> Operation:
    return _mutate("Open_vSwitch", root, [["next_cfg", "+=", 1]])


def _update(table: str, row: UUID, columns: Mapping[str, Any]) -> list[Operation]:
    if not columns:
        return []
    return [{"op": "update", "table": table, "where": _is(row), "row": dict(columns)}]


def _mutate(table: str, row: UUID, mutations: list[Any]) -> Operation:
    return {"op": "mutate", "table": table, "where": _is(row), "mutations": mutations}


def _is(row: UUID) -> list[Any]:
    return [["_uuid", "==", _uuid(row)]]


def _uuid(row: UUID) -> list[Any]:
    return ["uuid", str(row)]


def _named(kind: str, place: int) -> list[Any]:
    return ["named-uuid", f"{kind}{place}"]


def _set(members: list[Any]) -> list[Any]:
    return ["set", members]


def _map(keys: Mapping[str, str]) -> list[Any]:
    return ["map", [[key, value] for key, value in keys.items()]]
