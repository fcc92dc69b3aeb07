"""Which tables and columns of the Open_vSwitch database we read, and their types.

The part of ovs-vswitchd.conf.db(5) that this program uses, in the form of RFC 7047 section 3.2.
Carried here and not read from a file, since the daemon's image may hold no Open vSwitch.
Limits of values are left out: ovsdb-server has them, and its words say what was wrong.
"""

from __future__ import annotations

from typing import Any

__all__ = ["COLUMNS", "SCHEMA"]

_TEXT = {"type": "string"}
_NUMBER = {"type": "integer"}
_FLAG = {"type": "boolean"}
_SOME_TEXT = {"type": {"key": "string", "min": 0, "max": 1}}
_SOME_NUMBER = {"type": {"key": "integer", "min": 0, "max": 1}}
_TEXTS = {"type": {"key": "string", "min": 0, "max": "unlimited"}}
_KEYS = {"type": {"key": "string", "value": "string", "min": 0, "max": "unlimited"}}


def _rows(table: str, most: int | str = "unlimited") -> dict[str, Any]:
    """The maximum is the schema's own: changes of a set are sent in another way than those of one
    value (ovsdb-server(7), update2)."""
    return {"type": {"key": {"type": "uuid", "refTable": table}, "min": 0, "max": most}}


_FLOW_TABLES = {
    "type": {
        "key": "integer",
        "value": {"type": "uuid", "refTable": "Flow_Table"},
        "min": 0,
        "max": "unlimited",
    }
}

_TABLES: dict[str, dict[str, Any]] = {
    "Open_vSwitch": {
        "bridges": _rows("Bridge"),
        "next_cfg": _NUMBER,
        "cur_cfg": _NUMBER,
        "ovs_version": _SOME_TEXT,
        "datapath_types": _TEXTS,
        "iface_types": _TEXTS,
        "external_ids": _KEYS,
    },
    "Bridge": {
        "name": _TEXT,
        "datapath_type": _TEXT,
        "fail_mode": _SOME_TEXT,
        "other_config": _KEYS,
        "external_ids": _KEYS,
        "flow_tables": _FLOW_TABLES,
        "ports": _rows("Port"),
        "controller": _rows("Controller"),
        "mirrors": _rows("Mirror"),
        "protocols": _TEXTS,
        "stp_enable": _FLAG,
        "rstp_enable": _FLAG,
    },
    "Controller": {"target": _TEXT},
    "Mirror": {"name": _TEXT, "output_port": _rows("Port", 1)},
    "Port": {"name": _TEXT, "interfaces": _rows("Interface"), "qos": _rows("QoS", 1)},
    "QoS": {"type": _TEXT},
    "Interface": {
        "name": _TEXT,
        "type": _TEXT,
        "ofport": _SOME_NUMBER,
        "ofport_request": _SOME_NUMBER,
        "options": _KEYS,
        "external_ids": _KEYS,
        "mac": _SOME_TEXT,
        "mtu_request": _SOME_NUMBER,
        "ingress_policing_rate": _NUMBER,
        "error": _SOME_TEXT,
    },
    "Flow_Table": {"name": _SOME_TEXT, "flow_limit": _SOME_NUMBER},
}

#: The columns of each table.
COLUMNS: dict[str, tuple[str, ...]] = {name: tuple(columns) for name, columns in _TABLES.items()}

#: The schema as RFC 7047 writes it.
SCHEMA: dict[str, Any] = {
    "name": "Open_vSwitch",
    "version": "8.0.0",
    "tables": {name: {"columns": columns} for name, columns in _TABLES.items()},
}
