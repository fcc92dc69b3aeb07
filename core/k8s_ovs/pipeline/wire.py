"""Flows as Open vSwitch receives them: OpenFlow 1.4 flow-mods, each with its cookie.

A cookie is 16 bits of owner and 48 bits of a hash of the flow's content, so comparing cookies is
comparing flows, across restarts too: the hash depends on nothing but the bytes below.

Sources: OpenFlow 1.4 sections 7.2.3 (match), 7.2.4 (instructions), 7.2.5 (actions), 7.3.4.2
(flow-mod); Open vSwitch ``lib/ofp-actions.c`` for the Nicira actions; ovs-actions(7).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from struct import Struct

from attrs import field, frozen

from k8s_ovs.pipeline.action import (
    OTHER_PORTS,
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
from k8s_ovs.pipeline.field import FIELDS, Field, FieldKind
from k8s_ovs.pipeline.flow import Flow, Match, Term, meter_of
from k8s_ovs.pipeline.table import Pipeline, PipelineError

__all__ = [
    "KBPS_BURST_STATS",
    "MAX_OWNER",
    "WireFlow",
    "actions_alone",
    "delete_by_cookie",
    "delete_meter",
    "encode",
    "is_as_made",
    "key_of",
    "owner_of",
    "put_meter",
]

#: Owners are 16 bits; all ones is left out, so that no cookie equals the wildcard -1.
MAX_OWNER = 0xFFFE

_VERSION = 0x05
_FLOW_MOD = 14
_ADD, _DELETE = 0, 3
_ALL_TABLES = 0xFF
_NO_BUFFER = _ANY = 0xFFFFFFFF
_EXACT = 0xFFFFFFFFFFFFFFFF
#: The part of a cookie that is a hash of the flow's content.
_CONTENT = 0x0000FFFFFFFFFFFF
_METER_INSTRUCTION = 6
_IN_PORT = 0xFFFFFFF8

# header; cookie, cookie_mask, table_id, command, idle, hard, priority, buffer_id, out_port,
# out_group, flags, importance
_FLOW_MOD_HEAD = Struct("!BBHI QQBBHHHIIIHH")
_MATCH_HEAD = Struct("!HH")
_KEY_HEAD = Struct("!BH")
_TYPE_LENGTH = Struct("!HH")
_APPLY_ACTIONS = Struct("!HH4x")
_GOTO_TABLE = Struct("!HHB3x")
_METER = Struct("!HHI")
_OUTPUT = Struct("!HHIH6x")
_METER_MOD = Struct("!BBHI HHI")
_DROP_BAND = Struct("!HHII4x")
#: Flags of a meter-mod, section 7.3.4.4.
KBPS_BURST_STATS = 0b1101
# Nicira actions: type 0xffff, length, vendor, subtype, then their own.
_REG_MOVE = Struct("!HHIH HHHII")
_OUTPUT_REG = Struct("!HHIH HIH6x")
_NOTE = Struct("!HHIH")
_CT = Struct("!HHIH HIHB3xH")
_CT_CLEAR = Struct("!HHIH 6x")
_NAT = Struct("!HHIH 2xHH")
_PORT_RANGE = Struct("!HH")

_EXPERIMENTER, _NICIRA = 0xFFFF, 0x2320
_NXAST_REG_MOVE, _NXAST_NOTE, _NXAST_OUTPUT_REG, _NXAST_CT, _NXAST_NAT = 6, 8, 15, 35, 36
_NXAST_CT_CLEAR = 43
_NAT_SOURCE, _NAT_RANDOM = 0x0001, 0x0010
_NAT_ADDRESS, _NAT_PORTS = 0x0001, 0x0030
_CT_COMMIT = 0x0001
_CT_NO_TABLE = 0xFF
_CT_STATES = 0xFF
_WHOLE_PACKET = 0xFFFF
#: Lengths have 16 bits, and the message that puts a flow-mod into a bundle takes 16 bytes of it.
_MAX_FLOW_MOD = 0xFFFF - 16
_NXM_IN_PORT = (0x0000_0002).to_bytes(4, "big")
_PADDING = tuple(bytes(n) for n in range(8))


@frozen
class WireFlow:
    """A flow ready to be sent.

    body: the whole flow-mod that adds it, transaction id zero. key: what the switch tells flows
    apart by: two flows of one key replace each other. flow: what was encoded, for messages.
    meter: the one that its packets pass, which has to be there before.
    """

    cookie: int
    body: bytes
    key: bytes
    flow: Flow = field(eq=False, repr=False)
    meter: Meter | None = None


def encode(flow: Flow, owner: int, pipeline: Pipeline) -> WireFlow:
    """The flow-mod that adds `flow` to the table that `pipeline` gives it.

    owner: 0 to MAX_OWNER, who asked for it. Raises PipelineError for an owner out of that range
    and for a flow with more actions than one message can carry.
    """
    if not 0 <= owner <= MAX_OWNER:
        raise PipelineError(f"owner {owner} of a flow is not 0 to {MAX_OWNER}")
    table = pipeline.number(flow.table.name)
    match, instructions = _match(flow.match), _instructions(flow, pipeline)
    key = _KEY_HEAD.pack(table, flow.priority) + match
    meter = meter_of(flow)
    # Flows name a meter by its number; that its rate is another one makes it another flow.
    rates = b"" if meter is None else put_meter(meter, 0)
    cookie = owner << 48 | _digest(key, instructions, rates)
    length = _fitting(flow, _FLOW_MOD_HEAD.size + len(match) + len(instructions))
    head = _flow_mod_head(_ADD, length, cookie, table=table, priority=flow.priority)
    return WireFlow(cookie, head + match + instructions, key, flow, meter)


def owner_of(cookie: int) -> int:
    """Who asked for the flow with this cookie, as `encode` was told."""
    return cookie >> 48


def key_of(table: int, priority: int, terms: bytes) -> bytes:
    """What a switch tells flows apart by. terms: the OXM fields of the match."""
    return _KEY_HEAD.pack(table, priority) + _padded(terms)


def is_as_made(cookie: int, key: bytes, instructions: bytes, meters: Mapping[int, Meter]) -> bool:
    """Whether a flow as a switch shows it is the one whose cookie it has.

    key: see `key_of`. meters: those of the switch, by number.
    """
    rates = b""
    if (number := _meter_number(instructions)) is not None:
        rates = put_meter(meters[number], 0) if number in meters else b"?"
    return cookie & _CONTENT == _digest(key, instructions, rates)


def _digest(key: bytes, instructions: bytes, rates: bytes) -> int:
    return int.from_bytes(blake2b(key + instructions + rates, digest_size=6).digest(), "big")


def _meter_number(instructions: bytes) -> int | None:
    """The meter that packets pass first; None: none."""
    if len(instructions) < _METER.size:
        return None
    kind, _, number = _METER.unpack_from(instructions)
    return int(number) if kind == _METER_INSTRUCTION else None


def actions_alone(actions: Iterable[SetField | Output | InPort | Move | Note]) -> bytes:
    """Actions outside a flow, as a packet-out carries them."""
    return b"".join(map(_action, actions))


def delete_by_cookie(cookie: int) -> bytes:
    """The flow-mod that deletes every flow of just this cookie from all tables."""
    match = _match(Match())
    length = _FLOW_MOD_HEAD.size + len(match)
    return _flow_mod_head(_DELETE, length, cookie, table=_ALL_TABLES, priority=0) + match


def put_meter(meter: Meter, command: int) -> bytes:
    """The meter-mod that adds a meter (command 0) or changes it (1), transaction id zero.

    OpenFlow 1.4 section 7.3.4.4: rates in kilobits, with a burst, with statistics; one drop band.
    """
    band = _DROP_BAND.pack(1, _DROP_BAND.size, meter.rate, meter.burst)
    return _meter_mod(command, KBPS_BURST_STATS, meter.number, band)


def delete_meter(number: int) -> bytes:
    """The meter-mod that deletes a meter; flows that name it would go with it."""
    return _meter_mod(2, 0, number, b"")


def _meter_mod(command: int, flags: int, number: int, bands: bytes) -> bytes:
    length = _METER_MOD.size + len(bands)
    return _METER_MOD.pack(_VERSION, 29, length, 0, command, flags, number) + bands


def _flow_mod_head(command: int, length: int, cookie: int, table: int, priority: int) -> bytes:
    header = (_VERSION, _FLOW_MOD, length, 0)
    which = (cookie, 0 if command == _ADD else _EXACT, table, command)
    return _FLOW_MOD_HEAD.pack(*header, *which, 0, 0, priority, _NO_BUFFER, _ANY, _ANY, 0, 0)


def _match(match: Match) -> bytes:
    return _padded(b"".join(map(_term, match.terms)))


def _padded(terms: bytes) -> bytes:
    length = _MATCH_HEAD.size + len(terms)
    return _MATCH_HEAD.pack(1, length) + terms + _PADDING[-length % 8]


def _oxm(of: Field, masked: bool) -> int:
    """The OXM header: class, field number, has-mask bit, length of what follows."""
    size = of.size * 2 if masked else of.size
    return of.oxm_class << 16 | of.oxm_number << 9 | masked << 8 | size


def _nxm(of: Field) -> int:
    oxm_class, number = of.nxm or (of.oxm_class, of.oxm_number)
    return oxm_class << 16 | number << 9 | of.size


_HEADER = {of.name: _oxm(of, masked=False) for of in FIELDS.values()}
#: In a move Open vSwitch shows the oldest header of a field, so that is the one to send.
_MOVED = {of.name: _nxm(of) for of in FIELDS.values()}
_PLAIN = {of.name: (_oxm(of, masked=False).to_bytes(4, "big"), of.size) for of in FIELDS.values()}
_MASKED = {of.name: (_oxm(of, masked=True).to_bytes(4, "big"), of.size) for of in FIELDS.values()}


def _term(term: Term) -> bytes:
    mask = term.mask
    if mask is None and term.field.kind is FieldKind.CT_STATE:
        mask = _CT_STATES  # all there are: so Open vSwitch shows it
    if mask is None:
        return _assigned(term.field, term.value)
    header, size = _MASKED[term.field.name]
    return header + term.value.to_bytes(size, "big") + mask.to_bytes(size, "big")


def _assigned(of: Field, value: int) -> bytes:
    header, size = _PLAIN[of.name]
    return header + value.to_bytes(size, "big")


def _instructions(flow: Flow, pipeline: Pipeline) -> bytes:
    source, meter, actions, goto = flow.table.name, b"", b"", b""
    for action in flow.actions:
        if isinstance(action, Meter):
            meter = _METER.pack(_METER_INSTRUCTION, _METER.size, action.number)
        elif isinstance(action, Goto):
            goto = _GOTO_TABLE.pack(1, _GOTO_TABLE.size, pipeline.hop(source, action.table))
        elif isinstance(action, Ct):
            back = _CT_NO_TABLE if action.table is None else pipeline.hop(source, action.table)
            actions += _ct(action, back)
        else:
            actions += _action(action)
    if not actions:
        return meter + goto
    length = _fitting(flow, _APPLY_ACTIONS.size + len(actions))
    return meter + _APPLY_ACTIONS.pack(4, length) + actions + goto


def _fitting(flow: Flow, length: int) -> int:
    if length > _MAX_FLOW_MOD:
        raise PipelineError(
            f"{flow.table.name}: a flow of {length} bytes, at most {_MAX_FLOW_MOD} can be sent"
        )
    return length


def _action(action: SetField | Output | InPort | Move | CtClear | Note) -> bytes:
    match action:
        case SetField():
            body = _set_field(action.field, action.value)
        case Output(port=int() as port):
            body = _OUTPUT.pack(0, _OUTPUT.size, port, _WHOLE_PACKET)
        case Output(port=Field() as register):
            body = _output_register(register)
        case InPort():
            body = _OUTPUT.pack(0, _OUTPUT.size, _IN_PORT, _WHOLE_PACKET)
        case Move():
            body = _move(action)
        case CtClear():
            body = _CT_CLEAR.pack(_EXPERIMENTER, _CT_CLEAR.size, _NICIRA, _NXAST_CT_CLEAR)
        case Note():
            body = _note(action.data)
    return body


def _set_field(of: Field, value: int) -> bytes:
    if of.kind is FieldKind.PORT:
        # Only its 16-bit form can be set; the low bits of a reserved port are its number there.
        oxm = _NXM_IN_PORT + (value & 0xFFFF).to_bytes(2, "big")
    else:
        oxm = _assigned(of, value)
    size = _TYPE_LENGTH.size + len(oxm)
    padding = _PADDING[-size % 8]
    return _TYPE_LENGTH.pack(25, size + len(padding)) + oxm + padding


def _output_register(register: Field) -> bytes:
    bits = register.bits - 1  # offset 0, number of bits less one
    head = (_EXPERIMENTER, _OUTPUT_REG.size, _NICIRA, _NXAST_OUTPUT_REG)
    return _OUTPUT_REG.pack(*head, bits, _HEADER[register.name], _WHOLE_PACKET)


def _move(move: Move) -> bytes:
    head = (_EXPERIMENTER, _REG_MOVE.size, _NICIRA, _NXAST_REG_MOVE)
    ends = (_MOVED[move.source.name], _MOVED[move.target.name])
    return _REG_MOVE.pack(*head, move.bits, 0, 0, *ends)


def _note(data: bytes) -> bytes:
    size = _NOTE.size + len(data)
    padding = _PADDING[-size % 8]
    return _NOTE.pack(_EXPERIMENTER, size + len(padding), _NICIRA, _NXAST_NOTE) + data + padding


def _ct(ct: Ct, table: int) -> bytes:
    nested = b"" if ct.nat is None else _nat(ct.nat)
    nested += b"" if ct.mark is None else _set_field(FIELDS["ct_mark"], ct.mark)
    head = (_EXPERIMENTER, _CT.size + len(nested), _NICIRA, _NXAST_CT)
    flags = _CT_COMMIT if ct.commit else 0
    return _CT.pack(*head, flags, 0, ct.zone, table, 0) + nested


def _nat(nat: Nat) -> bytes:
    flags, present, said = 0, 0, b""
    if nat.source is not None:
        flags, present, said = _NAT_SOURCE, _NAT_ADDRESS, nat.source.packed
    if nat.other_port:
        flags, present = flags | _NAT_RANDOM, present | _NAT_PORTS
        said += _PORT_RANGE.pack(*OTHER_PORTS)
    size = _NAT.size + len(said)
    padding = _PADDING[-size % 8]
    head = (_EXPERIMENTER, size + len(padding), _NICIRA, _NXAST_NAT)
    return _NAT.pack(*head, flags, present) + said + padding
