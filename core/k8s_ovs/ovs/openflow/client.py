"""A bridge's flows: changed all or nothing, and read, over its management socket.

The client is synchronous and for one thread. A bridge's management socket sends no packet-ins
and no port changes unless they are asked for, and they are not; unsolicited messages are ignored.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Iterable, Sequence

from k8s_ovs.errors import SwitchError, TimedOut, Unavailable
from k8s_ovs.ovs.openflow import messages, meters
from k8s_ovs.ovs.openflow.errors import error_name
from k8s_ovs.ovs.openflow.messages import Bundle, InstalledFlow, Message, OpenPort, Type
from k8s_ovs.ovs.openflow.meters import Metered
from k8s_ovs.ovs.rights import NotPermitted
from k8s_ovs.pipeline.action import Meter
from k8s_ovs.pipeline.text import flow_text
from k8s_ovs.pipeline.wire import WireFlow, delete_by_cookie, delete_meter, put_meter

__all__ = ["FlowRefused", "InstalledFlow", "OpenFlow"]

_CHUNK = 256 * 1024
_LAST_XID = 0xFFFF0000
#: Of messages that nobody waits for the fate of: what the bridge says of them is ignored.
_NO_QUESTION = 0xFFFF0001
_ANSWERS = (
    Type.HELLO,
    Type.ERROR,
    Type.BUNDLE_CONTROL,
    Type.MULTIPART_REPLY,
    Type.BARRIER_REPLY,
)
_TOLD_AT_MOST = 5

#: Seconds that the bridge may work on each message of a change before it answers.
_PER_MESSAGE = 0.001

#: Bytes of one answer, each message counted with what it takes in memory; a million flows fit.
_MOST_ANSWERED = 1 << 28
_PER_ANSWER = 1024


class FlowRefused(SwitchError):
    """Open vSwitch refused flows of a commit, and did nothing of it.

    cookies: of the flows it refused. Without them the others may pass.
    """

    def __init__(self, text: str, cookies: tuple[int, ...]) -> None:
        super().__init__(text)
        self.cookies = cookies


class OpenFlow:
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
        self._bundle = 0
        self._in_bundle = 0
        self.patience = 0.0

    @classmethod
    def connect(cls, path: str, timeout: float = 5.0, patience: float = 0.0) -> OpenFlow:
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

    def commit(self, adds: Sequence[WireFlow], deletes: Sequence[int] = ()) -> None:
        """Add flows and delete those of the given cookies, in one atomic bundle.

        Packets meet either all of the changes or none. Deletes come first, so all of `adds` exists
        afterwards; a flow replaces one of the same table, priority and match, whether or
        not that one's cookie is in `deletes`.
        Raises FlowRefused (or another SwitchError), after which the bridge is as it was.
        """
        if not adds and not deletes:
            return
        flow_mods = [delete_by_cookie(each) for each in deletes] + [flow.body for flow in adds]
        self._bundle += 1
        xid = self._new_xids(len(flow_mods) + 2)
        self._in_bundle = len(flow_mods)
        errors = self._fill_bundle(flow_mods, xid)
        if errors:
            self._control(Bundle.DISCARD)
        else:
            errors = self._control(Bundle.COMMIT)
        if errors:
            raise self._refusal(errors, adds, xid + 1 + len(deletes))

    def dump(self) -> list[InstalledFlow]:
        """Every flow of every table, in no particular order."""
        xid = self._new_xids(1)
        replies = self._answers(messages.flow_request(xid), xid, "reading its flows")
        return [flow for reply in replies for flow in messages.installed_flows(reply)]

    def meters(self) -> dict[int, Meter]:
        """The bridge's meters, by number."""
        xid = self._new_xids(1)
        request = meters.configuration_request(xid)
        return meters.configured_meters(self._answers(request, xid, "reading its meters"))

    def meter_counts(self) -> dict[int, Metered]:
        """What each meter has counted, by its number."""
        xid = self._new_xids(1)
        return meters.meter_counts(
            self._answers(meters.counts_request(xid), xid, "reading its meters")
        )

    def most_meters(self) -> int:
        """How many meters the bridge's datapath can have; 0: it has none."""
        xid = self._new_xids(1)
        return meters.most_meters(
            self._answers(meters.features_request(xid), xid, "asking for its meters")
        )

    def put_meters(self, add: Sequence[Meter], change: Sequence[Meter]) -> dict[int, str]:
        """Meters that are new, and those that get another rate. Bundles cannot contain them: put
        them before the flows that name them. Returns those that the bridge refuses, by number, with
        the reason."""
        return self._mod_meters(
            [*(put_meter(each, 0) for each in add), *(put_meter(each, 1) for each in change)],
            [each.number for each in (*add, *change)],
        )

    def delete_meters(self, numbers: Sequence[int]) -> None:
        """Delete meters, and flows that still name them. A missing one is no error."""
        self._mod_meters([delete_meter(number) for number in numbers], numbers)

    def _mod_meters(self, mods: Sequence[bytes], numbers: Sequence[int]) -> dict[int, str]:
        if not mods:
            return {}
        first = self._new_xids(len(mods) + 1)
        last = first + len(mods)
        sent = [messages.with_xid(mod, first + place) for place, mod in enumerate(mods)]
        replies = self._ask(b"".join(sent) + messages.barrier(last), last, len(mods))
        return {
            numbers[error.xid - first]: f"meter: {error_name(error.body)}"
            for error in _errors(replies)
            if 0 <= error.xid - first < len(numbers)
        }

    def match_fragments(self) -> None:
        """Have flows find the ports in a packet's first fragment: a flow that drops a port would
        let it pass otherwise, and who puts the packet together has it. The bridge keeps it until
        ovs-vswitchd ends."""
        first = self._new_xids(2)
        request = messages.set_fragments(first) + messages.barrier(first + 1)
        self._answers(request, first + 1, "being told how to match fragments")

    def ports(self) -> dict[str, OpenPort]:
        """The bridge's ports by name, its own port included.

        A name here has at most 15 bytes (section 7.2.1), as a Linux interface's has.
        """
        xid = self._new_xids(1)
        replies = self._answers(messages.port_request(xid), xid, "reading its ports")
        return {name: port for reply in replies for name, port in messages.ports(reply)}

    def clear_ports(self, ports: Iterable[OpenPort], bits: int) -> None:
        """Switch off these bits of the ports' configurations. A port that is gone is no error."""
        wanted = list(ports)
        first = self._new_xids(len(wanted) + 1)
        sent = [messages.port_change(each, bits, first + n) for n, each in enumerate(wanted)]
        last = first + len(wanted)
        self._ask(b"".join(sent) + messages.barrier(last), last, len(wanted))

    def send_packet(self, frame: bytes, actions: bytes) -> None:
        """Let the bridge do `actions` with a frame of ours; returns at once, and what becomes of
        it is not told. Raises Unavailable where the bridge has closed the connection.
        """
        self._refuse_closed()
        self._outgoing += messages.packet_out(frame, actions, _NO_QUESTION)
        self.service()

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

    def _fill_bundle(self, flow_mods: Sequence[bytes], xid: int) -> list[Message]:
        """Open the bundle, put all flow-mods into it, close it; what was refused of it."""
        # Open vSwitch leaves a flow-mod that it cannot decode out of the bundle and says so, and
        # a commit sent right behind would do the rest. So nothing is committed before the answer
        # to the close, which every such error precedes.
        closing = xid + 1 + len(flow_mods)
        parts = [messages.bundle_control(self._bundle, Bundle.OPEN, xid)]
        parts += (
            messages.bundle_add(self._bundle, flow_mod, xid + 1 + place)
            for place, flow_mod in enumerate(flow_mods)
        )
        parts.append(messages.bundle_control(self._bundle, Bundle.CLOSE, closing))
        return _errors(self._ask(b"".join(parts), closing, len(parts)))

    def _control(self, what: Bundle) -> list[Message]:
        xid = self._new_xids(1)
        control = messages.bundle_control(self._bundle, what, xid)
        return _errors(self._ask(control, xid, self._in_bundle))

    def _refusal(
        self, errors: Sequence[Message], adds: Sequence[WireFlow], first: int
    ) -> SwitchError:
        """The exception for errors in a bundle whose added flows have xids from `first` on."""
        head = f"the bridge at {self._path} refused"
        refused = [
            (error_name(error.body), adds[error.xid - first])
            for error in errors
            if 0 <= error.xid - first < len(adds)
        ]
        if not refused:
            return SwitchError(f"{head} a bundle of flows: {error_name(errors[0].body)}")
        told = [
            f"{name} for cookie={wire.cookie:#x},{flow_text(wire.flow, human=True)}"
            for name, wire in refused[:_TOLD_AT_MOST]
        ]
        if len(refused) > len(told):
            told.append(f"and {len(refused) - len(told)} more")
        return FlowRefused(
            f"{head} {len(refused)} of {len(adds)} flows, so nothing was changed: "
            f"{'; '.join(told)}",
            tuple(wire.cookie for _, wire in refused),
        )

    def _answers(self, request: bytes, xid: int, doing: str) -> list[Message]:
        replies = self._ask(request, xid)
        for error in _errors(replies):
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
            elif received.kind in _ANSWERS and received.xid != _NO_QUESTION:
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


def _errors(received: Sequence[Message]) -> list[Message]:
    return [each for each in received if each.kind == Type.ERROR]
