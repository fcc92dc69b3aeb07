"""Hypothesis strategies for flows that Open vSwitch accepts: every field, and every action but
Meter, whose flow is refused where its meter is missing.

`flows(pipeline)` draws flows for the tables of a pipeline; prerequisites hold, masks leave out no
bit that is set, and only fields that may be written are written.
"""

from __future__ import annotations

from typing import Literal

from attrs import evolve
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from k8s_ovs.pipeline.action import (
    Action,
    Conjunction,
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
from k8s_ovs.pipeline.field import FIELDS, FLAGS, Field, FieldKind
from k8s_ovs.pipeline.flow import Flow
from k8s_ovs.pipeline.match import FRAGMENTS, Match, Term
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
_IP4, _IP6 = {_ETH_TYPE: 0x0800}, {_ETH_TYPE: 0x86DD}
_OF_IP4, _OF_IP6 = ("ip_",), ("ipv6_", "ip_frag", "ip_dscp", "ip_ecn")
_ICMP6 = {**_IP6, _IP_PROTO: 58}

#: Kinds of packets: the terms that say so and the prefixes of the fields that they make usable.
_PACKETS: dict[str, tuple[dict[Field, int], tuple[str, ...]]] = {
    "any": ({}, ()),
    "arp": ({_ETH_TYPE: 0x0806}, ("arp_",)),
    "ip": (_IP4, _OF_IP4),
    "icmp": ({**_IP4, _IP_PROTO: 1}, (*_OF_IP4, "icmp_")),
    "tcp": ({**_IP4, _IP_PROTO: 6}, (*_OF_IP4, "tcp_")),
    "udp": ({**_IP4, _IP_PROTO: 17}, (*_OF_IP4, "udp_")),
    "sctp": ({**_IP4, _IP_PROTO: 132}, (*_OF_IP4, "sctp_")),
    "ipv6": (_IP6, _OF_IP6),
    "ipv6 of a protocol": ({**_IP6, _IP_PROTO: 89}, _OF_IP6),
    "tcp over ipv6": ({**_IP6, _IP_PROTO: 6}, (*_OF_IP6, "tcp_")),
    "udp over ipv6": ({**_IP6, _IP_PROTO: 17}, (*_OF_IP6, "udp_")),
    "sctp over ipv6": ({**_IP6, _IP_PROTO: 132}, (*_OF_IP6, "sctp_")),
    "icmpv6": (_ICMP6, (*_OF_IP6, "icmpv6_")),
    "who has this address": (
        {**_ICMP6, FIELDS["icmpv6_type"]: 135},
        (*_OF_IP6, "nd_target", "nd_sll"),
    ),
    "I have it": ({**_ICMP6, FIELDS["icmpv6_type"]: 136}, (*_OF_IP6, "nd_target", "nd_tll")),
    "lldp": ({_ETH_TYPE: 0x88CC}, ()),
}
_ANY_FRAGMENT = ("ip", "ipv6", "ipv6 of a protocol")
_ALWAYS = ("eth_src", "eth_dst", "tun_", "reg", "in_port", "pkt_mark", "ct_", "conj_id")
#: Connections are tracked of IPv4 and IPv6 only.
_TRACKED: dict[int, Literal[4, 6]] = {0x0800: 4, 0x86DD: 6}
_LOCAL = 0xFFFFFFFE
_PORTS = st.one_of(st.integers(1, 0xFEFF), st.just(_LOCAL))


def matches() -> SearchStrategy[Match]:
    """Matches on packets of one kind, all prerequisites in them."""
    return st.sampled_from(sorted(_PACKETS)).flatmap(_match_of)


def flows(pipeline: Pipeline = SAMPLE_PIPELINE) -> SearchStrategy[Flow]:
    """Flows of any table of `pipeline`, with up to five actions."""
    places = st.tuples(st.sampled_from(pipeline.tables), st.sampled_from(sorted(_PACKETS)))
    acting = places.flatmap(
        lambda place: st.builds(
            Flow,
            table=st.just(place[0]),
            priority=st.integers(0, 0xFFFF),
            match=_match_of(place[1]),
            actions=_actions(*place),
        )
    ).filter(lambda flow: not _commits_the_invalid(flow))
    # One in eight, as there are seven other kinds of actions.
    return st.sampled_from((_of_clauses(pipeline), *(acting,) * 7)).flatmap(lambda kind: kind)


def _of_clauses(pipeline: Pipeline) -> SearchStrategy[Flow]:
    """Flows that are of clauses of conjunctions."""
    names = st.lists(st.text(max_size=5), min_size=1, max_size=3, unique=True)
    actions = names.flatmap(lambda drawn: st.tuples(*map(_clause, drawn)))
    return st.builds(
        Flow,
        table=st.sampled_from(pipeline.tables),
        priority=st.integers(0, 0xFFFF),
        match=matches().map(_without_conjunction),
        actions=st.tuples(actions, st.just(()) | st.just((Note(b"why"),))).map(
            lambda drawn: (*drawn[0], *drawn[1])
        ),
    )


def _clause(name: str) -> SearchStrategy[Conjunction]:
    return st.integers(2, 64).flatmap(
        lambda of: st.integers(1, of).map(lambda clause: Conjunction(name, clause, of))
    )


def _without_conjunction(match: Match) -> Match:
    return evolve(match, terms=[term for term in match.terms if term.field.name != "conj_id"])


def _commits_the_invalid(flow: Flow) -> bool:
    invalid = any(
        term.field.name == "ct_state" and term.value & FLAGS["ct_state"]["inv"]
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
    # A later fragment has neither ports nor a type.
    whole = terms.filter(lambda drawn: packet in _ANY_FRAGMENT or not any(map(_is_later, drawn)))
    return whole.map(
        lambda drawn: Match(
            tuple(sorted([*said, *drawn], key=lambda term: order[term.field.name])),
        )
    )


def _is_later(term: Term) -> bool:
    return term.field.name == "ip_frag" and term.value & 2 == 2


def _term(field: Field) -> SearchStrategy[Term]:
    if field.kind is FieldKind.FRAGMENT:
        words = st.sampled_from(sorted(FRAGMENTS.values()))
        return words.map(lambda of: Term(field, of[0], None if of[1] == field.full_mask else of[1]))
    if field.name == "ct_state":
        return st.tuples(st.integers(0, 0xFF), st.none() | st.integers(1, 0xFF)).map(
            lambda drawn: Term(field, drawn[0] & (drawn[1] or 0xFF), drawn[1])
        )
    return _masked(field).map(lambda drawn: Term(field, *drawn))


def _masked(field: Field) -> SearchStrategy[tuple[int, int | None]]:
    """A value of all bits, or where the field takes a mask of some."""
    whole = st.tuples(_value(field), st.none())
    if not field.maskable:
        return whole
    some = st.tuples(_value(field), _mask(field)).map(lambda drawn: (drawn[0] & drawn[1], drawn[1]))
    return st.one_of(whole, some)


def _value(field: Field) -> SearchStrategy[int]:
    if field.kind is FieldKind.PORT:
        return _PORTS
    least = 1 if field.kind is FieldKind.CONJUNCTION else 0
    return st.integers(least, 0xFF if field.name == "arp_op" else field.full_mask)


def _mask(field: Field) -> SearchStrategy[int]:
    prefixes = st.integers(1, field.bits - 1).map(
        lambda length: field.full_mask ^ (field.full_mask >> length)
    )
    masks = st.integers(1, field.full_mask - 1)
    if field.kind is FieldKind.IPV6:
        # ovs-ofctl takes a mask that begins with a decimal digit for a prefix's length.
        masks = st.integers(0xA << 124, field.full_mask - 1)
    return st.one_of(prefixes, masks)


def _actions(table: Table, packet: str) -> SearchStrategy[tuple[Action, ...]]:
    # What connection tracking found is only read.
    usable = [field for field in _usable(packet) if field.writable]
    writable = [field for field in usable if not field.name.startswith("ct_")]
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
    set_field = st.sampled_from(writable).flatmap(_set_field)
    readable = [field for field in _usable(packet) if field.name != "conj_id"]
    move = st.tuples(st.sampled_from(readable), st.sampled_from(writable)).filter(
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
    version = _TRACKED.get(_PACKETS[packet][0].get(_ETH_TYPE, 0))
    if version is not None:
        choices.append(_ct([*targets, table.name], version))
    return st.one_of(choices)


def _set_field(field: Field) -> SearchStrategy[SetField]:
    return _masked(field).map(lambda drawn: SetField(field, *drawn))


def _ct(targets: list[str], version: Literal[4, 6]) -> SearchStrategy[Ct]:
    zone = st.integers(0, 0xFFFF)
    table = st.one_of(st.none(), st.sampled_from(targets))
    old = st.one_of(st.none(), st.just(Nat()))
    address = st.ip_addresses(v=version).filter(int)
    source = st.builds(Nat, address, other_port=st.booleans())
    ports = st.none() | st.integers(1, 0xFFFF)
    new = st.one_of(old, source, st.builds(Nat, destination=address, port=ports))
    mark, label = FIELDS["ct_mark"], FIELDS["ct_label"]
    sets = st.one_of(_set_field(mark), _set_field(label), st.just(Move(FIELDS["reg3"], mark)))
    return st.one_of(
        st.builds(Ct, zone=zone, table=table, nat=old),
        st.builds(
            Ct,
            zone=zone,
            commit=st.just(True),
            exec=st.lists(sets, max_size=3),
            table=table,
            nat=new,
            force=st.booleans(),
        ),
    )
