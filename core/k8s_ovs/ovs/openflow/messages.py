"""The OpenFlow 1.4 messages that the client and the switch exchange beside flow-mods.

Writers return whole messages. Readers take one message or the body of one; what they read came
from a switch on the same machine, so a message that breaks the format raises SwitchError.

Sources: OpenFlow 1.4 sections 7.1 (header), 7.3.5 (multipart), 7.3.6 (packet-out), 7.3.9 (bundles),
7.5 (hello, echo).
"""

from __future__ import annotations

import builtins
import struct
from collections.abc import Iterator
from enum import IntEnum
from struct import Struct

from attrs import frozen

from k8s_ovs.errors import SwitchError

__all__ = [
    "HEADER",
    "MULTIPART",
    "VERSION",
    "Bundle",
    "InstalledFlow",
    "Message",
    "Multipart",
    "OpenPort",
    "Type",
    "barrier",
    "bundle_add",
    "bundle_control",
    "echo_reply",
    "flow_request",
    "has_more",
    "hello",
    "installed_flows",
    "multipart_request",
    "packet_out",
    "port_change",
    "port_request",
    "ports",
    "set_fragments",
    "take_messages",
    "versions_offered",
    "with_xid",
]

VERSION = 0x05

HEADER = Struct("!BBHI")
_BUNDLE = Struct("!IHH")
_HELLO_BITMAP = Struct("!HHI")
MULTIPART = Struct("!HH4x")
_FLOW_REQUEST = Struct("!B3xII4xQQHH4x")
# length, table_id, seconds, nanoseconds, priority, idle, hard, flags, importance, cookie, packets,
# bytes, match's type and length
_FLOW_STATS = Struct("!HBx8xH8x2xQQQHH")
_MATCH_OFFSET = 48
# number, length, MAC, name, configuration; a state follows
_PORT = Struct("!IH2x6s2x16sI4x")
# number, MAC, configuration, and which bits of it are to be taken
_PORT_MOD = Struct("!I4x6s2xII")
# buffer, port that the packet came by, length of the actions
_PACKET_OUT = Struct("!IIH6x")
# flags; bytes of a packet for a controller, of which there is none
_CONFIG = Struct("!HH")

_REPLY_MORE = 1
_ATOMIC_ORDERED = 0b11
_ALL_TABLES, _ANY = 0xFF, 0xFFFFFFFF
_NO_BUFFER, _FROM_CONTROLLER = 0xFFFFFFFF, 0xFFFFFFFD
# Open vSwitch's own (ovs-ofctl set-frags), not one of OpenFlow's.
_FRAGMENTS_NX_MATCH = 3


class Type(IntEnum):
    """Message types, section 7.1.1."""

    HELLO = 0
    ERROR = 1
    ECHO_REQUEST = 2
    ECHO_REPLY = 3
    PACKET_OUT = 13
    SET_CONFIG = 9
    PORT_MOD = 16
    MULTIPART_REQUEST = 18
    MULTIPART_REPLY = 19
    BARRIER_REQUEST = 20
    BARRIER_REPLY = 21
    BUNDLE_CONTROL = 33
    BUNDLE_ADD_MESSAGE = 34


class Multipart(IntEnum):
    """What can be asked in parts, section 7.3.5."""

    FLOW = 1
    METER = 9
    METER_CONFIG = 10
    METER_FEATURES = 11
    PORT_DESC = 13


class Bundle(IntEnum):
    """Requests of a bundle-control message, section 7.3.9.2; each one's reply is one more."""

    OPEN = 0
    CLOSE = 2
    COMMIT = 4
    DISCARD = 6


@frozen
class Message:
    """One message of the switch. kind: its type, of Type or not; body: what follows the header."""

    version: int
    kind: int
    xid: int
    body: bytes


@frozen
class InstalledFlow:
    """A flow that the switch has.

    packets, bytes: what it has counted. match: its OXM fields, without padding. instructions:
    as on the wire; empty where it drops.
    """

    table: int
    cookie: int
    priority: int
    packets: int
    bytes: int
    match: builtins.bytes
    instructions: builtins.bytes


def hello() -> bytes:
    """We speak OpenFlow 1.4 and nothing else."""
    return _message(Type.HELLO, 0, _HELLO_BITMAP.pack(1, _HELLO_BITMAP.size, 1 << VERSION))


def set_fragments(xid: int) -> bytes:
    """The first fragment of a packet has ports, section 7.3.2. By default flows find none even
    there."""
    return _message(Type.SET_CONFIG, xid, _CONFIG.pack(_FRAGMENTS_NX_MATCH, 0))


def echo_reply(request: Message) -> bytes:
    """The answer that keeps the connection alive."""
    return _message(Type.ECHO_REPLY, request.xid, request.body)


def barrier(xid: int) -> bytes:
    """Ask for an answer when all before it is done."""
    return _message(Type.BARRIER_REQUEST, xid, b"")


