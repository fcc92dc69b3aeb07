"""The OpenFlow client at the end of a wire: what comes in pieces, unasked, garbled or never."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

import pytest

from k8s_ovs.errors import SwitchError, TimedOut, Unavailable
from k8s_ovs.ovs.openflow.client import OpenFlow
from k8s_ovs.ovs.openflow.errors import error_name
from k8s_ovs.ovs.openflow.messages import HEADER, Type
from k8s_ovs.pipeline.action import Meter

ECHO_REQUEST = bytes.fromhex("0502000c00000abc") + b"ping"
ECHO_REPLY = bytes.fromhex("0503000c00000abc") + b"ping"
FIRST_XID = 1
MORE, LAST = 1, 0
PORT_DESCRIPTIONS, FLOWS = 13, 1


@pytest.fixture
def ends() -> Iterator[tuple[OpenFlow, socket.socket]]:
    """A client and the switch's end of its connection."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.settimeout(10)
        yield OpenFlow(ours, "/run/br0.mgmt", timeout=0.2), theirs


def message(kind: Type, body: bytes, xid: int = FIRST_XID) -> bytes:
    return HEADER.pack(5, kind, HEADER.size + len(body), xid) + body


def part(kind: int, flags: int, body: bytes) -> bytes:
    """One part of the answer to the client's first question."""
    return message(Type.MULTIPART_REPLY, struct.pack("!HH4x", kind, flags) + body)


def port(number: int, name: str) -> bytes:
    """A port description with one (unknown) property behind its fixed part."""
    return struct.pack("!IH2x6s2x16s8x", number, 48, b"", name.encode()) + bytes(8)


def test_an_idle_connection_answers_echo_requests(ends: tuple[OpenFlow, socket.socket]) -> None:
    client, peer = ends
    peer.sendall(ECHO_REQUEST)
    client.service()
    assert peer.recv(100) == ECHO_REPLY


def test_a_message_in_pieces_is_put_together(ends: tuple[OpenFlow, socket.socket]) -> None:
    client, peer = ends
    for octet in ECHO_REQUEST:
        peer.sendall(bytes([octet]))
        client.service()
    assert peer.recv(100) == ECHO_REPLY


def test_an_answer_in_parts_is_put_together_whatever_comes_between(
    ends: tuple[OpenFlow, socket.socket],
) -> None:
    client, peer = ends
    port_status = bytes.fromhex("050c001000000000") + bytes(8)
    peer.sendall(part(PORT_DESCRIPTIONS, MORE, port(1, "pod1") + port(2, "pod2")))
    peer.sendall(ECHO_REQUEST + port_status)
    peer.sendall(part(PORT_DESCRIPTIONS, LAST, port(3, "pod3")))
    numbers = {name: port.number for name, port in client.ports().items()}
    assert numbers == {"pod1": 1, "pod2": 2, "pod3": 3}


def test_a_refused_question_raises_the_name_of_the_error(
    ends: tuple[OpenFlow, socket.socket],
) -> None:
    client, peer = ends
    peer.sendall(message(Type.ERROR, struct.pack("!HH", 1, 5)))
    with pytest.raises(SwitchError, match=r"br0.mgmt: OFPBRC_EPERM in reading its flows"):
        client.dump()


def test_what_the_switch_says_of_a_packet_of_ours_is_no_answer_to_a_question(
    ends: tuple[OpenFlow, socket.socket],
) -> None:
    client, peer = ends
    client.send_packet(b"frame", b"actions!")
    packet = peer.recv(100)
    kind, length, xid = struct.unpack_from("!xBHI", packet)
    assert (kind, length) == (Type.PACKET_OUT, len(packet))
    assert packet.endswith(struct.pack("!H6x", 8) + b"actions!frame")
    peer.sendall(message(Type.ERROR, struct.pack("!HH", 2, 4), xid))
    peer.sendall(part(PORT_DESCRIPTIONS, LAST, port(1, "pod1")))
    assert list(client.ports()) == ["pod1"]


@pytest.mark.parametrize(
    ("sent", "complaint"),
    [
        (HEADER.pack(5, Type.ECHO_REQUEST, 3, 0), "message of 3 bytes, at least 8 were expected"),
        (part(FLOWS, LAST, bytes(20)), "flow statistics that end in the middle of a flow"),
    ],
)
def test_garbled_messages_are_errors_not_crashes(
    ends: tuple[OpenFlow, socket.socket], sent: bytes, complaint: str
) -> None:
    client, peer = ends
    peer.sendall(sent)
    with pytest.raises(SwitchError, match=complaint):
        client.dump()


def test_silence_ends_in_a_time_out_though_echo_requests_come(
    ends: tuple[OpenFlow, socket.socket],
) -> None:
    client, peer = ends
    peer.sendall(ECHO_REQUEST)
    with pytest.raises(TimedOut, match=r"bridge at /run/br0.mgmt did not answer within 0.2 s"):
        client.dump()


def test_half_an_answer_is_never_taken_for_the_next_one(
    ends: tuple[OpenFlow, socket.socket],
) -> None:
    client, peer = ends
    peer.sendall(part(PORT_DESCRIPTIONS, MORE, port(1, "pod1")))
    with pytest.raises(TimedOut):
        client.ports()
    with pytest.raises(Unavailable, match=r"connection to the bridge at /run/br0.mgmt is closed"):
        client.ports()


def test_a_switch_that_goes_away_within_its_answer_is_unavailable(
    ends: tuple[OpenFlow, socket.socket],
) -> None:
    client, peer = ends
    peer.sendall(part(PORT_DESCRIPTIONS, MORE, port(1, "pod1")))
    peer.shutdown(socket.SHUT_WR)
    with pytest.raises(Unavailable, match=r"bridge at /run/br0.mgmt closed the connection"):
        client.ports()


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (struct.pack("!HH", 4, 9), "OFPBMC_BAD_PREREQ"),
        (struct.pack("!HH", 17, 13) + b"the message", "OFPBFC_MSG_FAILED"),
        (struct.pack("!HHI", 0xFFFF, 42, 0x2320), "NXBAC_CT_DATAPATH_SUPPORT"),
        (struct.pack("!HHI", 0xFFFF, 99, 0x2320), "error 99 of vendor 0x2320"),
        (struct.pack("!HH", 4, 99), "error type 4 code 99"),
        (struct.pack("!HH", 99, 1), "error type 99 code 1"),
        (b"", "an error without type and code"),
    ],
)
def test_errors_have_open_vswitchs_own_names(body: bytes, name: str) -> None:
    assert error_name(body) == name


def test_a_bridge_that_has_all_of_a_large_change_may_be_silent_for_longer(
    ends: tuple[OpenFlow, socket.socket],
) -> None:
    client, _ = ends
    client.patience = 0.1
    meters = [Meter(number, 1, 1) for number in range(1, 101)]
    with pytest.raises(TimedOut, match=r"did not answer within 0\.4 s"):
        client.put_meters(meters, [])


@pytest.mark.parametrize("body", [b"", bytes(7), struct.pack("!HH4xI", 10, 0, 0xFFFFFFFF)])
def test_answers_that_are_too_short_are_errors(
    ends: tuple[OpenFlow, socket.socket], body: bytes
) -> None:
    client, peer = ends
    peer.sendall(message(Type.MULTIPART_REPLY, body))
    with pytest.raises(SwitchError):
        client.meters()
