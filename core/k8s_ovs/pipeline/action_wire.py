"""An action in bytes: what OpenFlow 1.4 and Open vSwitch make of it.

Sources: OpenFlow 1.4 section 7.2.5 (actions); Open vSwitch ``lib/ofp-actions.c`` for the Nicira
actions; ovs-actions(7).
"""

from __future__ import annotations

from ipaddress import IPv4Address
from struct import Struct

from k8s_ovs.pipeline.action import (
    OTHER_PORTS,
    Conjunction,
    Ct,
    CtClear,
    InPort,
    Move,
    Nat,
    Note,
    Output,
    SetField,
)
from k8s_ovs.pipeline.field import Field, FieldKind
from k8s_ovs.pipeline.oxm import NXM_HEADER, OXM_HEADER, assigned, loaded

__all__ = ["PADDING", "Plain", "action_bytes", "ct_bytes"]

#: Actions that mean the same in every table.
Plain = SetField | Output | InPort | Move | CtClear | Conjunction | Note

_TYPE_LENGTH = Struct("!HH")
_OUTPUT = Struct("!HHIH6x")
# Nicira actions: type 0xffff, length, vendor, subtype, then their own.
_NICIRA_HEAD = Struct("!HHIH")
_REG_MOVE = Struct("!HHIH HHHII")
_OUTPUT_REG = Struct("!HHIH HIH6x")
_CONJUNCTION = Struct("!HHIH BBI")
_CT = Struct("!HHIH HIHB3xH")
_CT_CLEAR = Struct("!HHIH 6x")
_NAT = Struct("!HHIH 2xHH")

_EXPERIMENTER, _NICIRA = 0xFFFF, 0x2320
_NXAST_REG_MOVE, _NXAST_NOTE, _NXAST_OUTPUT_REG, _NXAST_REG_LOAD2 = 6, 8, 15, 33
_NXAST_CONJUNCTION, _NXAST_CT, _NXAST_NAT, _NXAST_CT_CLEAR = 34, 35, 36, 43
_NAT_SOURCE, _NAT_DESTINATION, _NAT_RANDOM = 0x0001, 0x0002, 0x0010
_NAT_IPV4, _NAT_IPV6, _NAT_PORT, _NAT_LAST_PORT = 0x0001, 0x0004, 0x0010, 0x0020
_CT_COMMIT, _CT_FORCE = 0x0001, 0x0002
_IN_PORT = 0xFFFFFFF8
_WHOLE_PACKET = 0xFFFF
_NXM_IN_PORT = (0x0000_0002).to_bytes(4, "big")
PADDING = tuple(bytes(n) for n in range(8))


def action_bytes(action: Plain) -> bytes:
    """The action, filled up to a multiple of 8 bytes."""
    match action:
        case SetField():
            body = _set_field(action)
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
        case Conjunction():
            head = (_EXPERIMENTER, _CONJUNCTION.size, _NICIRA, _NXAST_CONJUNCTION)
            body = _CONJUNCTION.pack(*head, action.clause - 1, action.of, action.number)
        case Note():
            body = _nicira(_NXAST_NOTE, action.data)
    return body


def ct_bytes(ct: Ct, table: int) -> bytes:
    """The ct action. table: the number of the one that it goes on in."""
    nested = b"" if ct.nat is None else _nat(ct.nat)
    nested += b"".join(map(action_bytes, ct.exec))
    head = (_EXPERIMENTER, _CT.size + len(nested), _NICIRA, _NXAST_CT)
    flags = (_CT_COMMIT if ct.commit else 0) | (_CT_FORCE if ct.force else 0)
    return _CT.pack(*head, flags, 0, ct.zone, table, 0) + nested


def _nicira(subtype: int, said: bytes) -> bytes:
    """An action of Nicira's whose own part begins right behind the head."""
    size = _NICIRA_HEAD.size + len(said)
    padding = PADDING[-size % 8]
    head = _NICIRA_HEAD.pack(_EXPERIMENTER, size + len(padding), _NICIRA, subtype)
    return head + said + padding


def _set_field(action: SetField) -> bytes:
    of, value = action.field, action.value
    if action.mask is not None:
        # Set-field has no mask before OpenFlow 1.5.
        return _nicira(_NXAST_REG_LOAD2, loaded(of, value, action.mask))
    if of.kind is FieldKind.PORT:
        # Only its 16-bit form can be set; the low bits of a reserved port are its number there.
        oxm = _NXM_IN_PORT + (value & 0xFFFF).to_bytes(2, "big")
    else:
        oxm = assigned(of, value)
    size = _TYPE_LENGTH.size + len(oxm)
    padding = PADDING[-size % 8]
    return _TYPE_LENGTH.pack(25, size + len(padding)) + oxm + padding


def _output_register(register: Field) -> bytes:
    bits = register.bits - 1  # offset 0, number of bits less one
    head = (_EXPERIMENTER, _OUTPUT_REG.size, _NICIRA, _NXAST_OUTPUT_REG)
    return _OUTPUT_REG.pack(*head, bits, OXM_HEADER[register.name], _WHOLE_PACKET)


def _move(move: Move) -> bytes:
    head = (_EXPERIMENTER, _REG_MOVE.size, _NICIRA, _NXAST_REG_MOVE)
    ends = (NXM_HEADER[move.source.name], NXM_HEADER[move.target.name])
    return _REG_MOVE.pack(*head, move.bits, 0, 0, *ends)


def _nat(nat: Nat) -> bytes:
    """Flags, which of six values follow, and those: addresses of IPv4 and IPv6, ports, each the
    first and the last of a range."""
    flags, present, said = 0, 0, b""
    if nat.address is not None:
        flags = _NAT_DESTINATION if nat.source is None else _NAT_SOURCE
        present = _NAT_IPV4 if isinstance(nat.address, IPv4Address) else _NAT_IPV6
        said = nat.address.packed
    if nat.other_port:
        flags, present = flags | _NAT_RANDOM, present | _NAT_PORT | _NAT_LAST_PORT
        said += b"".join(port.to_bytes(2, "big") for port in OTHER_PORTS)
    if nat.port is not None:
        present, said = present | _NAT_PORT, said + nat.port.to_bytes(2, "big")
    size = _NAT.size + len(said)
    padding = PADDING[-size % 8]
    head = (_EXPERIMENTER, size + len(padding), _NICIRA, _NXAST_NAT)
    return _NAT.pack(*head, flags, present) + said + padding
