"""What may be matched or written: packet fields and registers, as data.

Each field carries its OXM/NXM header (OpenFlow 1.4 section 7.2.3.7; Open vSwitch
``include/openvswitch/meta-flow.h``) and what a packet must be to have it, so the text form, the
wire form and the checks read the same table.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from attrs import Factory, field, frozen

__all__ = [
    "EXPERIMENTER",
    "FIELDS",
    "FLAGS",
    "REGISTERS",
    "Field",
    "FieldKind",
    "Needs",
    "register",
]


class FieldKind(Enum):
    """How people write a value of the field."""

    NUMBER = "number"
    HEX = "hex"
    MAC = "mac"
    IPV4 = "ipv4"
    IPV6 = "ipv6"
    PORT = "port"
    FLAGS = "flags"
    FRAGMENT = "fragment"
    CONJUNCTION = "conjunction"


#: Bits of the fields of flags, ovs-fields(7).
FLAGS: Mapping[str, Mapping[str, int]] = {
    "ct_state": {
        name: 1 << bit
        for bit, name in enumerate(("new", "est", "rel", "rpl", "inv", "trk", "snat", "dnat"))
    },
    "tcp_flags": {
        name: 1 << bit
        for bit, name in enumerate(("fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr", "ns"))
    },
}

#: The OXM class of fields that others than the ONF's standards have numbered, section 7.2.3.4.
EXPERIMENTER = 0xFFFF

#: Fields that a match must say too, each with the values that do. OpenFlow 1.4 section 7.2.3.6.
Needs = tuple[tuple[str, tuple[int, ...]], ...]


# Fields are hashed with every term of every flow, so the hash is worked out once.
@frozen(cache_hash=True)
class Field:
    """One matchable field: its ovs-ofctl name, its OXM class and number, its width in bits.

    nxm: class and number of its older Nicira header, which Open vSwitch shows in a move; None: it
    has no other header. needs: what else a match on it must say. writable: actions may set it;
    ct_mark and ct_label only within the exec of a Ct. size: bytes on the wire, without a mask.
    experimenter: whose number it is, where the class is EXPERIMENTER.
    """

    name: str
    oxm_class: int = field(repr=False)
    oxm_number: int = field(repr=False)
    bits: int = field(repr=False)
    kind: FieldKind = field(default=FieldKind.NUMBER, repr=False)
    maskable: bool = field(default=False, repr=False)
    nxm: tuple[int, int] | None = field(default=None, repr=False)
    needs: Needs = field(default=(), repr=False)
    writable: bool = field(default=True, repr=False)
    size: int = field(
        default=Factory(lambda self: (self.bits + 7) // 8, takes_self=True), repr=False
    )
    experimenter: int | None = field(default=None, repr=False)

    @property
    def full_mask(self) -> int:
        return (1 << self.bits) - 1


_OPENFLOW = 0x8000
_NICIRA_BASIC, _NICIRA = 0x0000, 0x0001

_IP4: Needs = (("eth_type", (0x0800,)),)
_IP6: Needs = (("eth_type", (0x86DD,)),)
_IP: Needs = (("eth_type", (0x0800, 0x86DD)),)
_ARP: Needs = (("eth_type", (0x0806,)),)
_TCP, _UDP, _SCTP = ((*_IP, ("ip_proto", (number,))) for number in (6, 17, 132))
_ICMP: Needs = (*_IP4, ("ip_proto", (1,)))
_ICMP6: Needs = (*_IP6, ("ip_proto", (58,)))
# Neighbour solicitations and advertisements, RFC 4861.
_ND, _ND_ASKS, _ND_TELLS = (
    (*_ICMP6, ("icmpv6_type", types)) for types in ((135, 136), (135,), (136,))
)

_HEX, _MAC, _V4, _V6 = FieldKind.HEX, FieldKind.MAC, FieldKind.IPV4, FieldKind.IPV6


def _of_openflow(
    name: str,
    number: int,
    bits: int,
    nxm: tuple[int, int] | None = None,
    kind: FieldKind = FieldKind.NUMBER,
    *,
    needs: Needs = (),
    mask: bool = False,
    writable: bool = True,
) -> Field:
    return Field(name, _OPENFLOW, number, bits, kind, mask, nxm, needs, writable)


def _of_nicira(
    name: str,
    number: int,
    bits: int,
    kind: FieldKind = FieldKind.HEX,
    needs: Needs = (),
    *,
    mask: bool = True,
    writable: bool = True,
) -> Field:
    return Field(name, _NICIRA, number, bits, kind, mask, None, needs, writable)


# Open vSwitch shows it under the number that the ONF gave it before OpenFlow 1.5 had it.
_TCP_FLAGS = Field(
    "tcp_flags",
    EXPERIMENTER,
    42,
    12,
    FieldKind.FLAGS,
    maskable=True,
    nxm=(_NICIRA, 34),
    needs=_TCP,
    writable=False,
    experimenter=0x4F4E4600,
)

#: In the order in which Open vSwitch shows them (``lib/nx-match.c``, ``nx_put_raw``): what it shows
#: of a flow is, byte by byte, what was sent.
FIELDS: dict[str, Field] = {
    field.name: field
    for field in (
        _of_nicira("conj_id", 37, 32, FieldKind.CONJUNCTION, mask=False, writable=False),
        _of_openflow("in_port", 0, 32, kind=FieldKind.PORT),
        _of_openflow("eth_src", 4, 48, (_NICIRA_BASIC, 2), _MAC, mask=True),
        _of_openflow("eth_dst", 3, 48, (_NICIRA_BASIC, 1), _MAC, mask=True),
        _of_openflow("eth_type", 5, 16, (_NICIRA_BASIC, 3), _HEX, writable=False),
        _of_openflow("ip_src", 11, 32, (_NICIRA_BASIC, 7), _V4, needs=_IP4, mask=True),
        _of_openflow("ip_dst", 12, 32, (_NICIRA_BASIC, 8), _V4, needs=_IP4, mask=True),
        _of_openflow("ipv6_src", 26, 128, (_NICIRA, 19), _V6, needs=_IP6, mask=True),
        _of_openflow("ipv6_dst", 27, 128, (_NICIRA, 20), _V6, needs=_IP6, mask=True),
        _of_nicira("ip_frag", 26, 2, FieldKind.FRAGMENT, _IP, writable=False),
        _of_openflow("ip_dscp", 8, 6, needs=_IP),
        _of_openflow("ip_ecn", 9, 2, (_NICIRA, 28), needs=_IP),
        Field("ipv6_label", _OPENFLOW, 28, 20, _HEX, True, (_NICIRA, 27), _IP6, size=4),
        _of_openflow("ip_proto", 10, 8, (_NICIRA_BASIC, 6), needs=_IP, writable=False),
        _of_openflow("tcp_src", 13, 16, (_NICIRA_BASIC, 9), needs=_TCP, mask=True),
        _of_openflow("tcp_dst", 14, 16, (_NICIRA_BASIC, 10), needs=_TCP, mask=True),
        _TCP_FLAGS,
        _of_openflow("udp_src", 15, 16, (_NICIRA_BASIC, 11), needs=_UDP, mask=True),
        _of_openflow("udp_dst", 16, 16, (_NICIRA_BASIC, 12), needs=_UDP, mask=True),
        _of_openflow("sctp_src", 17, 16, needs=_SCTP, mask=True),
        _of_openflow("sctp_dst", 18, 16, needs=_SCTP, mask=True),
        _of_openflow("icmp_type", 19, 8, (_NICIRA_BASIC, 13), needs=_ICMP),
        _of_openflow("icmp_code", 20, 8, (_NICIRA_BASIC, 14), needs=_ICMP),
        _of_openflow("icmpv6_type", 29, 8, (_NICIRA, 21), needs=_ICMP6),
        _of_openflow("icmpv6_code", 30, 8, (_NICIRA, 22), needs=_ICMP6),
        _of_openflow("nd_target", 31, 128, (_NICIRA, 23), _V6, needs=_ND, mask=True),
        _of_openflow("nd_sll", 32, 48, (_NICIRA, 24), _MAC, needs=_ND_ASKS, mask=True),
        _of_openflow("nd_tll", 33, 48, (_NICIRA, 25), _MAC, needs=_ND_TELLS, mask=True),
        _of_openflow("arp_op", 21, 16, (_NICIRA_BASIC, 15), needs=_ARP),
        _of_openflow("arp_spa", 22, 32, (_NICIRA_BASIC, 16), _V4, needs=_ARP, mask=True),
        _of_openflow("arp_tpa", 23, 32, (_NICIRA_BASIC, 17), _V4, needs=_ARP, mask=True),
        _of_openflow("arp_sha", 24, 48, (_NICIRA, 17), _MAC, needs=_ARP, mask=True),
        _of_openflow("arp_tha", 25, 48, (_NICIRA, 18), _MAC, needs=_ARP, mask=True),
        _of_openflow("tun_id", 38, 64, (_NICIRA, 16), _HEX, mask=True),
        _of_nicira("tun_src", 31, 32, _V4),
        _of_nicira("tun_dst", 32, 32, _V4),
        *(_of_nicira(f"reg{number}", number, 32) for number in range(16)),
        _of_nicira("pkt_mark", 33, 32),
        _of_nicira("ct_state", 105, 32, FieldKind.FLAGS, writable=False),
        _of_nicira("ct_zone", 106, 16, mask=False, writable=False),
        _of_nicira("ct_mark", 107, 32),
        _of_nicira("ct_label", 108, 128),
    )
}

#: What the core's registers mean.
REGISTERS: dict[str, Field] = {
    "SRC_TENANT": FIELDS["reg0"],
    "DST_TENANT": FIELDS["reg1"],
    "OUT_PORT": FIELDS["reg2"],
    "SCRATCH": FIELDS["reg3"],
    "UNTRACKED": FIELDS["reg4"],
}


def register(name: str) -> Field:
    """The core's register that carries `name`; for one of your own see `Subfield`.

    Raises KeyError with the names that exist.
    """
    try:
        return REGISTERS[name]
    except KeyError:
        raise KeyError(
            f"the core has no register named {name}: it has {', '.join(REGISTERS)}; "
            "one of your own is a Subfield"
        ) from None
