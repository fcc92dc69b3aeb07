"""Route netlink messages as bytes, and a batch of them in one system call.

For the few messages that every pod needs. rtnetlink(7), netlink(7), linux/rtnetlink.h.
The kernel works through a batch before `sendmsg` returns, so nothing here can wait.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections.abc import Iterator, Sequence

from attrs import frozen

from k8s_ovs.errors import K8sOvsError

__all__ = [
    "NLM_F_CREATE_EXCL",
    "LinkError",
    "Step",
    "ask",
    "attribute",
    "attributes",
    "dump",
    "messages",
    "open_route_socket",
    "perform",
]

_NLM_F_REQUEST = 0x1
_NLM_F_ACK = 0x4
_NLM_F_ECHO = 0x8
NLM_F_CREATE_EXCL = 0x600
_NLM_F_ACK_TLVS = 0x200
_NLM_F_CAPPED = 0x100
_NLM_F_DUMP = 0x300
_NLM_F_DUMP_INTR = 0x10
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_SOL_NETLINK = 270
_NETLINK_EXT_ACK = 11
_NLMSGERR_ATTR_MSG = 1
_HEADER = struct.Struct("=IHHII")
_SHORTEST_ERROR = _HEADER.size + 4
_ATTRIBUTE = struct.Struct("=HH")
_BUFFER = 1 << 16
#: A list that changed while it was read is read again, so many times at most.
_TRIES = 5
_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")


class LinkError(K8sOvsError):
    """The kernel refused a device, address or route. Names the step, the device, its reason.

    errno: the kernel's number, 0 when there is none.
    """

    def __init__(self, message: str, errno: int = 0) -> None:
        super().__init__(message)
        self.errno = errno


@frozen
class Step:
    """One message of a batch; `what` finishes the sentence "cannot ..."."""

    what: str
    type: int
    flags: int
    body: bytes


def attribute(kind: int, payload: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    size = len(payload)
    return _ATTRIBUTE.pack(size + 4, kind) + payload + _PADDING[size & 3]


def open_route_socket() -> socket.socket:
    """A route netlink socket in the calling thread's network namespace; it stays in that one.

    Raises LinkError.
    """
    try:
        channel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        channel.setsockopt(_SOL_NETLINK, _NETLINK_EXT_ACK, 1)
    except OSError as error:
        raise LinkError(f"cannot speak netlink: {error.strerror}", error.errno or 0) from error
    return channel


def perform(channel: socket.socket, steps: Sequence[Step]) -> None:
    """Do the steps in one batch. Raises LinkError for the first that fails; later ones were tried.

    Only the last asks for an acknowledgement: errors are told without being asked for.
    """
    last = len(steps)
    batch = b"".join(
        _HEADER.pack(
            16 + len(step.body),
            step.type,
            step.flags | _NLM_F_REQUEST | (_NLM_F_ACK if number == last else 0),
            number,
            0,
        )
        + step.body
        for number, step in enumerate(steps, 1)
    )
    failed: LinkError | None = None
    try:
        channel.send(batch)
        while True:
            number, error, reason = _answer(_received(channel))
            if error and failed is None and 0 < number <= last:
                failed = LinkError(f"cannot {steps[number - 1].what}: {reason}", error)
            if number == last:
                break
    except OSError as error:
        raise LinkError(f"cannot {steps[0].what}: netlink: {error.strerror}") from error
    if failed:
        raise failed


def ask(channel: socket.socket, question: Step) -> bytes:
    """The body of the one message that answers a question; empty: there is no information.

    Raises LinkError.
    """
    # Some questions are answered to all listeners, and to the asker only if it wants an echo.
    flags = question.flags | _NLM_F_REQUEST | _NLM_F_ACK | _NLM_F_ECHO
    body = b""
    try:
        channel.send(
            _HEADER.pack(16 + len(question.body), question.type, flags, 1, 0) + question.body
        )
        message = _received(channel)
        if _HEADER.unpack_from(message)[1] != _NLMSG_ERROR:
            body = message[_HEADER.size : _HEADER.unpack_from(message)[0]]
            message = _received(channel)
    except OSError as error:
        raise LinkError(f"cannot {question.what}: netlink: {error.strerror}") from error
    _, errno, reason = _answer(message)
    if errno:
        raise LinkError(f"cannot {question.what}: {reason}", errno)
    return body


def dump(channel: socket.socket, question: Step) -> list[bytes]:
    """The bodies of all messages that answer a question. Raises LinkError, also where what is
    listed changes all the time: something would be missing."""
    for _ in range(_TRIES):
        found, whole = _dumped(channel, question)
        if whole:
            return found
    raise LinkError(f"cannot {question.what}: it changed {_TRIES} times while it was read")


def _dumped(channel: socket.socket, question: Step) -> tuple[list[bytes], bool]:
    """The bodies, and whether nothing changed meanwhile."""
    flags = question.flags | _NLM_F_REQUEST | _NLM_F_DUMP
    found: list[bytes] = []
    whole = True
    try:
        channel.send(
            _HEADER.pack(16 + len(question.body), question.type, flags, 1, 0) + question.body
        )
        while True:
            part = _received(channel)
            for kind, marks, body in messages(part):
                whole = whole and not marks & _NLM_F_DUMP_INTR
                if kind == _NLMSG_DONE:
                    return found, whole
                if kind == _NLMSG_ERROR:
                    _, errno, reason = _answer(part)
                    raise LinkError(f"cannot {question.what}: {reason}", errno)
                found.append(body)
    except OSError as error:
        raise LinkError(f"cannot {question.what}: netlink: {error.strerror}") from error


def messages(part: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(type, flags, body) of each message of a datagram."""
    offset = 0
    while offset + _HEADER.size <= len(part):
        length, kind, flags, *_ = _HEADER.unpack_from(part, offset)
        yield kind, flags, part[offset + _HEADER.size : offset + length]
        offset += max(length + 3 & ~3, _HEADER.size)


