"""A flow as a value: which table, which packets, what is done with them.

Flows are immutable and independent of a switch. `text` writes them as ovs-ofctl does,
`wire` as OpenFlow 1.4 messages.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network
from typing import get_args

import attrs
from attrs import field, frozen

from k8s_ovs.errors import shown
from k8s_ovs.model.checked import (
    as_tuple,
    as_whole,
    as_whole_or_none,
    has_type,
    tuple_of,
)
from k8s_ovs.pipeline.action import Action, Ct, Goto, Meter, refuse_too_wide
from k8s_ovs.pipeline.field import FIELDS, Field, FieldKind
from k8s_ovs.pipeline.table import PipelineError, Table

__all__ = [
    "Flow",
    "Match",
    "Term",
    "any_packet",
    "arp",
    "icmp",
    "ip",
    "ipv6",
    "meter_of",
    "tcp",
    "udp",
]

#: What people may write for a field: numbers, addresses, "02:..." MACs, ct_state as "+trk-rpl".
#: Where the field takes a mask, "VALUE/MASK" too: "0x1/0xff", "01:00:.../01:00:...", "10.0.0.0/8".
Value = int | str | IPv4Address | IPv4Network

#: Bits of ct_state, ovs-fields(7).
CT_STATE_BITS = {
    "new": 0x01,
    "est": 0x02,
    "rel": 0x04,
    "rpl": 0x08,
    "inv": 0x10,
    "trk": 0x20,
    "snat": 0x40,
    "dnat": 0x80,
}


_WHOLE = has_type(int, error=PipelineError)
_WHOLE_OR_NONE = has_type(int, None, error=PipelineError)
_TEXT = has_type(str, error=PipelineError)
_FIELD = has_type(Field, error=PipelineError)


@frozen
class Term:
    """One field with a value; `mask` None means every bit."""

    field: Field = attrs.field(validator=_FIELD)
    value: int = attrs.field(converter=as_whole, validator=_WHOLE)
    mask: int | None = attrs.field(
        default=None, converter=as_whole_or_none, validator=_WHOLE_OR_NONE
    )


def _as_terms(terms: Iterable[Term]) -> tuple[Term, ...]:
    return as_tuple(terms)


@frozen
class Match:
    """Which packets: every term must hold. Terms are in OXM prerequisite order."""

    terms: tuple[Term, ...] = field(
        default=(), converter=_as_terms, validator=tuple_of(Term, error=PipelineError)
    )


def _as_actions(actions: Iterable[Action]) -> tuple[Action, ...]:
    return as_tuple(actions)


@frozen
class Flow:
    """A flow of `table`. No actions: the packet is dropped and counted.

    Raises PipelineError for a goto to a table that `table` does not declare as a next one.
    """

    table: Table = field(validator=has_type(Table, error=PipelineError))
    priority: int = field(converter=as_whole, validator=_WHOLE)
    match: Match = field(validator=has_type(Match, error=PipelineError))
    actions: tuple[Action, ...] = field(
        default=(),
        converter=_as_actions,
        validator=tuple_of(*get_args(Action), error=PipelineError),
    )

    def __attrs_post_init__(self) -> None:
        if not 0 <= self.priority <= 0xFFFF:
            raise PipelineError(f"{self.table.name}: priority {self.priority} is not 0 to 65535")
        for place, action in enumerate(self.actions):
            target = action.table if isinstance(action, Goto | Ct) else None
            if isinstance(action, Goto) and place != len(self.actions) - 1:
                raise PipelineError(f"{self.table.name}: an action follows a goto")
            if isinstance(action, Meter) and place != 0:
                raise PipelineError(f"{self.table.name}: a meter follows another action")
            if target is None or self.table.allows(target):
                continue
            if not (isinstance(action, Ct) and target == self.table.name):
                declared = self.table.next + self.table.onward
                raise PipelineError(
                    f"table {self.table.name} does not declare a hop to {target}, expected "
                    f"{' or '.join(declared) or 'no hop at all'}"
                )


def meter_of(flow: Flow) -> Meter | None:
    """The meter that a flow's packets pass."""
    first = flow.actions[0] if flow.actions else None
    return first if isinstance(first, Meter) else None


