"""What Open vSwitch has now: the switch, a bridge, a port, as its database tells."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from attrs import field, frozen

__all__ = ["Bridge", "Port", "SwitchState"]


@frozen
class Port:
    """A port of a bridge, with the columns of its Interface row.

    ofport: its OpenFlow number, None while ovs-vswitchd has not given it one or cannot.
    error: why not, in ovs-vswitchd's words. qos: which kind of queue its port is to have; "": none.
    ingress_policing_rate: kilobits per second, above which what comes in is dropped; 0: never.
    row, port_row: its rows in the tables Interface and Port.
    """

    name: str
    type: str
    ofport: int | None
    ofport_request: int | None
    options: Mapping[str, str]
    external_ids: Mapping[str, str]
    mac: str | None
    mtu_request: int | None
    error: str | None
    qos: str
    ingress_policing_rate: int
    row: UUID = field(eq=False, repr=False)
    port_row: UUID = field(eq=False, repr=False)


@frozen
class Bridge:
    """A bridge and its ports by name.

    tables: OpenFlow tables that have a name. foreign: columns of its row that we leave as they are
    in a new one, and that have another value which keeps us from our work, each with that. mirrors:
    the port that each mirror leads to, by the mirror's name.
    """

    name: str
    datapath_type: str
    fail_mode: str | None
    other_config: Mapping[str, str]
    external_ids: Mapping[str, str]
    tables: Mapping[int, str]
    ports: Mapping[str, Port]
    foreign: Mapping[str, str]
    mirrors: Mapping[str, str]
    row: UUID = field(eq=False, repr=False)


@frozen
class SwitchState:
    """The whole of Open vSwitch on this node.

    ovs_version: None where nobody wrote it down (its start script does). next_cfg: the last
    configuration asked for; cur_cfg: the last one that ovs-vswitchd has carried out.
    """

    ovs_version: str | None
    datapath_types: frozenset[str]
    iface_types: frozenset[str]
    external_ids: Mapping[str, str]
    next_cfg: int
    cur_cfg: int
