"""What a flow of a switch says, as text: from OpenFlow 1.4 back to the words of `text`.

A switch may have flows that are not ours, so nothing is refused: what is not known here is shown
as hexadecimal digits.

Sources: OpenFlow 1.4 sections 7.2.3 (match), 7.2.4 (instructions), 7.2.5 (actions); Open vSwitch
``lib/ofp-actions.c`` and ``include/openvswitch/meta-flow.h`` for those of Nicira.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address
from struct import Struct

from attrs import frozen

from k8s_ovs.pipeline.field import FIELDS, Field, FieldKind
from k8s_ovs.pipeline.match import Term
from k8s_ovs.pipeline.text import (
    field_name,
    match_text,
    port_text,
    term_value_text,
    value_text,
)

__all__ = ["read_actions", "read_match"]

_HEX, _PORT = FieldKind.HEX, FieldKind.PORT
_OPENFLOW, _NICIRA, _OLD = 0x8000, 0x0001, 0x0000

#: Fields that only flows of others have, and forms of ours that only they use.
_FOREIGN = (
    Field("metadata", _OPENFLOW, 2, 64, _HEX),
    Field("vlan_vid", _OPENFLOW, 6, 16, _HEX),
    Field("vlan_pcp", _OPENFLOW, 7, 8),
    Field("mpls_label", _OPENFLOW, 34, 32),
    Field("mpls_tc", _OPENFLOW, 35, 8),
    Field("mpls_bos", _OPENFLOW, 36, 8),
    Field("tcp_flags", _OPENFLOW, 42, 16, _HEX),
    Field("in_port", _OLD, 0, 16, _PORT),
    Field("nw_ttl", _NICIRA, 29, 8),
)
#: Fields by each of their numbers: Open vSwitch still says those of before OpenFlow 1.2 in move,
#: load and output.
_BY_OXM = {
    **{(each.oxm_class, each.oxm_number): each for each in (*_FOREIGN, *FIELDS.values())},
    **{each.nxm: each for each in FIELDS.values() if each.nxm is not None},
}
_OWN = frozenset(FIELDS.values())

_OXM = Struct("!HBB")
_TYPE_LENGTH = Struct("!HH")
_EXPERIMENTER = Struct("!4xIH")
_OUTPUT = Struct("!4xIH")
_MOVE = Struct("!10xHHHII")
_LOAD = Struct("!10xHIQ")
_OUTPUT_REG = Struct("!10xHI")
_CT = Struct("!10xHIHB3xH")
_RESUBMIT = Struct("!10xHB")
_CONJUNCTION = Struct("!10xBBI")
_METADATA = Struct("!8xQQ")
_NICIRA_VENDOR = 0x2320
_REG_LOAD2, _NXAST_NAT = 33, 36
_NAT = Struct("!12xHH")
_NAT_FLAGS = {4: "persistent", 8: "hash", 16: "random"}
_IN_PORT, _CONTROLLER, _LOCAL, _FIRST_RESERVED = 0xFFFFFFF8, 0xFFFFFFFD, 0xFFFFFFFE, 0xFFFFFF00
_NO_TABLE = 0xFF
_ALL_64 = (1 << 64) - 1

#: Actions of OpenFlow 1.4 section 7.2.5 beside output and set-field: name, and what follows.
_SIMPLE: dict[int, tuple[str, str]] = {
    11: ("copy_ttl_out", ""),
    12: ("copy_ttl_in", ""),
    15: ("set_mpls_ttl", "!4xB"),
    16: ("dec_mpls_ttl", ""),
    17: ("push_vlan", "!4xH"),
    18: ("pop_vlan", ""),
    19: ("push_mpls", "!4xH"),
    20: ("pop_mpls", "!4xH"),
    21: ("set_queue", "!4xI"),
    22: ("group", "!4xI"),
    23: ("set_nw_ttl", "!4xB"),
    24: ("dec_ttl", ""),
    26: ("push_pbb", "!4xH"),
    27: ("pop_pbb", ""),
}

#: Names of tables by number.
Tables = Mapping[int, str]


@frozen
class _Oxm:
    """A value of a field. field None: one that is not known here. whole: as on the wire."""

    field: Field | None
    value: int
    mask: int | None
    whole: bytes


def read_match(oxm: bytes) -> str:
    """The terms of a match, which come without the padding behind them."""
    known, foreign = [], []
    for each in _oxms(oxm):
        if each.field in _OWN:
            known.append(Term(each.field, each.value, each.mask))
        elif each.field is not None:
            foreign.append(f"{each.field.name}={_value(each)}")
        else:
            foreign.append(f"oxm({each.whole.hex()})")
    return ",".join([*match_text(known), *foreign])


def read_actions(instructions: bytes, tables: Tables) -> str:
    """What is done with a packet; "drop" for nothing."""
    said: list[str] = []
    for kind, whole in _parts(instructions):
        try:
            said += _instruction(kind, whole, tables)
        except (struct.error, IndexError):
            said.append(f"instruction({whole.hex()})")
    return ",".join(said) or "drop"


def _instruction(kind: int, whole: bytes, tables: Tables) -> list[str]:
    said = [f"instruction({whole.hex()})"]
    match kind:
        case 1:
            said = [f"goto_table:{_table(whole[4], tables)}"]
        case 2:
            value, mask = _METADATA.unpack_from(whole)
            said = [f"write_metadata:{value:#x}{'' if mask == _ALL_64 else f'/{mask:#x}'}"]
        case 3:
            said = [f"write_actions({','.join(_actions(whole[8:], tables))})"]
        case 4:
            said = _actions(whole[8:], tables)
        case 5:
            said = ["clear_actions"]
        case 6:
            said = [f"meter:{int.from_bytes(whole[4:8], 'big')}"]
    return said


def _actions(data: bytes, tables: Tables) -> list[str]:
    said = []
    for kind, whole in _parts(data):
        try:
            said.append(_action(kind, whole, tables) or f"action({whole.hex()})")
        except (struct.error, IndexError):
            said.append(f"action({whole.hex()})")
    return said


def _action(kind: int, whole: bytes, tables: Tables) -> str | None:
    """One action; None: it is not known here."""
    if kind == 0:
        return _output(*_OUTPUT.unpack_from(whole))
    if (oxm_at := _sets_field(kind, whole)) is not None:
        return _set_field(next(_oxms(whole[oxm_at:]), None))
    if kind in _SIMPLE:
        name, form = _SIMPLE[kind]
        if not form:
            return name
        (number,) = struct.unpack_from(form, whole)
        return f"{name}:{number:#06x}" if form == "!4xH" else f"{name}:{number}"
    if kind == 0xFFFF and _EXPERIMENTER.unpack_from(whole)[0] == _NICIRA_VENDOR:
        return _of_nicira(_EXPERIMENTER.unpack_from(whole)[1], whole, tables)
    return None


def _sets_field(kind: int, whole: bytes) -> int | None:
    """Where the field and its value are, in one of the two actions that set one; None: no such."""
    is_load = kind == 0xFFFF and _EXPERIMENTER.unpack_from(whole) == (_NICIRA_VENDOR, _REG_LOAD2)
    return 10 if is_load else 4 if kind == 25 else None


def _of_nicira(subtype: int, whole: bytes, tables: Tables) -> str | None:
    match subtype:
        case 1:
            said = f"resubmit:{_short_port(_RESUBMIT.unpack_from(whole)[0])}"
        case 6:
            bits, source_at, target_at, source, target = _MOVE.unpack_from(whole)
            ends = _bits(source, source_at, bits), _bits(target, target_at, bits)
            said = f"move:{ends[0]}->{ends[1]}"
        case 7:
            place, target, value = _LOAD.unpack_from(whole)
            said = f"load:{value:#x}->{_bits(target, place >> 6, (place & 63) + 1)}"
        case 8:
            said = f"note:{whole[10:].hex('.')}"
        case 14:
            port, number = _RESUBMIT.unpack_from(whole)
            back = "" if port == _IN_PORT & 0xFFFF else _short_port(port)
            said = f"resubmit({back},{_table(number, tables)})"
        case 15:
            place, source = _OUTPUT_REG.unpack_from(whole)
            said = f"output:{_bits(source, place >> 6, (place & 63) + 1, whole='')}"
        case 34:
            clause, clauses, number = _CONJUNCTION.unpack_from(whole)
            said = f"conjunction({number},{clause + 1}/{clauses})"
        case 35:
            said = f"ct({','.join(_ct(whole, tables))})"
        case 43:
            said = "ct_clear"
        case _:
            return None
    return said


def _output(port: int, most: int) -> str:
    if port == _CONTROLLER:
        return f"CONTROLLER:{most}"
    own_word = port >= _FIRST_RESERVED and port != _LOCAL
    return port_text(port) if own_word else f"output:{port_text(port)}"


def _set_field(each: _Oxm | None) -> str | None:
    if each is None:
        return None
    name = f"oxm({each.whole.hex()})" if each.field is None else field_name(each.field)
    return f"set_field:{_value(each)}->{name}"


def _ct(whole: bytes, tables: Tables) -> Iterator[str]:
    """The arguments, in the order of ovs-actions(7)."""
    flags, zone_field, zone, table, helper = _CT.unpack_from(whole)
    if flags & 1:
        yield "commit"
    if flags & 2:
        yield "force"
    if table != _NO_TABLE:
        yield f"table={_table(table, tables)}"
    zone_bits = _bits(zone_field, zone >> 6, (zone & 63) + 1) if zone_field else zone
    yield f"zone={zone_bits}"
    if helper:
        yield f"alg={helper}"
    nested = []
    for kind, part in _parts(whole[24:]):
        is_nat = kind == 0xFFFF and _EXPERIMENTER.unpack_from(part)[1] == _NXAST_NAT
        if is_nat:
            yield _nat(part)
        else:
            nested += _actions(part, tables)
    if nested:
        yield f"exec({','.join(nested)})"


def _nat(whole: bytes) -> str:
    """Who a connection is translated to: flags, which of six values follow, and those."""
    flags, present = _NAT.unpack_from(whole)
    said, at = [], _NAT.size
    for bit, size in enumerate((4, 4, 16, 16, 2, 2)):
        value = whole[at : at + size]
        if not present & 1 << bit or len(value) < size:
            said.append("")
        elif size == 2:
            said.append(str(int.from_bytes(value, "big")))
        else:
            said.append(str(IPv4Address(value) if size == 4 else f"[{IPv6Address(value)}]"))
        at += size if said[-1] else 0
    first, last, first6, last6, port, last_port = said
    addresses = "-".join(filter(None, (first, last, first6, last6)))
    ports = "-".join(filter(None, (port, last_port)))
    words = ["src" if flags & 1 else "dst"] if flags & 3 else []
    words[:1] = [f"{word}={addresses}{':' if ports else ''}{ports}".rstrip("=") for word in words]
    words += [word for bit, word in _NAT_FLAGS.items() if flags & bit]
    return f"nat({','.join(words)})" if words else "nat"


def _oxms(data: bytes) -> Iterator[_Oxm]:
    """The fields in a row of OXM headers and values."""
    offset = 0
    while offset + _OXM.size <= len(data):
        oxm_class, number, length = _OXM.unpack_from(data, offset)
        start, offset = offset, offset + _OXM.size + length
        whole = data[start:offset]
        field, masked = _BY_OXM.get((oxm_class, number >> 1)), number & 1
        body = whole[_OXM.size :]
        if field is not None and field.experimenter is not None:
            whose, body, length = body[:4], body[4:], length - 4
            field = field if int.from_bytes(whose, "big") == field.experimenter else None
        size = length // 2 if masked else length
        value, mask = int.from_bytes(body[:size], "big"), int.from_bytes(body[size:], "big")
        if field is not None and (size != field.size or len(body) != length):
            field = None
        yield _Oxm(field, value, mask if masked else None, whole)


def _value(each: _Oxm) -> str:
    if each.field in _OWN:
        return term_value_text(Term(each.field, each.value, each.mask))
    numbers = [each.value] if each.mask is None else [each.value, each.mask]
    return "/".join(_number(each.field, number) for number in numbers)


def _number(field: Field | None, number: int) -> str:
    if field is None:
        return f"{number:#x}"
    if field.kind is FieldKind.PORT and field.bits == 16:
        return _short_port(number)
    return value_text(field, number)


def _bits(header: int, first: int, count: int, whole: str | None = None) -> str:
    """Bits of a field, named by its OXM header. whole: what stands for all of them, None: range."""
    field = _BY_OXM.get((header >> 16, header >> 9 & 0x7F))
    name = f"oxm({header:08x})" if field is None else field_name(field)
    if whole is not None and field is not None and (first, count) == (0, field.bits):
        return f"{name}[{whole}]"
    return f"{name}[{first}..{first + count - 1}]"


def _short_port(number: int) -> str:
    """A port of 16 bits, whose reserved numbers are the low ones of those of 32."""
    return port_text(number | 0xFFFF0000 if number >= _FIRST_RESERVED & 0xFFFF else number)


def _table(number: int, tables: Tables) -> str:
    return tables.get(number, str(number))


def _parts(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Instructions or actions, as (type, all of it); what is cut off ends the row."""
    offset = 0
    while offset + _TYPE_LENGTH.size <= len(data):
        kind, length = _TYPE_LENGTH.unpack_from(data, offset)
        length = length if length >= _TYPE_LENGTH.size else len(data) - offset
        yield kind, data[offset : offset + length]
        offset += length
