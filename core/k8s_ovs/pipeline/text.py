"""Flows as people write them: the syntax of ovs-ofctl(8), as its dumps show it.

`flow_text` is what `ovs-ofctl add-flows -O OpenFlow14 br0 -` reads. With `human=True` tables and
registers carry their names instead, which no switch understands and every reader does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address

from attrs import frozen

from k8s_ovs.pipeline.action import (
    OTHER_PORTS,
    Action,
    Conjunction,
    Ct,
    CtClear,
    Goto,
    InPort,
    Meter,
    Move,
    Nat,
    Note,
    Output,
    SetField,
)
from k8s_ovs.pipeline.field import FLAGS, REGISTERS, Field, FieldKind
from k8s_ovs.pipeline.flow import Flow
from k8s_ovs.pipeline.match import FRAGMENTS, Match, Term
from k8s_ovs.pipeline.table import Pipeline

__all__ = ["field_name", "flow_text", "match_text", "port_text", "term_value_text", "value_text"]

#: Names that ovs-ofctl's dumps prefer in a match, ovs-fields(7).
_IN_A_MATCH = {
    "eth_src": "dl_src",
    "eth_dst": "dl_dst",
    "eth_type": "dl_type",
    "ip_proto": "nw_proto",
    "ip_src": "nw_src",
    "ip_dst": "nw_dst",
    "tcp_src": "tp_src",
    "tcp_dst": "tp_dst",
    "udp_src": "tp_src",
    "udp_dst": "tp_dst",
    "sctp_src": "tp_src",
    "sctp_dst": "tp_dst",
}

#: (eth_type, ip_proto) pairs that have a keyword, ovs-ofctl(8) "Flow Syntax".
_PROTOCOLS = {
    (0x0800, None): "ip",
    (0x0800, 1): "icmp",
    (0x0800, 6): "tcp",
    (0x0800, 17): "udp",
    (0x0800, 132): "sctp",
    (0x0806, None): "arp",
    (0x86DD, None): "ipv6",
    (0x86DD, 6): "tcp6",
    (0x86DD, 17): "udp6",
    (0x86DD, 58): "icmp6",
    (0x86DD, 132): "sctp6",
}

_ADDRESSES = {FieldKind.IPV4: IPv4Address, FieldKind.IPV6: IPv6Address}
_DECIMAL = (FieldKind.NUMBER, FieldKind.CONJUNCTION)
_FRAGMENTS = {of: word for word, of in FRAGMENTS.items()}

#: Reserved ports, OpenFlow 1.4 section 7.2.1.
_RESERVED_PORTS = {
    0xFFFFFFF8: "IN_PORT",
    0xFFFFFFFA: "NORMAL",
    0xFFFFFFFB: "FLOOD",
    0xFFFFFFFC: "ALL",
    0xFFFFFFFD: "CONTROLLER",
    0xFFFFFFFE: "LOCAL",
}


def flow_text(flow: Flow, pipeline: Pipeline | None = None, *, human: bool = False) -> str:
    """The flow as one line of text, without its cookie and counters.

    pipeline: numbers the tables, detours of plugins' tables included. Without it tables are
    named as the flow names them, which ovs-ofctl accepts where the bridge knows those names.
    human: names of tables and registers in place of numbers.
    """
    names = _Names(flow.table.name, pipeline, human)
    head = [f"table={names.hop(flow.table.name)}", f"priority={flow.priority}"]
    actions = ",".join(_action(action, names) for action in flow.actions)
    return f"{','.join([*head, *_match(flow.match, names)])} actions={actions or 'drop'}"


def match_text(terms: Iterable[Term]) -> Iterator[str]:
    """The terms of a match, with names of registers."""
    return _match(Match(tuple(terms)), _Names("", None, True))


def field_name(field: Field) -> str:
    """What people call a field or register."""
    return next((name for name, each in REGISTERS.items() if each == field), field.name)


@frozen
class _Names:
    """How tables and fields are called in one flow's text."""

    table: str
    pipeline: Pipeline | None
    human: bool

    def hop(self, target: str) -> str:
        if self.pipeline is None:
            return target
        number = self.pipeline.hop(self.table, target)
        return self.pipeline.name(number) if self.human else str(number)

    def subfield(self, field: Field) -> str:
        """Its name where bits of it are taken: plain in_port has 16 there (ovs-fields(7))."""
        return (
            self.field(field) if self.human or field.kind is not FieldKind.PORT else "in_port_oxm"
        )

    def field(self, field: Field) -> str:
        return field_name(field) if self.human else field.name


