"""What is done with a packet: the actions of a flow, as values."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address

import attrs
from attrs import field, frozen

from k8s_ovs.model.checked import (
    as_plain,
    as_text,
    as_tuple,
    as_whole,
    as_whole_or_none,
    has_type,
    tuple_of,
)
from k8s_ovs.pipeline.field import Field
from k8s_ovs.pipeline.match import conjunction_id, refuse_too_wide
from k8s_ovs.pipeline.table import PipelineError

__all__ = [
    "METER_NUMBERS",
    "OTHER_PORTS",
    "Action",
    "Conjunction",
    "Ct",
    "CtClear",
    "Goto",
    "InPort",
    "Meter",
    "Move",
    "Nat",
    "Note",
    "Output",
    "SetField",
]

_WHOLE = has_type(int, error=PipelineError)
_WHOLE_OR_NONE = has_type(int, None, error=PipelineError)
_TEXT = has_type(str, error=PipelineError)
_FIELD = has_type(Field, error=PipelineError)


def _as_port(port: int | Field) -> int | Field:
    plain: int | Field = as_plain(port)
    return plain


def _as_text_or_none(text: str | None) -> str | None:
    plain: str | None = as_plain(text)
    return plain


def _as_bytes(data: bytes) -> bytes:
    plain: bytes = as_plain(data)
    return plain


def _refuse_read_only(written: Field) -> None:
    if not written.writable:
        raise PipelineError(f"{written.name} can be matched, and not be set")


_REGISTER_NAMES = frozenset(f"reg{number}" for number in range(16))


@frozen
class Output:
    """Send out of a port: a number, or the register that holds one.

    Raises PipelineError for a port that is not of 32 bits, and for a field that is no register.
    """

    port: int | Field = field(
        converter=_as_port, validator=has_type(int, Field, error=PipelineError)
    )

    def __attrs_post_init__(self) -> None:
        if isinstance(self.port, int):
            refuse_too_wide("output", self.port, 32)
        elif self.port.name not in _REGISTER_NAMES:
            raise PipelineError(f"output: found {self.port.name}, expected a number or a register")


@frozen
class InPort:
    """Send back out of the port that it came in by (OFPP_IN_PORT)."""


@frozen
class SetField:
    """Write a constant into a field or register.

    mask: the bits that are written; None: all. Raises PipelineError for a field that cannot be
    set, and for a value or mask that it cannot have.
    """

    field: Field = attrs.field(validator=_FIELD)
    value: int = attrs.field(converter=as_whole, validator=_WHOLE)
    mask: int | None = attrs.field(
        default=None, converter=as_whole_or_none, validator=_WHOLE_OR_NONE
    )

    def __attrs_post_init__(self) -> None:
        _refuse_read_only(self.field)
        refuse_too_wide(self.field.name, self.value, self.field.bits)
        if self.mask is not None:
            self._check_mask(self.mask)

    def _check_mask(self, mask: int) -> None:
        name = self.field.name
        refuse_too_wide(f"{name} mask", mask, self.field.bits)
        if not self.field.maskable:
            raise PipelineError(f"{name}: this field takes no mask")
        if not 0 < mask < self.field.full_mask:
            raise PipelineError(f"{name} mask={mask:#x} leaves no bit out, or every bit")
        if self.value & ~mask:
            raise PipelineError(
                f"{name}={self.value:#x}/{mask:#x}: bits are set that the mask leaves out"
            )


@frozen
class Move:
    """Copy one field into another: the lowest bits that both have.

    A tunnel's 64-bit tun_id into a 32-bit register keeps all of a VNI's 24 bits.
    Raises PipelineError for a target that cannot be set.
    """

    source: Field = field(validator=_FIELD)
    target: Field = field(validator=_FIELD)

    def __attrs_post_init__(self) -> None:
        _refuse_read_only(self.target)

    @property
    def bits(self) -> int:
        """How many bits are copied."""
        return min(self.source.bits, self.target.bits)


@frozen
class Goto:
    """Go on in another table. Always the last action."""

    table: str = field(converter=as_text, validator=_TEXT)


#: Ports for connections that need another one, first and last.
OTHER_PORTS = (1024, 65535)

_ADDRESS_OR_NONE = has_type(IPv4Address, IPv6Address, None, error=PipelineError)


@frozen
class Nat:
    """Translate a packet as its connection is translated, in either direction.

    source: the address that a new connection gets as its source, and another port where a tracked
    connection would have the same answers. other_port: it gets any port but those below 1024, and
    hardly its own. destination, port: what a new connection gets as its destination; port None:
    its own. With neither source nor destination a new connection is not translated.
    Raises PipelineError for a port of no address, and for both source and destination.
    """

    source: IPv4Address | IPv6Address | None = field(default=None, validator=_ADDRESS_OR_NONE)
    other_port: bool = field(default=False, validator=has_type(bool, error=PipelineError))
    destination: IPv4Address | IPv6Address | None = field(default=None, validator=_ADDRESS_OR_NONE)
    port: int | None = field(default=None, converter=as_whole_or_none, validator=_WHOLE_OR_NONE)

    def __attrs_post_init__(self) -> None:
        if self.other_port and self.source is None:
            raise PipelineError("nat gives another port to no source")
        if self.source is not None and self.destination is not None:
            raise PipelineError("nat gives a source and a destination, expected one of them")
        if self.port is not None:
            if self.destination is None:
                raise PipelineError(f"nat port={self.port} has no destination")
            if not 1 <= self.port <= 0xFFFF:
                raise PipelineError(f"nat port={self.port} is not 1 to 65535")

    @property
    def address(self) -> IPv4Address | IPv6Address | None:
        """What new connections get as source or destination."""
        return self.source if self.destination is None else self.destination


def _as_sets(exec: Iterable[SetField | Move]) -> tuple[SetField | Move, ...]:
    return as_tuple(exec)


@frozen
class Ct:
    """Track the connection in `zone`; with `commit`, remember it; then go on in `table`.

    exec: what a connection that is remembered has in its ct_mark and ct_label: SetField and Move
    to those. nat: how its packets are translated. force: a connection that is known and began at
    the other end begins anew at this one. table None: the packet is tracked, and this copy of it
    goes on untracked. ovs-actions(7), "The ct action".
    Raises PipelineError for a zone that is not of 16 bits, and for what would be lost without
    commit.
    """

    zone: int = field(converter=as_whole, validator=_WHOLE)
    commit: bool = field(default=False, validator=has_type(bool, error=PipelineError))
    exec: tuple[SetField | Move, ...] = field(
        default=(), converter=_as_sets, validator=tuple_of(SetField, Move, error=PipelineError)
    )
    table: str | None = field(
        default=None,
        converter=_as_text_or_none,
        validator=has_type(str, None, error=PipelineError),
    )
    nat: Nat | None = field(default=None, validator=has_type(Nat, None, error=PipelineError))
    force: bool = field(default=False, validator=has_type(bool, error=PipelineError))

    def __attrs_post_init__(self) -> None:
        refuse_too_wide("ct zone", self.zone, 16)
        for each in self.exec:
            written = each.field if isinstance(each, SetField) else each.target
            if written.name not in ("ct_mark", "ct_label"):
                raise PipelineError(f"ct exec sets {written.name}, expected ct_mark or ct_label")
        if self.commit:
            return
        if self.nat is not None and self.nat.address is not None:
            raise PipelineError("ct nat translates new connections without commit")
        if self.exec:
            raise PipelineError("ct exec sets what is lost without commit")
        if self.force:
            raise PipelineError("ct force without commit forces nothing")


@frozen
class CtClear:
    """Forget what tracking found: else the kernel's datapath looks up a changed packet no more."""


