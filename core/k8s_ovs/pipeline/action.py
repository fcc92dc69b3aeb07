"""What is done with a packet: the actions of a flow, as values."""

from __future__ import annotations

from ipaddress import IPv4Address

import attrs
from attrs import field, frozen

from k8s_ovs.model.checked import as_plain, as_text, as_whole, as_whole_or_none, has_type
from k8s_ovs.pipeline.field import Field
from k8s_ovs.pipeline.table import PipelineError

__all__ = [
    "METER_NUMBERS",
    "OTHER_PORTS",
    "Action",
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
    "refuse_too_wide",
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


def refuse_too_wide(name: str, value: int, bits: int) -> None:
    """Raises PipelineError that names the field."""
    if not 0 <= value < 1 << bits:
        raise PipelineError(f"{name}={value} does not fit in {bits} bits")


@frozen
class Output:
    """Send out of a port: a number, or the register that holds one.

    Raises PipelineError for a port that is not of 32 bits.
    """

    port: int | Field = field(
        converter=_as_port, validator=has_type(int, Field, error=PipelineError)
    )

    def __attrs_post_init__(self) -> None:
        if isinstance(self.port, int):
            refuse_too_wide("output", self.port, 32)


@frozen
class InPort:
    """Send back out of the port that it came in by (OFPP_IN_PORT)."""


@frozen
class SetField:
    """Write a constant into a field or register (whole field).

    Raises PipelineError for a value that the field cannot hold.
    """

    field: Field = attrs.field(validator=_FIELD)
    value: int = attrs.field(converter=as_whole, validator=_WHOLE)

    def __attrs_post_init__(self) -> None:
        refuse_too_wide(self.field.name, self.value, self.field.bits)


@frozen
class Move:
    """Copy one field into another: the lowest bits that both have.

    A tunnel's 64-bit tun_id into a 32-bit register keeps all of a VNI's 24 bits.
    """

    source: Field = field(validator=_FIELD)
    target: Field = field(validator=_FIELD)

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


@frozen
class Nat:
    """Translate a packet as its connection is translated, in either direction.

    source: the address that a new connection gets as its source, and another port where a tracked
    connection would have the same answers; None: a new connection is not translated.
    other_port: it gets any port but those below 1024, and hardly its own.
    """

    source: IPv4Address | None = field(
        default=None, validator=has_type(IPv4Address, None, error=PipelineError)
    )
    other_port: bool = field(default=False, validator=has_type(bool, error=PipelineError))

    def __attrs_post_init__(self) -> None:
        if self.other_port and self.source is None:
            raise PipelineError("nat gives another port to no source")


@frozen
class Ct:
    """Track the connection in `zone`; with `commit`, remember it, marked; then go on in `table`.

    nat: how its packets are translated. ovs-actions(7), "The ct action". Raises PipelineError for
    a zone that is not of 16 bits, for a mark that is not of 32, and for a mark or a translation of
    new connections without commit, which would be lost.
    """

    zone: int = field(converter=as_whole, validator=_WHOLE)
    commit: bool = field(default=False, validator=has_type(bool, error=PipelineError))
    mark: int | None = field(default=None, converter=as_whole_or_none, validator=_WHOLE_OR_NONE)
    table: str | None = field(
        default=None,
        converter=_as_text_or_none,
        validator=has_type(str, None, error=PipelineError),
    )
    nat: Nat | None = field(default=None, validator=has_type(Nat, None, error=PipelineError))

    def __attrs_post_init__(self) -> None:
        refuse_too_wide("ct zone", self.zone, 16)
        if self.nat is not None and self.nat.source is not None and not self.commit:
            raise PipelineError("ct nat translates new connections without commit")
        if self.mark is not None:
            refuse_too_wide("ct mark", self.mark, 32)
            if not self.commit:
                raise PipelineError(f"ct mark={self.mark:#x} is set without commit")


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
class Note:
    """Does nothing; carries bytes for a reader of the flow table."""

    data: bytes = field(converter=_as_bytes, validator=has_type(bytes, error=PipelineError))


Action = Output | InPort | SetField | Move | Goto | Ct | CtClear | Meter | Note
