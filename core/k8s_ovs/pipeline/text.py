"""Flows as people write them: the syntax of ovs-ofctl(8), as its dumps show it.

`flow_text` is what `ovs-ofctl add-flows -O OpenFlow14 br0 -` reads. With `human=True` tables and
registers carry their names instead, which no switch understands and every reader does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address

from attrs import frozen

from k8s_ovs.pipeline.action import (
    OTHER_PORTS,
    Action,
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
from k8s_ovs.pipeline.field import REGISTERS, Field, FieldKind
from k8s_ovs.pipeline.flow import CT_STATE_BITS, Flow, Match, Term
from k8s_ovs.pipeline.table import Pipeline

__all__ = ["field_name", "flow_text", "match_text", "port_text", "value_text"]

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
}

#: (eth_type, ip_proto) pairs that have a keyword, ovs-ofctl(8) "Flow Syntax".
_PROTOCOLS = {
    (0x0800, None): "ip",
    (0x0800, 1): "icmp",
    (0x0800, 6): "tcp",
    (0x0800, 17): "udp",
    (0x0806, None): "arp",
    (0x86DD, None): "ipv6",
    (0x86DD, 6): "tcp6",
    (0x86DD, 17): "udp6",
    (0x86DD, 58): "icmp6",
}

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
            yield f"{called}={_term_value(term)}"


def _term_value(term: Term) -> str:
    kind, mask = term.field.kind, term.mask
    if kind is FieldKind.CT_STATE:
        return "".join(
            f"{'+' if term.value & bit else '-'}{name}"
            for name, bit in CT_STATE_BITS.items()
            if mask is None or mask & bit
        )
    if mask is None:
        return value_text(term.field, term.value)
    if kind is FieldKind.IPV4:
        return f"{IPv4Address(term.value)}/{_ip_mask(mask)}"
    if kind is FieldKind.MAC:
        return f"{_mac(term.value)}/{_mac(mask)}"
    return f"{term.value:#x}/{mask:#x}"


def value_text(field: Field, value: int) -> str:
    """A value of a field, without a mask."""
    if field.kind is FieldKind.MAC:
        return _mac(value)
    if field.kind is FieldKind.IPV4:
        return str(IPv4Address(value))
    if field.kind is FieldKind.PORT:
        return port_text(value)
    return str(value) if field.kind is FieldKind.NUMBER else f"{value:#x}"


def _action(action: Action, names: _Names) -> str:
    match action:
        case SetField():
            value = value_text(action.field, action.value)
            text = f"set_field:{value}->{names.field(action.field)}"
        case Move():
            bits = f"[0..{action.bits - 1}]"
            text = (
                f"move:{names.subfield(action.source)}{bits}->{names.subfield(action.target)}{bits}"
            )
        case Output(port=Field() as register):
            text = f"output:{names.field(register)}[]"
        case Output(port=int() as port):
            text = f"output:{port_text(port)}"
        case InPort() | CtClear():
            text = "IN_PORT" if isinstance(action, InPort) else "ct_clear"
        case Goto():
            text = f"goto_table:{names.hop(action.table)}"
        case Meter():
            text = f"meter:{action.number}"
        case Ct():
            text = f"ct({','.join(_ct_arguments(action, names))})"
        case Note():
            text = f"note:{action.data.hex('.')}"
    return text


def _ct_arguments(ct: Ct, names: _Names) -> Iterator[str]:
    if ct.commit:
        yield "commit"
    if ct.table is not None:
        yield f"table={names.hop(ct.table)}"
    yield f"zone={ct.zone}"
    if ct.nat is not None:
        yield _nat(ct.nat)
    if ct.mark is not None:
        yield f"exec(set_field:{ct.mark:#x}->ct_mark)"


def _nat(nat: Nat) -> str:
    if nat.source is None:
        return "nat"
    ports = ":{}-{},random".format(*OTHER_PORTS) if nat.other_port else ""
    return f"nat(src={nat.source}{ports})"


def port_text(number: int) -> str:
    """A port's number, or the word for a reserved one."""
    return _RESERVED_PORTS.get(number, str(number))


def _mac(number: int) -> str:
    return number.to_bytes(6, "big").hex(":")


def _ip_mask(mask: int) -> str:
    """A prefix length where the mask is one, else dotted."""
    length = mask.bit_count()
    prefix = (0xFFFFFFFF << (32 - length)) & 0xFFFFFFFF
    return str(length) if mask == prefix else str(IPv4Address(mask))
