"""Hypothesis strategies for flows that Open vSwitch accepts: every field, and every action but
Meter, whose flow is refused where its meter is missing.

`flows(pipeline)` draws flows for the tables of a pipeline; prerequisites hold, masks leave out no
bit that is set, and only fields that may be written are written.
"""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from k8s_ovs.pipeline.action import (
    Action,
    Ct,
    CtClear,
    Goto,
    InPort,
    Move,
    Nat,
    Note,
    Output,
    SetField,
)
from k8s_ovs.pipeline.field import FIELDS, Field, FieldKind
from k8s_ovs.pipeline.flow import CT_STATE_BITS, Flow, Match, Term
from k8s_ovs.pipeline.table import Pipeline, Table

__all__ = ["SAMPLE_PIPELINE", "flows", "matches"]

#: Three tables of a core and one of a plugin's, between the first two.
SAMPLE_PIPELINE = Pipeline(
    [
        Table("FIRST", "Which of the others?", next=("SECOND", "THIRD")),
        Table("SECOND", "Is it so?", next=("THIRD",)),
        Table("THIRD", "What is left?"),
    ],
    [Table("DETOUR", "Is a plugin asked too?", between=("FIRST", "SECOND"))],
)

_ETH_TYPE, _IP_PROTO = FIELDS["eth_type"], FIELDS["ip_proto"]

#: Kinds of packets: the terms that say so and the prefixes of the fields that they make usable.
_PACKETS: dict[str, tuple[dict[Field, int], tuple[str, ...]]] = {
    "any": ({}, ()),
    "arp": ({_ETH_TYPE: 0x0806}, ("arp_",)),
    "ip": ({_ETH_TYPE: 0x0800}, ("ip_",)),
    "icmp": ({_ETH_TYPE: 0x0800, _IP_PROTO: 1}, ("ip_", "icmp_")),
    "tcp": ({_ETH_TYPE: 0x0800, _IP_PROTO: 6}, ("ip_", "tcp_")),
    "udp": ({_ETH_TYPE: 0x0800, _IP_PROTO: 17}, ("ip_", "udp_")),
    "ipv6": ({_ETH_TYPE: 0x86DD}, ()),
    "ipv6 of a protocol": ({_ETH_TYPE: 0x86DD, _IP_PROTO: 89}, ()),
    "tcp over ipv6": ({_ETH_TYPE: 0x86DD, _IP_PROTO: 6}, ("tcp_",)),
    "udp over ipv6": ({_ETH_TYPE: 0x86DD, _IP_PROTO: 17}, ("udp_",)),
    "lldp": ({_ETH_TYPE: 0x88CC}, ()),
}
_ALWAYS = ("eth_src", "eth_dst", "tun_", "reg", "in_port", "ct_")
#: Connections are tracked of IPv4 and IPv6 only.
_IPV4 = 0x0800
_TRACKED = (_IPV4, 0x86DD)
_LOCAL = 0xFFFFFFFE
_PORTS = st.one_of(st.integers(1, 0xFEFF), st.just(_LOCAL))


def matches() -> SearchStrategy[Match]:
    """Matches on packets of one kind, all prerequisites in them."""
    return st.sampled_from(sorted(_PACKETS)).flatmap(_match_of)


def flows(pipeline: Pipeline = SAMPLE_PIPELINE) -> SearchStrategy[Flow]:
    """Flows of any table of `pipeline`, with up to five actions."""
    places = st.tuples(st.sampled_from(pipeline.tables), st.sampled_from(sorted(_PACKETS)))
    return places.flatmap(
        lambda place: st.builds(
            Flow,
            table=st.just(place[0]),
            priority=st.integers(0, 0xFFFF),
            match=_match_of(place[1]),
            actions=_actions(*place),
        )
    ).filter(lambda flow: not _commits_the_invalid(flow))


def _commits_the_invalid(flow: Flow) -> bool:
    invalid = any(
        term.field.kind is FieldKind.CT_STATE and term.value & CT_STATE_BITS["inv"]
        for term in flow.match.terms
    )
    return invalid and any(isinstance(each, Ct) and each.commit for each in flow.actions)


