"""Flows as Open vSwitch receives them: OpenFlow 1.4 flow-mods, each with its cookie.

A cookie is 16 bits of owner and 48 bits of a hash of the flow's content, so comparing cookies is
comparing flows, across restarts too: the hash depends on nothing but the bytes below.

Sources: OpenFlow 1.4 sections 7.2.3 (match), 7.2.4 (instructions), 7.3.4.2 (flow-mod), 7.3.4.4
(meter-mod).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from struct import Struct

from attrs import field, frozen

from k8s_ovs.pipeline.action import Conjunction, Ct, Goto, Meter
from k8s_ovs.pipeline.action_wire import PADDING, Plain, action_bytes, ct_bytes
from k8s_ovs.pipeline.field import FLAGS
from k8s_ovs.pipeline.flow import Flow, conjunctions_of, meter_of
from k8s_ovs.pipeline.match import Match, Term
from k8s_ovs.pipeline.oxm import assigned, assigned_masked
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

# header; cookie, cookie_mask, table_id, command, idle, hard, priority, buffer_id, out_port,
# out_group, flags, importance
_FLOW_MOD_HEAD = Struct("!BBHI QQBBHHHIIIHH")
_MATCH_HEAD = Struct("!HH")
_KEY_HEAD = Struct("!BH")
_TYPE_LENGTH = Struct("!HH")
_APPLY_ACTIONS = Struct("!HH4x")
_GOTO_TABLE = Struct("!HHB3x")
_METER = Struct("!HHI")
_METER_MOD = Struct("!BBHI HHI")
_DROP_BAND = Struct("!HHII4x")
#: Flags of a meter-mod, section 7.3.4.4.
KBPS_BURST_STATS = 0b1101

_CT_NO_TABLE = 0xFF
#: All bits of ct_state: so Open vSwitch shows it, be it that all are said.
_CT_STATES = sum(FLAGS["ct_state"].values())
#: Lengths have 16 bits, and the message that puts a flow-mod into a bundle takes 16 bytes of it.
_MAX_FLOW_MOD = 0xFFFF - 16


@frozen
class WireFlow:
    """A flow ready to be sent.

    body: the whole flow-mod that adds it, transaction id zero. key: what the switch tells flows
    apart by: two flows of one key replace each other. flow: what was encoded, for messages.
    meter: the one that its packets pass, which has to be there before. conjunctions: those that it
    is of a clause of.
    """

    cookie: int
    body: bytes
    key: bytes
    flow: Flow = field(eq=False, repr=False)
    meter: Meter | None = None
    conjunctions: tuple[Conjunction, ...] = field(default=(), eq=False)


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
    return WireFlow(cookie, head + match + instructions, key, flow, meter, conjunctions_of(flow))


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


def actions_alone(actions: Iterable[Plain]) -> bytes:
    """Actions outside a flow, as a packet-out carries them."""
    return b"".join(map(action_bytes, actions))


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
    return _MATCH_HEAD.pack(1, length) + terms + PADDING[-length % 8]


def _term(term: Term) -> bytes:
    mask = term.mask
    if mask is None and term.field.name == "ct_state":
        mask = _CT_STATES
    if mask is None:
        return assigned(term.field, term.value)
    return assigned_masked(term.field, term.value, mask)


def _instructions(flow: Flow, pipeline: Pipeline) -> bytes:
    source, meter, actions, goto = flow.table.name, b"", b"", b""
    for action in flow.actions:
        if isinstance(action, Meter):
            meter = _METER.pack(_METER_INSTRUCTION, _METER.size, action.number)
        elif isinstance(action, Goto):
            goto = _GOTO_TABLE.pack(1, _GOTO_TABLE.size, pipeline.hop(source, action.table))
        elif isinstance(action, Ct):
            back = _CT_NO_TABLE if action.table is None else pipeline.hop(source, action.table)
            actions += ct_bytes(action, back)
        else:
            actions += action_bytes(action)
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
