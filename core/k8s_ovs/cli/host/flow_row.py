"""A flow as people read it: names for tables, registers, ports and owners. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from attrs import asdict, evolve, frozen

from k8s_ovs.model.world import PODS, World
from k8s_ovs.ovs.openflow.messages import InstalledFlow
from k8s_ovs.pipeline.reading import read_actions, read_match
from k8s_ovs.pipeline.table import Pipeline
from k8s_ovs.pipeline.text import flow_text
from k8s_ovs.pipeline.wire import WireFlow, owner_of
from k8s_ovs.reconcile.subject import NETWORK, NODE, POD, FlowOwner

__all__ = [
    "FlowRow",
    "as_json",
    "desired_row",
    "difference",
    "in_packet_order",
    "installed_row",
    "select",
]

_NOTE = re.compile(r"\bnote:([0-9a-f.]+)")
_PORT = re.compile(r"\b(in_port=|output:)(\d+)\b")
_WORDS = re.compile(r"table=(\S+?),priority=(\d+),?(\S*) actions=(.*)")


@frozen
class FlowRow:
    """packets, bytes: None where the flow was not read from a switch. wanted_by: the subjects that
    want it, such as "pod default/web"; empty where that was not computed. change: what would repair
    the switch: add, delete, or empty for nothing."""

    table: str
    priority: int
    owner: str
    match: str
    actions: str
    cookie: int
    packets: int | None = None
    bytes: int | None = None
    wanted_by: tuple[str, ...] = ()
    change: str = ""


def installed_row(
    flow: InstalledFlow,
    owners: Mapping[int, str],
    tables: Mapping[int, str],
    ports: Mapping[int, str],
) -> FlowRow:
    """A flow that the switch has. owners: plugins by the first 16 bits of their cookies. tables,
    ports: the bridge's names of those by number."""
    number = owner_of(flow.cookie)
    return FlowRow(
        table=tables.get(flow.table, str(flow.table)),
        priority=flow.priority,
        owner=owners.get(number, f"{number:#06x}"),
        match=_named(read_match(flow.match), ports),
        actions=_named(read_actions(flow.instructions, tables), ports),
        cookie=flow.cookie,
        packets=flow.packets,
        bytes=flow.bytes,
    )


def desired_row(
    wire: WireFlow,
    owners: Iterable[FlowOwner],
    pipeline: Pipeline,
    world: World,
    ports: Mapping[int, str],
) -> FlowRow:
    """A desired flow. ports: names of the bridge's ports by OpenFlow number."""
    wanted = list(owners)
    table, priority, match, actions = _words(flow_text(wire.flow, pipeline, human=True))
    return FlowRow(
        table=table,
        priority=priority,
        owner=wanted[0].plugin,
        match=_named(match, ports),
        actions=_named(actions, ports),
        cookie=wire.cookie,
        wanted_by=tuple(sorted(_subject(owner, world) for owner in wanted)),
    )


def select(rows: Iterable[FlowRow], table: str | None, owner: str | None) -> list[FlowRow]:
    """The rows of a table and of an owner, by name in any case; None: of all."""
    return [
        row
        for row in rows
        if (table is None or row.table.lower() == table.lower())
        and (owner is None or row.owner.lower() == owner.lower())
    ]


def in_packet_order(rows: Iterable[FlowRow], pipeline: Pipeline) -> list[FlowRow]:
    """Rows as a packet meets them: by table, those of high priority first."""
    order = {table.name: number for number, table in enumerate(pipeline.tables)}
    last = len(order)
    return sorted(
        rows,
        key=lambda row: (
            order.get(row.table, last),
            row.table,
            -row.priority,
            row.match,
            row.change,
        ),
    )


def as_json(row: FlowRow) -> dict[str, Any]:
    """The row as JSON values, without what is unknown."""
    body = {name: value for name, value in asdict(row).items() if value not in (None, (), "")}
    return body | {"cookie": f"{row.cookie:#x}"}


def difference(installed: Iterable[FlowRow], desired: Iterable[FlowRow]) -> list[FlowRow]:
    """What would have to be added and deleted; a cookie is a hash of its flow."""
    by_cookie = {row.cookie: row for row in installed}
    wanted = {row.cookie: row for row in desired}
    missing = [evolve(wanted[cookie], change="add") for cookie in wanted.keys() - by_cookie.keys()]
    too_much = [
        evolve(by_cookie[cookie], change="delete") for cookie in by_cookie.keys() - wanted.keys()
    ]
    return missing + too_much


def _words(line: str) -> tuple[str, int, str, str]:
    found = _WORDS.fullmatch(line)
    if found is None:
        raise ValueError(f"flow_text wrote {line!r}")
    return found[1], int(found[2]), found[3], found[4]


def _named(text: str, ports: Mapping[int, str]) -> str:
    named = _PORT.sub(lambda found: found[1] + ports.get(int(found[2]), found[2]), text)
    return _NOTE.sub(_readable_note, named)


def _readable_note(found: re.Match[str]) -> str:
    data = bytes.fromhex(found[1].replace(".", "")).rstrip(b"\0")
    text = data.decode("ascii", errors="replace")
    return f"note:{text}" if text.isprintable() else found[0]


def _subject(owner: FlowOwner, world: World) -> str:
    kind, key = owner.subject
    if kind == NETWORK:
        return "the network"
    if kind == POD and key in world.of(PODS):
        return f"pod {world.of(PODS)[key].settled.identity}"
    if kind == NODE:
        return f"host {key}"
    return f"{kind} {key}"
