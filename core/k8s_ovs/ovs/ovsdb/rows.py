"""What do the rows of the library say, as values? (state.py)"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from uuid import UUID

from attrs import evolve
from ovs.db.data import Atom

from k8s_ovs.ovs.ovsdb.state import Bridge, Port

__all__ = ["Rows", "first", "value"]

#: What a bridge that may speak only some versions of OpenFlow has to speak.
_PROTOCOL = "OpenFlow14"


class Rows:
    """idl: the library's copy of the database. What has been read is remembered until `forget`: a
    row that has not changed is the same value."""

    def __init__(self, idl: Any) -> None:
        self._idl = idl
        self._values: dict[UUID, Any] = {}
        self._bridges: dict[str, Bridge] = {}

    def bridge(self, root: Any, name: str) -> Bridge | None:
        """The bridge of this name with its ports, None if there is none. root: the database's."""
        if name not in self._bridges:
            for row in value(root, "bridges"):
                if value(row, "name") == name:
                    self._bridges[name] = self._read(row)
        return self._bridges.get(name)

    def forget(self, row: Any) -> None:
        """A row has changed, or is gone."""
        self._values.pop(row.uuid, None)
        if row._table.name != "Open_vSwitch":
            self._bridges.clear()

    def _read(self, row: Any) -> Bridge:
        ports: dict[str, Port] = {}
        for port_row in _references(row, "ports"):
            interfaces, queues = self._cached("Port", port_row, _of_port)
            qos = next((self._cached("QoS", each, _type) for each in queues), "")
            for interface in interfaces:
                port = self._cached("Interface", interface, partial(_read_port, port_row))
                if port.qos != qos:
                    port = self._values[interface] = evolve(port, qos=qos)
                ports[port.name] = port
        return Bridge(
            name=value(row, "name"),
            datapath_type=value(row, "datapath_type"),
            fail_mode=first(value(row, "fail_mode")),
            other_config=value(row, "other_config"),
            external_ids=value(row, "external_ids"),
            tables={
                number: self._cached("Flow_Table", table.uuid, _table_name)
                for number, table in _tables(row).items()
            },
            ports=ports,
            foreign=dict(self._foreign(row)),
            mirrors=dict(self._mirrors(row)),
            row=row.uuid,
        )

    def _foreign(self, row: Any) -> Iterator[tuple[str, str]]:
        """What somebody set of a bridge's row, which a new one has not, where it does harm."""
        yield from ((each, "true") for each in ("stp_enable", "rstp_enable") if value(row, each))
        protocols = sorted(value(row, "protocols"))
        if protocols and _PROTOCOL not in protocols:
            yield "protocols", ", ".join(protocols)
        controllers = self._referred(row, "controller", "Controller")
        if controllers:
            yield "controller", ", ".join(value(each, "target") for each in controllers)
        tables = [self._row("Flow_Table", each.uuid) for each in _tables(row).values()]
        limited = [_table_name(each) for each in tables if value(each, "flow_limit")]
        if limited:
            yield "flow_tables", f"a limit of {', '.join(sorted(limited))}"

    def _mirrors(self, row: Any) -> Iterator[tuple[str, str]]:
        for mirror in self._referred(row, "mirrors", "Mirror"):
            for port in self._referred(mirror, "output_port", "Port"):
                yield value(mirror, "name"), value(port, "name")

    def _referred(self, row: Any, column: str, table: str) -> list[Any]:
        """The rows of another table that a column names."""
        return [self._row(table, each) for each in _references(row, column)]

    def _row(self, table: str, uuid: UUID) -> Any:
        return self._idl.tables[table].rows[uuid]

    def _cached(self, table: str, uuid: UUID, make: Callable[[Any], Any]) -> Any:
        known = self._values.get(uuid)
        if known is None:
            known = self._values[uuid] = make(self._row(table, uuid))
        return known


def value(row: Any, column: str) -> Any:
    """A column. The library's attributes copy a value several times before they give it."""
    found = row._data[column].to_python(row._uuid_to_row)
    # The library wraps its default of a column that it was not told twice.
    return found.value if isinstance(found, Atom) else found


def _references(row: Any, column: str) -> list[UUID]:
    """The rows that a column names."""
    return [atom.value for atom in row._data[column].values]


def _of_port(port_row: Any) -> tuple[list[UUID], list[UUID]]:
    """The interfaces of a port, and its queue, if it has one."""
    return _references(port_row, "interfaces"), _references(port_row, "qos")


def _type(row: Any) -> str:
    return str(value(row, "type"))


def _tables(bridge: Any) -> dict[int, Any]:
    """Rows by the number of the OpenFlow table."""
    return dict(value(bridge, "flow_tables"))


def _table_name(row: Any) -> str:
    return first(value(row, "name")) or ""


def _read_port(port_row: UUID, row: Any) -> Port:
    ofport = first(value(row, "ofport"))
    return Port(
        name=value(row, "name"),
        type=value(row, "type"),
        # ovs-vswitchd writes -1 where it cannot make the port.
        ofport=ofport if ofport is not None and ofport > 0 else None,
        ofport_request=first(value(row, "ofport_request")),
        options=value(row, "options"),
        external_ids=value(row, "external_ids"),
        mac=first(value(row, "mac")),
        mtu_request=first(value(row, "mtu_request")),
        error=first(value(row, "error")),
        qos="",  # its port's row says it
        ingress_policing_rate=value(row, "ingress_policing_rate"),
        row=row.uuid,
        port_row=port_row,
    )


def first(values: list[Any]) -> Any:
    return values[0] if values else None