def bundle_control(bundle: int, what: Bundle, xid: int) -> bytes:
    """Open, close, commit or discard the atomic and ordered bundle of that number."""
    return _message(Type.BUNDLE_CONTROL, xid, _BUNDLE.pack(bundle, what, _ATOMIC_ORDERED))


def bundle_add(bundle: int, flow_mod: bytes, xid: int) -> bytes:
    """Put a flow-mod into the bundle; it gets the same transaction id, as section 7.3.9.4 asks."""
    inner = _BUNDLE.pack(bundle, 0, _ATOMIC_ORDERED) + with_xid(flow_mod, xid)
    return _message(Type.BUNDLE_ADD_MESSAGE, xid, inner)


def with_xid(whole: bytes, xid: int) -> bytes:
    """A message with this transaction id."""
    return whole[:4] + xid.to_bytes(4, "big") + whole[8:]


def multipart_request(what: Multipart, xid: int, body: bytes = b"") -> bytes:
    """A question of section 7.3.5, with its body."""
    return _message(Type.MULTIPART_REQUEST, xid, MULTIPART.pack(what, 0) + body)


def flow_request(xid: int) -> bytes:
    """Ask for every flow of every table."""
    # The match that stands for every packet: no fields, padded.
    body = _FLOW_REQUEST.pack(_ALL_TABLES, _ANY, _ANY, 0, 0, 1, 4)
    return multipart_request(Multipart.FLOW, xid, body)


def port_request(xid: int) -> bytes:
    """Ask for every port."""
    return multipart_request(Multipart.PORT_DESC, xid)


def take_messages(buffer: bytearray) -> Iterator[Message]:
    """The whole messages at the front of `buffer`, taken out of it."""
    while len(buffer) >= HEADER.size:
        version, kind, length, xid = HEADER.unpack_from(buffer)
        if length < HEADER.size:
            raise SwitchError(f"an OpenFlow message of {length} bytes, at least 8 were expected")
        if len(buffer) < length:
            return
        body = bytes(buffer[HEADER.size : length])
        del buffer[:length]
        yield Message(version, kind, xid, body)


def has_more(message: Message) -> bool:
    """Whether it is a part of an answer that goes on in a further message."""
    if message.kind != Type.MULTIPART_REPLY:
        return False
    if len(message.body) < MULTIPART.size:
        raise SwitchError(f"a multipart reply of {len(message.body)} bytes, expected 8 at least")
    flags: int = MULTIPART.unpack_from(message.body)[1]
    return bool(flags & _REPLY_MORE)


def versions_offered(greeting: Message) -> frozenset[int]:
    """The versions that a hello offers: its bitmap where it has one, else up to its own."""
    body = greeting.body
    if len(body) >= _HELLO_BITMAP.size:
        kind, _, bitmap = _HELLO_BITMAP.unpack_from(body)
        if kind == 1:
            return frozenset(version for version in range(32) if bitmap >> version & 1)
    return frozenset(range(1, greeting.version + 1))


def installed_flows(reply: Message) -> Iterator[InstalledFlow]:
    """The flows in one part of the answer to `flow_request`."""
    body, offset = reply.body, MULTIPART.size
    try:
        while offset < len(body):
            length, table, priority, cookie, packets, octets, _, matched = _FLOW_STATS.unpack_from(
                body, offset
            )
            start = offset + _MATCH_OFFSET
            end, offset = start + (matched + 7) // 8 * 8, offset + max(length, _MATCH_OFFSET)
            match, instructions = body[start + 4 : start + matched], body[end:offset]
            yield InstalledFlow(table, cookie, priority, packets, octets, match, instructions)
    except struct.error as error:
        raise SwitchError(f"flow statistics that end in the middle of a flow: {error}") from error


@frozen
class OpenPort:
    """A port as OpenFlow has it, section 7.2.1. config: bits that say what it does not do."""

    number: int
    mac: bytes
    config: int


def ports(reply: Message) -> Iterator[tuple[str, OpenPort]]:
    """(name, port) of the ports in one part of the answer to `port_request`."""
    body, offset = reply.body, MULTIPART.size
    try:
        while offset < len(body):
            number, length, mac, name, config = _PORT.unpack_from(body, offset)
            yield name.rstrip(b"\0").decode(errors="replace"), OpenPort(number, mac, config)
            offset += max(length, _PORT.size)
    except struct.error as error:
        raise SwitchError(f"port descriptions that end in the middle of one: {error}") from error


def port_change(port: OpenPort, off: int, xid: int) -> bytes:
    """Switch off these bits of a port's configuration, section 7.3.4.3."""
    return _message(Type.PORT_MOD, xid, _PORT_MOD.pack(port.number, port.mac, 0, off))


def packet_out(frame: bytes, actions: bytes, xid: int) -> bytes:
    """Let the bridge do `actions` with a frame that no port has received."""
    head = _PACKET_OUT.pack(_NO_BUFFER, _FROM_CONTROLLER, len(actions))
    return _message(Type.PACKET_OUT, xid, head + actions + frame)


def _message(kind: Type, xid: int, body: bytes) -> bytes:
    return HEADER.pack(VERSION, kind, HEADER.size + len(body), xid) + body
