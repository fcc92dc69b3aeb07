"""Which packets? Terms on fields, as people write them."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from functools import lru_cache
from hashlib import blake2b
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import attrs
from attrs import field, frozen

from k8s_ovs.errors import shown
from k8s_ovs.model.checked import as_tuple, as_whole, as_whole_or_none, has_type, tuple_of
from k8s_ovs.pipeline.field import FIELDS, FLAGS, Field, FieldKind
from k8s_ovs.pipeline.table import PipelineError

__all__ = [
    "FRAGMENTS",
    "Match",
    "Term",
    "Value",
    "any_packet",
    "arp",
    "conjunction_id",
    "icmp",
    "icmp6",
    "ip",
    "ipv6",
    "refuse_too_wide",
    "sctp",
    "sctp6",
    "tcp",
    "tcp6",
    "udp",
    "udp6",
]

#: What people may write for a field: numbers, addresses, "02:..." MACs, flags as "+trk-rpl", a
#: conjunction by its name. Where the field takes a mask, "VALUE/MASK" too: "0x1/0xff",
#: "01:00:.../01:00:...", "10.0.0.0/8".
Value = int | str | IPv4Address | IPv4Network | IPv6Address | IPv6Network

#: Words for ip_frag with value and mask, ovs-fields(7): bit 0 a fragment, bit 1 not the first.
FRAGMENTS = {"no": (0, 3), "yes": (1, 1), "first": (1, 3), "later": (3, 3), "not_later": (0, 2)}

_WHOLE = has_type(int, error=PipelineError)
_WHOLE_OR_NONE = has_type(int, None, error=PipelineError)
_FIELD = has_type(Field, error=PipelineError)


def refuse_too_wide(name: str, value: int, bits: int) -> None:
    """Raises PipelineError that names the field."""
    if not 0 <= value < 1 << bits:
        raise PipelineError(f"{name}={value} does not fit in {bits} bits")


@frozen
class Term:
    """One field with a value; `mask` None means every bit."""

    field: Field = attrs.field(validator=_FIELD)
    value: int = attrs.field(converter=as_whole, validator=_WHOLE)
    mask: int | None = attrs.field(
        default=None, converter=as_whole_or_none, validator=_WHOLE_OR_NONE
    )


def _as_terms(terms: Iterable[Term]) -> tuple[Term, ...]:
    return as_tuple(terms)


@frozen
class Match:
    """Which packets: every term must hold. Terms are in OXM prerequisite order."""

    terms: tuple[Term, ...] = field(
        default=(), converter=_as_terms, validator=tuple_of(Term, error=PipelineError)
    )


def any_packet(**fields: Value) -> Match:
    """A match on the given fields.

    Raises PipelineError for an unknown field, for a value or mask that it cannot have, and where
    the match does not say what a packet must be to have the field.
    """
    if unknown := fields.keys() - FIELDS.keys():
        near = [name for each in sorted(unknown) for name in get_close_matches(each, FIELDS)]
        expected = " or ".join(near) or f"one of {', '.join(FIELDS)}"
        raise PipelineError(f"no field is named {', '.join(sorted(unknown))}, expected {expected}")
    terms = [
        _known_term(name, value) if type(value) in _PLAIN else _term(FIELDS[name], value)
        for name, value in fields.items()
    ]
    for term in terms:
        for needed, values in term.field.needs:
            if fields.get(needed) not in values:
                _refuse_without(term.field, needed, values, terms)
    # A term without a bit says nothing, and Open vSwitch does not show it again.
    saying = (term for term in terms if term.mask != 0)
    return Match(tuple(sorted(saying, key=lambda term: _ORDER[term.field.name])))


def ip(**fields: Value) -> Match:
    """IPv4 packets."""
    return any_packet(eth_type=0x0800, **fields)


def arp(**fields: Value) -> Match:
    """ARP packets."""
    return any_packet(eth_type=0x0806, **fields)


def ipv6(**fields: Value) -> Match:
    """IPv6 packets, neighbour discovery included."""
    return any_packet(eth_type=0x86DD, **fields)


def icmp(**fields: Value) -> Match:
    """ICMP over IPv4."""
    return ip(ip_proto=1, **fields)


def tcp(**fields: Value) -> Match:
    """TCP over IPv4."""
    return ip(ip_proto=6, **fields)


def udp(**fields: Value) -> Match:
    """UDP over IPv4."""
    return ip(ip_proto=17, **fields)


def sctp(**fields: Value) -> Match:
    """SCTP over IPv4."""
    return ip(ip_proto=132, **fields)


def icmp6(**fields: Value) -> Match:
    """ICMPv6, neighbour discovery included."""
    return ipv6(ip_proto=58, **fields)


def tcp6(**fields: Value) -> Match:
    """TCP over IPv6."""
    return ipv6(ip_proto=6, **fields)


def udp6(**fields: Value) -> Match:
    """UDP over IPv6."""
    return ipv6(ip_proto=17, **fields)


def sctp6(**fields: Value) -> Match:
    """SCTP over IPv6."""
    return ipv6(ip_proto=132, **fields)


@lru_cache(maxsize=4096)
def conjunction_id(name: str) -> int:
    """The number of the conjunction `name`, 1 to 2**32 - 1: the same after each restart.

    Open vSwitch takes what no conjunction has matched for 0.
    """
    digest = blake2b(name.encode(errors="surrogatepass"), digest_size=4).digest()
    return int.from_bytes(digest, "big") % 0xFFFFFFFF + 1


# Prerequisites (eth_type, ip_proto) must precede what needs them (OpenFlow 1.4 section 7.2.3.6).
_ORDER = {name: place for place, name in enumerate(FIELDS)}


#: Types of values that can be remembered: one of a plugin's own may hash and compare as it likes.
_PLAIN = frozenset({int, str, IPv4Address, IPv4Network, IPv6Address, IPv6Network})

_NETWORKS = {FieldKind.IPV4: IPv4Network, FieldKind.IPV6: IPv6Network}
_ADDRESSES = {FieldKind.IPV4: IPv4Address, FieldKind.IPV6: IPv6Address}


@lru_cache(maxsize=4096)
def _known_term(name: str, value: Value) -> Term:
    """As `_term`. Most terms are in many flows."""
    return _term(FIELDS[name], value)


def _term(of: Field, value: Value) -> Term:
    try:
        number, mask = _number(of, value)
    except ValueError as error:
        raise PipelineError(
            f"{of.name}={shown(value)} is not a value of this field: {error}"
        ) from error
    refuse_too_wide(of.name, number, of.bits)
    if mask is None or mask == of.full_mask:
        return Term(of, number)
    if not of.maskable:
        raise PipelineError(f"{of.name}={value}: this field takes no mask")
    refuse_too_wide(f"{of.name} mask", mask, of.bits)
    if number & ~mask:
        raise PipelineError(f"{of.name}={value}: bits are set that the mask leaves out")
    return Term(of, number, mask)


def _number(of: Field, value: Value) -> tuple[int, int | None]:
    """A person's value as (number, mask). Raises ValueError."""
    if type(value) is bool or not isinstance(value, Value):
        raise ValueError("expected a whole number, a text, or an address or network of ipaddress")
    if of.kind is FieldKind.CONJUNCTION and not isinstance(value, str):
        raise ValueError("expected the name of a conjunction")
    if isinstance(value, int):
        return value, None
    if of.kind in _NETWORKS:
        return _of_addresses(of.kind, value)
    if isinstance(value, str):
        return _of_text(of, value)
    if isinstance(value, IPv4Network | IPv6Network):
        raise ValueError("a network is not a number")
    return int(value), None