def attributes(data: bytes) -> dict[int, bytes]:
    """The attributes of a message (what follows its fixed part), by number."""
    found = {}
    place = 0
    while place + 4 <= len(data):
        size, kind = _ATTRIBUTE.unpack_from(data, place)
        if size < 4:
            break
        found[kind] = data[place + 4 : place + size]
        place += size + 3 & ~3
    return found


def _received(channel: socket.socket) -> bytes:
    """The next datagram. Raises OSError, also where there is none, and LinkError."""
    part = channel.recv(_BUFFER, socket.MSG_DONTWAIT)
    if len(part) < _HEADER.size:
        raise LinkError(
            f"netlink: an answer of {len(part)} bytes, expected {_HEADER.size} at least"
        )
    return part


def _answer(message: bytes) -> tuple[int, int, str]:
    """An acknowledgement as (sequence number, errno, reason); errno 0: done."""
    _, kind, flags, number, _ = _HEADER.unpack_from(message)
    if kind != _NLMSG_ERROR or len(message) < _SHORTEST_ERROR:
        raise LinkError(f"netlink: unexpected message of type {kind}")
    error = -struct.unpack_from("=i", message, 16)[0]
    reason = os.strerror(error)
    if error and flags & _NLM_F_ACK_TLVS:
        reason = _extended(message, flags) or reason
    return number, error, reason


def _extended(message: bytes, flags: int) -> str:
    """The kernel's own words about an error (netlink(7), NETLINK_EXT_ACK)."""
    echoed = 16 if flags & _NLM_F_CAPPED else int.from_bytes(message[20:24], sys.byteorder)
    told = attributes(message[20 + (echoed + 3 & ~3) :])
    return told.get(_NLMSGERR_ATTR_MSG, b"").rstrip(b"\0").decode(errors="replace")