def _usable(packet: str) -> list[Field]:
    """Fields that packets of this kind have, beside those that say what kind it is."""
    said, prefixes = _PACKETS[packet]
    usable = [field for field in FIELDS.values() if field.name.startswith((*_ALWAYS, *prefixes))]
    return [field for field in usable if field not in said and field is not _IP_PROTO]


def _match_of(packet: str) -> SearchStrategy[Match]:
    order = {name: place for place, name in enumerate(FIELDS)}
    said = [Term(field, value) for field, value in _PACKETS[packet][0].items()]
    free = st.lists(st.sampled_from(_usable(packet)), max_size=6, unique=True)
    terms = free.flatmap(lambda fields: st.tuples(*(_term(field) for field in fields)))
    return terms.map(
        lambda drawn: Match(
            tuple(sorted([*said, *drawn], key=lambda term: order[term.field.name])),
        )
    )


def _term(field: Field) -> SearchStrategy[Term]:
    if field.kind is FieldKind.CT_STATE:
        return st.tuples(st.integers(0, 0xFF), st.none() | st.integers(1, 0xFF)).map(
            lambda drawn: Term(field, drawn[0] & (drawn[1] or 0xFF), drawn[1])
        )
    exact = _value(field).map(lambda value: Term(field, value))
    if not field.maskable:
        return exact
    masked = st.tuples(_value(field), _mask(field)).map(
        lambda drawn: Term(field, drawn[0] & drawn[1], drawn[1])
    )
    return st.one_of(exact, masked)


def _value(field: Field) -> SearchStrategy[int]:
    if field.kind is FieldKind.PORT:
        return _PORTS
    return st.integers(0, 0xFF if field.name == "arp_op" else field.full_mask)


def _mask(field: Field) -> SearchStrategy[int]:
    prefixes = st.integers(1, field.bits - 1).map(
        lambda length: field.full_mask ^ (field.full_mask >> length)
    )
    return st.one_of(prefixes, st.integers(1, field.full_mask - 1))


def _actions(table: Table, packet: str) -> SearchStrategy[tuple[Action, ...]]:
    # What connection tracking found, and what makes a packet of this kind, is only read.
    writable = [field for field in _usable(packet) if not field.name.startswith("ct_")]
    targets = [*table.next, *(table.between or ())[1:]]
    body = st.lists(_plain_action(table, targets, packet, writable), max_size=4)
    goto: SearchStrategy[list[Action]] = st.just([])
    if targets:
        goto = st.one_of(goto, st.sampled_from(targets).map(lambda name: [Goto(name)]))
    return st.tuples(body, goto).map(lambda drawn: (*drawn[0], *drawn[1]))


def _plain_action(
    table: Table, targets: list[str], packet: str, writable: list[Field]
) -> SearchStrategy[Action]:
    registers = [field for field in FIELDS.values() if field.name.startswith("reg")]
    set_field = st.sampled_from(writable).flatmap(
        lambda field: _value(field).map(lambda value: SetField(field, value))
    )
    move = st.tuples(st.sampled_from(_usable(packet)), st.sampled_from(writable)).filter(
        lambda ends: ends[0] != ends[1]
    )
    choices: list[SearchStrategy[Action]] = [
        set_field,
        move.map(lambda ends: Move(*ends)),
        st.one_of(_PORTS, st.sampled_from(registers)).map(Output),
        st.just(InPort()),
        st.binary(max_size=20).map(Note),
        st.just(CtClear()),
    ]
    if (eth_type := _PACKETS[packet][0].get(_ETH_TYPE)) in _TRACKED:
        choices.append(_ct([*targets, table.name], ipv4=eth_type == _IPV4))
    return st.one_of(choices)


def _ct(targets: list[str], *, ipv4: bool) -> SearchStrategy[Ct]:
    zone = st.integers(0, 0xFFFF)
    table = st.one_of(st.none(), st.sampled_from(targets))
    mark = st.one_of(st.none(), st.integers(0, 0xFFFFFFFF))
    old = st.one_of(st.none(), st.just(Nat()))
    new = old
    if ipv4:
        new |= st.builds(Nat, st.ip_addresses(v=4).filter(int), other_port=st.booleans())
    return st.one_of(
        st.builds(Ct, zone=zone, table=table, nat=old),
        st.builds(Ct, zone=zone, commit=st.just(True), mark=mark, table=table, nat=new),
    )