def _match(match: Match, names: _Names) -> Iterator[str]:
    exact = {term.field.name: term.value for term in match.terms if term.mask is None}
    eth_type, ip_proto = exact.get("eth_type"), exact.get("ip_proto")
    said: set[str] = set()
    for protocol, spoken in ((ip_proto, {"eth_type", "ip_proto"}), (None, {"eth_type"})):
        word = _PROTOCOLS.get((eth_type, protocol)) if eth_type is not None else None
        if word is not None:
            said = spoken
            yield word
            break
    for term in match.terms:
        if term.field.name not in said:
            called = _IN_A_MATCH.get(term.field.name) or names.field(term.field)
            yield f"{called}={term_value_text(term)}"


def term_value_text(term: Term) -> str:
    """The value of a term, with its mask."""
    kind, mask = term.field.kind, term.mask
    if kind is FieldKind.FLAGS:
        return _flags(term)
    if kind is FieldKind.FRAGMENT:
        return _FRAGMENTS.get((term.value, mask or 3), f"{term.value:#x}/{mask or 3:#x}")
    if mask is None:
        return value_text(term.field, term.value)
    if kind in _ADDRESSES:
        return f"{_ADDRESSES[kind](term.value)}/{_address_mask(mask, term.field)}"
    if kind is FieldKind.MAC:
        return f"{_mac(term.value)}/{_mac(mask)}"
    return f"{term.value:#x}/{mask:#x}"


def _flags(term: Term) -> str:
    """As "+syn-ack", or in hexadecimal where bits are said that have no name."""
    bits = FLAGS[term.field.name]
    if term.field.name == "tcp_flags" and (term.mask is None or term.mask & ~sum(bits.values())):
        return f"{term.value:#x}" if term.mask is None else f"{term.value:#x}/{term.mask:#x}"
    return "".join(
        f"{'+' if term.value & bit else '-'}{name}"
        for name, bit in bits.items()
        if term.mask is None or term.mask & bit
    )


def value_text(field: Field, value: int) -> str:
    """A value of a field, without a mask."""
    if field.kind is FieldKind.MAC:
        return _mac(value)
    if field.kind in _ADDRESSES:
        return str(_ADDRESSES[field.kind](value))
    if field.kind is FieldKind.PORT:
        return port_text(value)
    return str(value) if field.kind in _DECIMAL else f"{value:#x}"


def _action(action: Action, names: _Names) -> str:
    match action:
        case SetField():
            value = term_value_text(Term(action.field, action.value, action.mask))
            text = f"set_field:{value}->{names.field(action.field)}"
        case Move():
            bits = f"[0..{action.bits - 1}]"
            text = (
                f"move:{names.subfield(action.source)}{bits}->{names.subfield(action.target)}{bits}"
            )
        case Output(port=port):
            text = (
                f"output:{port_text(port) if isinstance(port, int) else names.field(port) + '[]'}"
            )
        case InPort() | CtClear():
            text = "IN_PORT" if isinstance(action, InPort) else "ct_clear"
        case Goto():
            text = f"goto_table:{names.hop(action.table)}"
        case Meter():
            text = f"meter:{action.number}"
        case Ct():
            text = f"ct({','.join(_ct_arguments(action, names))})"
        case Conjunction():
            text = f"conjunction({action.number},{action.clause}/{action.of})"
        case Note():
            text = f"note:{action.data.hex('.')}"
    return text


def _ct_arguments(ct: Ct, names: _Names) -> Iterator[str]:
    if ct.commit:
        yield "commit"
    if ct.force:
        yield "force"
    if ct.table is not None:
        yield f"table={names.hop(ct.table)}"
    yield f"zone={ct.zone}"
    if ct.nat is not None:
        yield _nat(ct.nat)
    if ct.exec:
        yield f"exec({','.join(_action(each, names) for each in ct.exec)})"


def _nat(nat: Nat) -> str:
    if nat.address is None:
        return "nat"
    address = str(nat.address) if isinstance(nat.address, IPv4Address) else f"[{nat.address}]"
    ports = ":{}-{},random".format(*OTHER_PORTS) if nat.other_port else ""
    ports = f":{nat.port}" if nat.port is not None else ports
    return f"nat({'dst' if nat.source is None else 'src'}={address}{ports})"


def port_text(number: int) -> str:
    """A port's number, or the word for a reserved one."""
    return _RESERVED_PORTS.get(number, str(number))


def _mac(number: int) -> str:
    return number.to_bytes(6, "big").hex(":")


def _address_mask(mask: int, field: Field) -> str:
    """A prefix length where the mask is one, else as an address."""
    length = mask.bit_count()
    prefix = field.full_mask ^ (field.full_mask >> length)
    return str(length) if mask == prefix else str(_ADDRESSES[field.kind](mask))