#: Others are for the switch's own use.
METER_NUMBERS = range(1, 0xFFFF0000 + 1)


@frozen
class Meter:
    """Pass packets up to a rate and drop the rest, counted. Always the first action.

    number: of the bridge's meter, 1 to 0xFFFF0000; the flows decide who uses it: the rate of one
    number is the same in all flows, and they share it. For one port, its OpenFlow number. rate:
    kilobits per second, burst: kilobits. OpenFlow 1.4 section 5.7.
    Raises PipelineError for numbers that do not fit.
    """

    number: int = field(converter=as_whole, validator=_WHOLE)
    rate: int = field(converter=as_whole, validator=_WHOLE)
    burst: int = field(converter=as_whole, validator=_WHOLE)

    def __attrs_post_init__(self) -> None:
        if self.number not in METER_NUMBERS:
            raise PipelineError(f"meter {self.number} is not 1 to {0xFFFF0000}")
        for name, value in (("rate", self.rate), ("burst", self.burst)):
            refuse_too_wide(f"meter {name}", value, 32)
            if value < 1:
                raise PipelineError(f"meter {name}={value} would let nothing through")


@frozen
class Conjunction:
    """This flow is one way to meet one clause of the conjunction `name`.

    A packet that for each clause, 1 to `of`, meets a flow of it, all of one table and priority, is
    looked up again there with conj_id: the flow that matches ``conj_id=name`` acts. `of`: 2 to 64.
    A flow may be of several conjunctions, and then has no other action but notes.
    ovs-fields(7), "Conjunctive Match Fields". Raises PipelineError for a clause that is none.
    """

    name: str = field(converter=as_text, validator=_TEXT)
    clause: int = field(converter=as_whole, validator=_WHOLE)
    of: int = field(converter=as_whole, validator=_WHOLE)

    def __attrs_post_init__(self) -> None:
        if not 2 <= self.of <= 64:
            raise PipelineError(
                f"conjunction {self.name} has {self.of} clauses, expected 2 to 64 "
                "(with one, let its flows act)"
            )
        if not 1 <= self.clause <= self.of:
            raise PipelineError(
                f"conjunction {self.name}: clause {self.clause} is not 1 to {self.of}"
            )

    @property
    def number(self) -> int:
        """The id by which Open vSwitch knows it."""
        return conjunction_id(self.name)


@frozen
class Note:
    """Does nothing; carries bytes for a reader of the flow table."""

    data: bytes = field(converter=_as_bytes, validator=has_type(bytes, error=PipelineError))


Action = Output | InPort | SetField | Move | Goto | Ct | CtClear | Meter | Conjunction | Note
