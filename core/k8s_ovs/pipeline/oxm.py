"""A field and its value in bytes: OXM, and the older NXM.

OpenFlow 1.4 section 7.2.3.2 (the header: class, field number, has-mask bit, length of what
follows); Open vSwitch ``include/openvswitch/meta-flow.h``.
"""

from __future__ import annotations

from k8s_ovs.pipeline.field import FIELDS, Field

__all__ = ["NXM_HEADER", "OXM_HEADER", "assigned", "assigned_masked", "loaded"]


def _oxm(of: Field, *, masked: bool) -> int:
    size = of.size * 2 if masked else of.size
    return of.oxm_class << 16 | of.oxm_number << 9 | masked << 8 | size


def _nxm(of: Field, *, masked: bool) -> int:
    oxm_class, number = of.nxm or (of.oxm_class, of.oxm_number)
    size = of.size * 2 if masked else of.size
    return oxm_class << 16 | number << 9 | masked << 8 | size


def _header(of: Field, *, masked: bool) -> bytes:
    """What is in front of the value; an experimenter's number is counted with that."""
    if of.experimenter is None:
        return _oxm(of, masked=masked).to_bytes(4, "big")
    whose = of.experimenter.to_bytes(4, "big")
    return (_oxm(of, masked=masked) + len(whose)).to_bytes(4, "big") + whose


OXM_HEADER = {of.name: _oxm(of, masked=False) for of in FIELDS.values()}
#: In a move Open vSwitch shows the oldest header of a field, so that is the one to send.
NXM_HEADER = {of.name: _nxm(of, masked=False) for of in FIELDS.values()}
_PLAIN = {of.name: (_header(of, masked=False), of.size) for of in FIELDS.values()}
_MASKED = {of.name: (_header(of, masked=True), of.size) for of in FIELDS.values()}
_LOADED = {of.name: _nxm(of, masked=True).to_bytes(4, "big") for of in FIELDS.values()}


def assigned(of: Field, value: int) -> bytes:
    """The whole field is `value`."""
    header, size = _PLAIN[of.name]
    return header + value.to_bytes(size, "big")


def assigned_masked(of: Field, value: int, mask: int) -> bytes:
    """Bits of the field are those of `value`."""
    header, size = _MASKED[of.name]
    return header + value.to_bytes(size, "big") + mask.to_bytes(size, "big")


def loaded(of: Field, value: int, mask: int) -> bytes:
    """The same by the field's oldest header, as Open vSwitch shows it in a load."""
    return _LOADED[of.name] + value.to_bytes(of.size, "big") + mask.to_bytes(of.size, "big")
