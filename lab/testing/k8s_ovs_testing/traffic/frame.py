"""Frames as a test forges them, byte by byte, with no library.

MAC addresses are text (`0a:58:ac:0b:00:02`), IP addresses are text or values of `ipaddress`.
Checksums of UDP are left out, which IPv4 allows (RFC 768).
"""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address

__all__ = [
    "BROADCAST",
    "arp",
    "checksum",
    "ethernet",
    "fragments",
    "ipv4",
    "ipv6",
    "tagged",
    "udp",
    "vxlan",
]

BROADCAST = "ff:ff:ff:ff:ff:ff"

_ETH_IPV4, _ETH_ARP, _ETH_IPV6 = 0x0800, 0x0806, 0x86DD
_UDP = 17
_VNI_IS_SET = 0x08
_WHOLE, _MORE = 0x4000, 0x2000


def ethernet(source: str, target: str, payload: bytes) -> bytes:
    """A frame; what it carries is told by the payload's first byte: IPv4, IPv6 or else ARP."""
    kind = {4: _ETH_IPV4, 6: _ETH_IPV6}.get(payload[0] >> 4, _ETH_ARP)
    return _mac(target) + _mac(source) + struct.pack("!H", kind) + payload


def tagged(frame: bytes, kind: int, tag: bytes) -> bytes:
    """The frame with another type, and a tag of that type before its own: VLAN, MPLS."""
    return frame[:12] + struct.pack("!H", kind) + tag + frame[14:]


def ipv4(
    source: str | IPv4Address,
    target: str | IPv4Address,
    payload: bytes,
    protocol: int = _UDP,
    *,
    options: bytes = b"",
    identity: int = 0,
    fragment: int = _WHOLE,
) -> bytes:
    """A packet (RFC 791). options: a multiple of 4 bytes. fragment: flags and offset, 16 bits."""
    words = 5 + len(options) // 4
    length = 4 * words + len(payload)
    head = struct.pack("!BBHHHBBH", 0x40 | words, 0, length, identity, fragment, 64, protocol, 0)
    head += IPv4Address(source).packed + IPv4Address(target).packed + options
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def fragments(
    source: str | IPv4Address, target: str | IPv4Address, payload: bytes, first: int, identity: int
) -> list[bytes]:
    """A packet in two. first: bytes of the payload in the first one, a multiple of 8."""
    parts = (payload[:first], _MORE), (payload[first:], first // 8)
    return [
        ipv4(source, target, part, identity=identity, fragment=fragment) for part, fragment in parts
    ]


def ipv6(
    source: str | IPv6Address, target: str | IPv6Address, payload: bytes, protocol: int
) -> bytes:
    """A packet with the hop limit that neighbours demand, 255 (RFC 8200, RFC 4861)."""
    head = struct.pack("!IHBB", 0x60000000, len(payload), protocol, 255)
    return head + IPv6Address(source).packed + IPv6Address(target).packed + payload


def udp(source: int, target: int, payload: bytes) -> bytes:
    """A datagram between two ports (RFC 768)."""
    return struct.pack("!HHHH", source, target, 8 + len(payload), 0) + payload


def arp(
    operation: int,
    sender: tuple[str, str | IPv4Address],
    target: tuple[str, str | IPv4Address],
) -> bytes:
    """operation: 1 asks, 2 answers. sender, target: MAC and address (RFC 826)."""
    head = struct.pack("!HHBBH", 1, _ETH_IPV4, 6, 4, operation)
    return head + b"".join(
        _mac(mac) + IPv4Address(address).packed for mac, address in (sender, target)
    )


def vxlan(vni: int, frame: bytes) -> bytes:
    """What a tunnel's datagram holds (RFC 7348 section 5)."""
    return struct.pack("!B3xI", _VNI_IS_SET, vni << 8) + frame


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071) of an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