def _of_text(of: Field, text: str) -> tuple[int, int | None]:
    if of.kind is FieldKind.CONJUNCTION:
        return conjunction_id(text), None
    if of.kind is FieldKind.FLAGS:
        return _flags(text, of.name)
    if of.kind is FieldKind.FRAGMENT:
        if text not in FRAGMENTS:
            raise ValueError(f"expected one of {', '.join(FRAGMENTS)}")
        return FRAGMENTS[text]
    number, _, mask = text.partition("/")
    return _plain_number(number), _plain_number(mask) if mask else None


def _of_addresses(
    kind: FieldKind, value: str | IPv4Address | IPv4Network | IPv6Address | IPv6Network
) -> tuple[int, int | None]:
    if type(value) is _ADDRESSES[kind]:
        return int(value), None
    network: object = value
    if isinstance(value, str):
        network = _NETWORKS[kind](value)
    if not (isinstance(network, IPv4Network | IPv6Network) and type(network) is _NETWORKS[kind]):
        version = "IPv4" if kind is FieldKind.IPV4 else "IPv6"
        raise ValueError(f"expected an address or network of {version}")
    return int(network.network_address), int(network.netmask)


def _plain_number(text: str) -> int:
    return int(text.replace(":", ""), 16) if ":" in text else int(text, 0)


def _flags(text: str, field: str) -> tuple[int, int]:
    """ "+trk-rpl" as (value, mask)."""
    number, mask, bits = 0, 0, FLAGS[field]
    for part in text.replace("+", " +").replace("-", " -").split():
        if part[0] not in "+-" or part[1:] not in bits:
            raise ValueError(f"{part} is not + or - and one of {', '.join(bits)}")
        bit = bits[part[1:]]
        mask |= bit
        number |= bit if part[0] == "+" else 0
    return number, mask


def _refuse_without(of: Field, needed: str, values: tuple[int, ...], terms: Iterable[Term]) -> None:
    """Raises PipelineError unless one of the terms says that `needed` has one of the values."""
    said = {term.field.name: term.value for term in terms if term.mask is None}
    if said.get(needed) in values:
        return
    number = hex if FIELDS[needed].kind is FieldKind.HEX else str
    expected = " or ".join(number(each) for each in values)
    found = f"found {number(said[needed])}" if needed in said else "found none"
    raise PipelineError(f"{of.name} needs {needed}={expected} in the same match: {found}")
