"""How do messages go to a bridge, and its answers come back, over its management socket?

The connection is synchronous and for one thread. A bridge's management socket sends no packet-ins
and no port changes unless they are asked for, and they are not; unsolicited messages are ignored.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Sequence
from typing import Self

from k8s_ovs.errors import SwitchError, TimedOut, Unavailable
from k8s_ovs.ovs.openflow import messages
from k8s_ovs.ovs.openflow.errors import error_name
from k8s_ovs.ovs.openflow.messages import Message, Type
from k8s_ovs.ovs.rights import NotPermitted

__all__ = ["NO_QUESTION", "Connection", "errors_in"]

_CHUNK = 256 * 1024
_LAST_XID = 0xFFFF0000
#: Of messages that nobody waits for the fate of: what the bridge says of them is ignored.
NO_QUESTION = 0xFFFF0001
_ANSWERS = (
    Type.HELLO,
    Type.ERROR,
    Type.BUNDLE_CONTROL,
    Type.MULTIPART_REPLY,
    Type.BARRIER_REPLY,
)

#: Seconds that the bridge may work on each message of a change before it answers.
_PER_MESSAGE = 0.001

#: Bytes of one answer, each message counted with what it takes in memory; a million flows fit.
_MOST_ANSWERED = 1 << 28
_PER_ANSWER = 1024


class Connection:
    """A connection to one bridge.

    After Unavailable or TimedOut the connection is closed and stays so: the caller makes a new
    one, and reads what the bridge holds, since a commit that got no answer may have been done.

    patience: seconds more that the bridge may be silent, as it has something else to do.
    """

    def __init__(self, connected: socket.socket, path: str, timeout: float) -> None:
        """`connect` makes one. connected: a non-blocking stream to the bridge at `path`."""
        self._socket = connected
        self._path = path
        self._timeout = timeout
        self._incoming = bytearray()
        self._outgoing = bytearray()
        self._xid = 0
        self.patience = 0.0

    @classmethod
    def connect(cls, path: str, timeout: float = 5.0, patience: float = 0.0) -> Self:
        """Connect to a bridge's management socket, `RUNDIR/BRIDGE.mgmt`.

        timeout: seconds of silence after which the bridge counts as hanging, in every call;
        large changes, and `patience`, make it longer.
        Raises Unavailable where nothing listens, NotPermitted where we may not ask, TimedOut, and
        SwitchError for a bridge that does not speak OpenFlow 1.4.
        """
        stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        stream.setblocking(False)
        client = cls(stream, path, timeout)
        client.patience = patience
        try:
            stream.connect(path)
            client._greet()
        except PermissionError as error:
            client.close()
            raise NotPermitted(path) from error
        except OSError as error:
            client.close()
            raise Unavailable(
                f"OpenFlow socket {path}: {error}; is ovs-vswitchd running and the bridge there?"
            ) from error
        except BaseException:
            client.close()
            raise
        return client

    def fileno(self) -> int:
        """The socket, for a poll loop: when it is readable, call `service`."""
        self._refuse_closed()
        return self._socket.fileno()

    def service(self) -> None:
        """Answer what the bridge asks in idle times; returns at once.

        Raises Unavailable where the bridge has closed the connection.
        """
        self._refuse_closed()
        try:
            self._read()
            self._write()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the connection. Twice does no harm."""
        self._socket.close()

    def _greet(self) -> None:
        self._outgoing += messages.hello()
        # A bridge that finds no common version sends its hello, then an error, and hangs up.
        greeting = self._exchange(lambda received: received.kind in (Type.HELLO, Type.ERROR))[0]
        offered = messages.versions_offered(greeting) if greeting.kind == Type.HELLO else ()
        if messages.VERSION not in offered:
            raise SwitchError(
                f"the bridge at {self._path} does not speak OpenFlow 1.4: "
                "its column protocols must be empty or contain OpenFlow14"
            )

    def _answers(self, request: bytes, xid: int, doing: str) -> list[Message]:
        replies = self._ask(request, xid)
        for error in errors_in(replies):
            raise SwitchError(f"the bridge at {self._path}: {error_name(error.body)} in {doing}")
        return replies

    def _ask(self, request: bytes, last_xid: int, size: int = 0) -> list[Message]:
        """What the bridge answers, up to the end of its answer to the message of `last_xid`.

        size: how many messages it has to work on before it answers.
        """
        self._refuse_closed()
        self._outgoing += request
        return self._exchange(
            lambda received: received.xid == last_xid and not messages.has_more(received),
            size * _PER_MESSAGE,
        )

    def _exchange(self, ends: Callable[[Message], bool], work: float = 0.0) -> list[Message]:
        """Send what is to be sent, reading all the while, until a message that `ends` it.

        work: seconds more that the bridge may be silent once it has all.
        """
        received: list[Message] = []
        news: list[Message] = []
        size, to_send, deadline, silence = 0, len(self._outgoing), 0.0, 0.0
        try:
            while True:
                # To answer what the bridge asks meanwhile brings nothing forward.
                sent = self._write()
                if (sent and to_send > 0) or news or not deadline:
                    silence = self._timeout + self.patience + (0.0 if self._outgoing else work)
                    deadline = time.monotonic() + silence
                to_send -= sent
                self._wait(deadline, silence)
                news = self._read()
                received += news
                if any(ends(each) for each in news):
                    return received
                if not news and time.monotonic() > deadline:
                    raise self._late(silence)
                size += sum(_PER_ANSWER + len(each.body) for each in news)
                self._refuse_endless(size)
        except BaseException:
            # Half an answer is on its way: the next question must not take it for its own.
            self.close()
            raise

    def _refuse_endless(self, size: int) -> None:
        if size > _MOST_ANSWERED:
            most = _MOST_ANSWERED >> 20
            raise SwitchError(f"the bridge at {self._path} sent more than {most} MiB as one answer")

    def _wait(self, deadline: float, silence: float) -> None:
        wanted = select.POLLIN | (select.POLLOUT if self._outgoing else 0)
        poll = select.poll()
        poll.register(self._socket, wanted)
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise self._late(silence)

    def _late(self, silence: float) -> TimedOut:
        return TimedOut(f"the bridge at {self._path} did not answer within {silence:.3g} s")

    def _write(self) -> int:
        """Send as much as goes without waiting; the number of bytes that went."""
        if not self._outgoing:
            return 0
        try:
            with memoryview(self._outgoing) as waiting:
                sent = self._socket.send(waiting[:_CHUNK])
        except BlockingIOError:
            return 0
        except OSError as error:
            raise Unavailable(f"the bridge at {self._path} hung up: {error}") from error
        del self._outgoing[:sent]
        return sent

    def _read(self) -> list[Message]:
        """The answers that have come. Echo requests are answered, other news is dropped."""
        try:
            data = self._socket.recv(_CHUNK)
        except BlockingIOError:
            return []
        except OSError as error:
            raise Unavailable(f"the bridge at {self._path} hung up: {error}") from error
        if not data:
            raise Unavailable(f"the bridge at {self._path} closed the connection")
        self._incoming += data
        answers = []
        for received in messages.take_messages(self._incoming):
            if received.kind == Type.ECHO_REQUEST:
                self._outgoing += messages.echo_reply(received)
            elif received.kind in _ANSWERS and received.xid != NO_QUESTION:
                answers.append(received)
        return answers

    def _new_xids(self, count: int) -> int:
        """The first of `count` transaction ids in a row that no open question has."""
        if self._xid + count > _LAST_XID:
            self._xid = 0
        first = self._xid + 1
        self._xid += count
        return first

    def _refuse_closed(self) -> None:
        if self._socket.fileno() < 0:
            raise Unavailable(f"the connection to the bridge at {self._path} is closed")


def errors_in(received: Sequence[Message]) -> list[Message]:
    """Those of the messages that say what the bridge refused."""
    return [each for each in received if each.kind == Type.ERROR]
