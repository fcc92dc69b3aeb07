"""What of a packet, and of what is known of its connection, is one plugin's own?

Registers, marks, labels and connection tracking's zones are the bridge's, and all plugins' flows
see them. Who uses some says so, and nobody else gets them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs
from attrs import frozen

from k8s_ovs.errors import shown
from k8s_ovs.model.checked import as_text, as_whole, as_whole_or_none, has_type
from k8s_ovs.pipeline.action import SetField
from k8s_ovs.pipeline.field import FIELDS, Field
from k8s_ovs.pipeline.match import refuse_too_wide
from k8s_ovs.pipeline.table import PipelineError

__all__ = ["Subfield", "Zone", "clash"]

_TEXT = has_type(str, error=PipelineError)
_WHOLE = has_type(int, error=PipelineError)
_WHOLE_OR_NONE = has_type(int, None, error=PipelineError)
_REGISTERS = tuple(name for name in FIELDS if name.startswith("reg"))
_RESERVABLE = (*_REGISTERS, "pkt_mark", "ct_mark", "ct_label")


def _is_reservable(instance: Subfield, _: Any, field: Any) -> None:
    if type(field) is not str or field not in _RESERVABLE:
        raise PipelineError(
            f"Subfield {instance.name}: found {shown(field)}, "
            "expected reg0 to reg15, pkt_mark, ct_mark or ct_label"
        )


@frozen
class Subfield:
    """Bits of a register, of pkt_mark, or of a connection's ct_mark or ct_label.

    field: its name. first: the lowest of the bits. bits: how many; None: all from there on.
    Raises PipelineError for bits that the field has not.
    """

    name: str = attrs.field(converter=as_text, validator=_TEXT)
    field: str = attrs.field(converter=as_text, validator=_is_reservable)
    first: int = attrs.field(default=0, converter=as_whole, validator=_WHOLE)
    bits: int | None = attrs.field(
        default=None, converter=as_whole_or_none, validator=_WHOLE_OR_NONE
    )

    def __attrs_post_init__(self) -> None:
        width = self.of.bits
        last = self.first + self.size - 1
        if not 0 <= self.first <= last < width:
            raise PipelineError(
                f"Subfield {self.name}: {self.field} has the bits 0 to {width - 1}, "
                f"found {self.first} to {last}"
            )

    @property
    def of(self) -> Field:
        """The field that the bits are of."""
        return FIELDS[self.field]

    @property
    def size(self) -> int:
        """How many bits."""
        return self.of.bits - self.first if self.bits is None else self.bits

    @property
    def mask(self) -> int:
        """The bits, where they are in the field."""
        return (1 << self.size) - 1 << self.first

    def set(self, value: int) -> SetField:
        """The action that writes `value` into the bits, and leaves the others. Those of ct_mark and
        ct_label are set in the exec of a Ct."""
        self._check(value)
        whole = self.mask == self.of.full_mask
        return SetField(self.of, value << self.first, None if whole else self.mask)

    def equals(self, value: int) -> dict[str, str]:
        """For a match, ``ip(**RULE.equals(5))``: the bits are `value`."""
        self._check(value)
        return {self.field: f"{value << self.first:#x}/{self.mask:#x}"}

    def _check(self, value: object) -> None:
        if type(value) is not int:
            raise PipelineError(f"{self.name}: found {shown(value)}, expected a whole number")
        refuse_too_wide(self.name, value, self.size)

    def __str__(self) -> str:
        return f"bits {self.first} to {self.first + self.size - 1} of {self.field}"


@frozen
class Zone:
    """A zone of connection tracking, 0 to 65535: the ``zone`` of a `Ct`.

    The number is the same on each node and each time: connections outlive the daemon.
    """

    name: str = attrs.field(converter=as_text, validator=_TEXT)
    number: int = attrs.field(converter=as_whole, validator=_WHOLE)

    def __attrs_post_init__(self) -> None:
        refuse_too_wide(f"zone {self.name}", self.number, 16)

    def __str__(self) -> str:
        return f"the zone {self.number}"


def clash(wanted: Subfield | Zone, taken: Iterable[Subfield | Zone]) -> Subfield | Zone | None:
    """What of `taken` has the name of `wanted`, or some of what it wants."""
    return next(
        (each for each in taken if each.name == wanted.name or _overlap(each, wanted)), None
    )


def _overlap(one: Subfield | Zone, other: Subfield | Zone) -> bool:
    if isinstance(one, Subfield) and isinstance(other, Subfield):
        return one.field == other.field and bool(one.mask & other.mask)
    if isinstance(one, Zone) and isinstance(other, Zone):
        return one.number == other.number
    return False
