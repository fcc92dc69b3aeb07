"""What may be matched or written: packet fields and registers, as data.

Each field carries its OXM/NXM header (OpenFlow 1.4 section 7.2.3.7; Open vSwitch
``include/openvswitch/meta-flow.h``), so the text form and the wire form read the same table.
"""

from __future__ import annotations

from enum import Enum

from attrs import frozen

__all__ = ["FIELDS", "REGISTERS", "Field", "FieldKind", "register"]


class FieldKind(Enum):
    """How people write a value of the field."""

    NUMBER = "number"
    HEX = "hex"
    MAC = "mac"
    IPV4 = "ipv4"
    PORT = "port"
    CT_STATE = "ct_state"


# Fields are hashed with every term of every flow, so the hash is worked out once.
@frozen(cache_hash=True)
class Field:
    """One matchable field: its ovs-ofctl name, its OXM class and number, its width in bits.

    nxm: class and number of its older Nicira header, which Open vSwitch shows in a move; None: it
    has no other header.
    """

    name: str
    oxm_class: int
    oxm_number: int
    bits: int
    kind: FieldKind = FieldKind.NUMBER
    maskable: bool = False
    nxm: tuple[int, int] | None = None

    @property
    def size(self) -> int:
        """Bytes on the wire, without a mask."""
        return (self.bits + 7) // 8

    @property
    def full_mask(self) -> int:
        return (1 << self.bits) - 1


_OPENFLOW = 0x8000
_NICIRA_BASIC, _NICIRA = 0x0000, 0x0001

#: In the order in which Open vSwitch shows them (``lib/nx-match.c``, ``nx_put_raw``): what it shows
#: of a flow is, byte by byte, what was sent.
FIELDS: dict[str, Field] = {
    field.name: field
    for field in (
        Field("in_port", _OPENFLOW, 0, 32, FieldKind.PORT),
        Field("eth_src", _OPENFLOW, 4, 48, FieldKind.MAC, maskable=True, nxm=(_NICIRA_BASIC, 2)),
        Field("eth_dst", _OPENFLOW, 3, 48, FieldKind.MAC, maskable=True, nxm=(_NICIRA_BASIC, 1)),
        Field("eth_type", _OPENFLOW, 5, 16, FieldKind.HEX, nxm=(_NICIRA_BASIC, 3)),
        Field("ip_src", _OPENFLOW, 11, 32, FieldKind.IPV4, maskable=True, nxm=(_NICIRA_BASIC, 7)),
        Field("ip_dst", _OPENFLOW, 12, 32, FieldKind.IPV4, maskable=True, nxm=(_NICIRA_BASIC, 8)),
        Field("ip_proto", _OPENFLOW, 10, 8, nxm=(_NICIRA_BASIC, 6)),
        Field("tcp_src", _OPENFLOW, 13, 16, maskable=True, nxm=(_NICIRA_BASIC, 9)),
        Field("tcp_dst", _OPENFLOW, 14, 16, maskable=True, nxm=(_NICIRA_BASIC, 10)),
        Field("udp_src", _OPENFLOW, 15, 16, maskable=True, nxm=(_NICIRA_BASIC, 11)),
        Field("udp_dst", _OPENFLOW, 16, 16, maskable=True, nxm=(_NICIRA_BASIC, 12)),
        Field("icmp_type", _OPENFLOW, 19, 8, nxm=(_NICIRA_BASIC, 13)),
        Field("icmp_code", _OPENFLOW, 20, 8, nxm=(_NICIRA_BASIC, 14)),
        Field("arp_op", _OPENFLOW, 21, 16, nxm=(_NICIRA_BASIC, 15)),
        Field("arp_spa", _OPENFLOW, 22, 32, FieldKind.IPV4, maskable=True, nxm=(_NICIRA_BASIC, 16)),
        Field("arp_tpa", _OPENFLOW, 23, 32, FieldKind.IPV4, maskable=True, nxm=(_NICIRA_BASIC, 17)),
        Field("arp_sha", _OPENFLOW, 24, 48, FieldKind.MAC, maskable=True, nxm=(_NICIRA, 17)),
        Field("arp_tha", _OPENFLOW, 25, 48, FieldKind.MAC, maskable=True, nxm=(_NICIRA, 18)),
        Field("tun_id", _OPENFLOW, 38, 64, FieldKind.HEX, maskable=True, nxm=(_NICIRA, 16)),
        Field("tun_src", _NICIRA, 31, 32, FieldKind.IPV4, maskable=True),
        Field("tun_dst", _NICIRA, 32, 32, FieldKind.IPV4, maskable=True),
        *(Field(f"reg{n}", _NICIRA, n, 32, FieldKind.HEX, maskable=True) for n in range(16)),
        Field("ct_state", _NICIRA, 105, 32, FieldKind.CT_STATE, maskable=True),
        Field("ct_zone", _NICIRA, 106, 16, FieldKind.HEX),
        Field("ct_mark", _NICIRA, 107, 32, FieldKind.HEX, maskable=True),
    )
}

#: What the registers mean. A plugin that needs one of its own names it with `register`.
REGISTERS: dict[str, Field] = {
    "SRC_TENANT": FIELDS["reg0"],
    "DST_TENANT": FIELDS["reg1"],
    "OUT_PORT": FIELDS["reg2"],
    "SCRATCH": FIELDS["reg3"],
    "UNTRACKED": FIELDS["reg4"],
}


def register(name: str) -> Field:
    """The register that carries `name`.

    Raises KeyError with the names that exist.
    """
    try:
        return REGISTERS[name]
    except KeyError:
        raise KeyError(f"no register named {name}: known are {', '.join(REGISTERS)}") from None