def any_packet(**fields: Value) -> Match:
    """A match on the given fields, with no prerequisite of its own.

    Raises PipelineError for an unknown field, and for a value or mask that it cannot have.
    """
    if unknown := fields.keys() - FIELDS.keys():
        near = [name for each in sorted(unknown) for name in get_close_matches(each, FIELDS)]
        expected = " or ".join(near) or f"one of {', '.join(FIELDS)}"
        raise PipelineError(f"no field is named {', '.join(sorted(unknown))}, expected {expected}")
    terms = [
        _known_term(name, value) if type(value) in _PLAIN else _term(FIELDS[name], value)
        for name, value in fields.items()
    ]
    return Match(tuple(sorted(terms, key=lambda term: _ORDER[term.field.name])))


def ip(**fields: Value) -> Match:
    """IPv4 packets."""
    return any_packet(eth_type=0x0800, **fields)


def arp(**fields: Value) -> Match:
    """ARP packets."""
    return any_packet(eth_type=0x0806, **fields)


def ipv6(**fields: Value) -> Match:
    """IPv6 packets, neighbour discovery included."""
    return any_packet(eth_type=0x86DD, **fields)


def icmp(**fields: Value) -> Match:
    """ICMP over IPv4."""
    return ip(ip_proto=1, **fields)


def tcp(**fields: Value) -> Match:
    """TCP over IPv4."""
    return ip(ip_proto=6, **fields)


def udp(**fields: Value) -> Match:
    """UDP over IPv4."""
    return ip(ip_proto=17, **fields)


# Prerequisites (eth_type, ip_proto) must precede what needs them (OpenFlow 1.4 section 7.2.3.6).
_ORDER = {name: place for place, name in enumerate(FIELDS)}


#: Types of values that can be remembered: one of a plugin's own may hash and compare as it likes.
_PLAIN = frozenset({int, str, IPv4Address, IPv4Network})


@lru_cache(maxsize=4096)
def _known_term(name: str, value: Value) -> Term:
    """As `_term`. Most terms are in many flows."""
    return _term(FIELDS[name], value)


def _term(of: Field, value: Value) -> Term:
    try:
        number, mask = _number(of, value)
    except ValueError as error:
        raise PipelineError(
            f"{of.name}={shown(value)} is not a value of this field: {error}"
        ) from error
    refuse_too_wide(of.name, number, of.bits)
    if mask is None or mask == of.full_mask:
        return Term(of, number)
    if not of.maskable:
        raise PipelineError(f"{of.name}={value}: this field takes no mask")
    refuse_too_wide(f"{of.name} mask", mask, of.bits)
    if number & ~mask:
        raise PipelineError(f"{of.name}={value}: bits are set that the mask leaves out")
    return Term(of, number, mask)


def _number(of: Field, value: Value) -> tuple[int, int | None]:
    """A person's value as (number, mask). Raises ValueError."""
    if type(value) is bool or not isinstance(value, int | str | IPv4Address | IPv4Network):
        raise ValueError("expected a whole number, a text, an IPv4Address or an IPv4Network")
    if isinstance(value, int):
        return value, None
    if isinstance(value, IPv4Address):
        return int(value), None
    if of.kind is FieldKind.IPV4:
        network = value if type(value) is IPv4Network else IPv4Network(value)
        return int(network.network_address), int(network.netmask)
    if isinstance(value, IPv4Network):
        raise ValueError("a network is not a number")
    if of.kind is FieldKind.CT_STATE:
        return _ct_state(value)
    number, _, mask = value.partition("/")
    return _plain_number(number), _plain_number(mask) if mask else None


def _plain_number(text: str) -> int:
    return int(text.replace(":", ""), 16) if ":" in text else int(text, 0)


def _ct_state(text: str) -> tuple[int, int]:
    """ "+trk-rpl" as (value, mask)."""
    number = mask = 0
    for part in text.replace("+", " +").replace("-", " -").split():
        if part[0] not in "+-" or part[1:] not in CT_STATE_BITS:
            raise ValueError(f"{part} is not + or - and one of {', '.join(CT_STATE_BITS)}")
        bit = CT_STATE_BITS[part[1:]]
        mask |= bit
        number |= bit if part[0] == "+" else 0
    return number, mask
