"""What is on a host that a network may have changed? A snapshot, to compare with later ones."""

from __future__ import annotations

import json
from typing import Any, Protocol

__all__ = ["Ask", "host_snapshot"]

#: What counts of a device. Open vSwitch's own gets another MAC with each start.
_LINK = ("link_type", "mtu", "qdisc", "flags", "linkinfo")
_TABLES = {
    "Open_vSwitch": "_uuid,bridges,external_ids,other_config",
    "Bridge": "_uuid,name,datapath_type,ports,flow_tables,external_ids,other_config",
    "Port": "_uuid,name,interfaces,qos,external_ids",
    "Interface": "_uuid,name,type,options,external_ids",
    "QoS": "_uuid,type,external_ids",
    "Flow_Table": "_uuid,name",
}


class Ask(Protocol):
    """What a command prints on the host."""

    def __call__(self, *words: str) -> str: ...


def host_snapshot(ask: Ask) -> dict[str, Any]:
    """Devices, addresses, routes and Open vSwitch's database of a host."""
    links = json.loads(ask("ip", "-json", "-details", "link"))
    addresses = json.loads(ask("ip", "-json", "-4", "address"))
    return {
        "links": {each["ifname"]: [each.get(name) for name in _LINK] for each in links},
        "addresses": {
            each["ifname"]: sorted(one["local"] for one in each["addr_info"]) for each in addresses
        },
        "routes": ask("ip", "-4", "route", "show", "table", "all").splitlines(),
        "ovsdb": {
            table: sorted(
                ask("ovs-vsctl", f"--columns={columns}", "-fcsv", "list", table).splitlines()
            )
            for table, columns in _TABLES.items()
        },
    }
