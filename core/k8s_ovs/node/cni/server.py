"""The server's side of the CNI: who asks, what is asked, and in which order it is handled.

One thread reads requests and hands them on; an answer is sent by whichever thread has it.
"""

from __future__ import annotations

import os
import select
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

import structlog
from attrs import define, frozen

from k8s_ovs.errors import K8sOvsError
from k8s_ovs.node.cni.listener import CniSocket, peer_uid
from k8s_ovs.node.cni.protocol import (
    MAX_REQUEST,
    Answer,
    CniError,
    CniRequest,
    Code,
    asked_version,
    encode_reply,
    parse_request,
    version_answer,
)
from k8s_ovs.node.cni.request_log import identity, log_answer, outcome
from k8s_ovs.supervise import SupervisedThread

__all__ = ["Answer", "CniServer", "Count", "Handle", "HungUp", "Reply"]

log = structlog.get_logger(__name__)

#: May be called from any thread. The first call counts and returns True.
Reply = Callable[[Answer], bool]
Handle = Callable[[CniRequest, Reply], None]
#: Called for each answered request: command, outcome (ok or the error's code), seconds.
Count = Callable[[str, str, float], None]
#: Called in the server's thread for each ADD that was handed on and whose client has hung up.
HungUp = Callable[[CniRequest], None]

#: Seconds that a client may take to send its request, or to take its answer.
_CLIENT_TIMEOUT = 5.0
_STOP_SECONDS = 5.0
#: Seconds without accepting when there are no file descriptors left.
_OUT_OF_DESCRIPTORS_PAUSE = 0.1


@define(eq=False)
class _Client:
    """A connection whose request is still coming."""

    channel: socket.socket
    deadline: float
    received: bytearray


@frozen(eq=False)
class _Pending:
    """A request with its connection, and the one place that answers it."""

    request: CniRequest
    channel: socket.socket
    done: Callable[[_Pending, Answer], bool]

    def reply(self, answer: Answer) -> bool:
        return self.done(self, answer)


class CniServer:
    """Serves the CNI program at `socket_path` from `start` to `stop`.

    VERSION and malformed requests are answered here, everything else is given to `handle`, in the
    server's thread: it must not block. A request for a container that has one under way is handed
    on when that one is answered. Peers whose uid is not in `allowed_uids` are refused. `count` is
    told of each answer, `hung_up` of each ADD that nobody waits for any more: its holder drops
    it and answers, so that the container's DEL need not wait.
    """

    def __init__(
        self,
        socket_path: str | Path,
        handle: Handle,
        allowed_uids: Collection[int] = (0,),
        count: Count | None = None,
        hung_up: HungUp | None = None,
    ) -> None:
        self.path = Path(socket_path)
        self._socket = CniSocket(self.path)
        # Those that the server's thread listens at as soon as it is woken.
        self._opened: deque[socket.socket] = deque()
        self._handle = handle
        self._allowed_uids = frozenset(allowed_uids)
        self._count = count
        self._hung_up = hung_up
        self._selector = selectors.DefaultSelector()
        self._wake_fd = -1
        self._stopping = threading.Event()
        # Clients of ADDs: it reports just those that have hung up (epoll_ctl(2), EPOLLHUP).
        self._clients = select.epoll()
        self._by_descriptor: dict[int, _Pending] = {}
        self._reading: dict[socket.socket, _Client] = {}
        self._lock = threading.Lock()
        self._open: set[_Pending] = set()
        self._waiting: dict[str, deque[_Pending]] = {}
        self._ready: deque[_Pending] = deque()

    def start(self) -> None:
        """Listen and serve. Raises K8sOvsError when the socket cannot be opened."""
        self._listener = self._socket.open()
        try:
            self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
            self._selector.register(self._wake_fd, selectors.EVENT_READ, self._awake)
            self._selector.register(self._clients, selectors.EVENT_READ, self._see_hung_up)
        except OSError as error:
            # The next attempt would take us for another daemon.
            self._socket.close()
            self._listener.close()
            raise K8sOvsError(f"the CNI cannot be served: {error.strerror}") from error
        self._thread = SupervisedThread(
            name="cni-server", target=self._serve, stopped=self._stopping
        )
        self._thread.start()

    def damage(self) -> str:
        """What somebody did to the socket's file; "": nothing."""
        return self._socket.damage()

    def listen_again(self) -> None:
        """Put a socket at the path once more. Who connected to the one before is served.

        Raises K8sOvsError when the socket cannot be opened.
        """
        self._opened.append(self._socket.open())
        os.eventfd_write(self._wake_fd, 1)

    def stop(self) -> None:
        """Take no more requests; those under way are told to try again later."""
        self._stopping.set()
        os.eventfd_write(self._wake_fd, 1)
        self._thread.join(_STOP_SECONDS)
        # The name goes first: while we listen, no other daemon takes it.
        self._socket.close()
        for each in (self._listener, *self._opened):
            each.close()
        with self._lock:
            left = list(self._open)
        for pending in left:
            pending.reply(CniError(Code.TRY_AGAIN_LATER, "k8s-ovs is stopping on this node"))
        for client in list(self._reading.values()):
            self._drop(client)
        self._selector.close()
        self._clients.close()
        os.close(self._wake_fd)

    def _serve(self) -> None:
        while not self._stopping.is_set():
            for key, _ in self._selector.select(self._next_deadline()):
                if not isinstance(key.data, _Client):
                    key.data()
                elif key.fileobj in self._reading:
                    self._read_alone(key.data)
            self._drop_slow()

    def _awake(self) -> None:
        os.eventfd_read(self._wake_fd)
        while self._opened:
            self._accept()
            self._selector.unregister(self._listener)
            self._listener.close()
            self._listener = self._opened.popleft()
            self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        while self._ready:
            self._dispatch(self._ready.popleft())

    def _accept(self) -> None:
        while True:
            try:
                channel, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                log.error("cannot accept a CNI request", reason=error.strerror)
                time.sleep(_OUT_OF_DESCRIPTORS_PAUSE)
                return
            # A request that was whole before this one came goes first.
            for client in list(self._reading.values()):
                self._read_alone(client)
            try:
                self._welcome(channel)
            except Exception:  # one client must not end the service of all the others
                log.exception("CNI client failed")
                channel.close()

    def _welcome(self, channel: socket.socket) -> None:
        uid = peer_uid(channel)
        if uid not in self._allowed_uids:
            log.warning("CNI request refused", uid=uid)
            _send(channel, _refusal(f"user {uid} may not use {self.path}"))
            return
        channel.setblocking(False)
        client = _Client(channel, time.monotonic() + _CLIENT_TIMEOUT, bytearray())
        # The CNI program has usually sent everything by now; if not, wait for the rest.
        if not self._read(client):
            self._reading[channel] = client
            self._selector.register(channel, selectors.EVENT_READ, client)

    def _read_alone(self, client: _Client) -> None:
        """Read on; a client on which that fails is dropped."""
        try:
            self._read(client)
        except Exception:
            log.exception("CNI client failed")
            self._drop(client)

    def _read(self, client: _Client) -> bool:
        """Whether the request is complete: read to its end, or given up."""
        try:
            while part := client.channel.recv(65536):
                client.received += part
                if len(client.received) > MAX_REQUEST:
                    self._forget(client)
                    _send(client.channel, _refusal(f"the request is over {MAX_REQUEST} bytes"))
                    return True
        except BlockingIOError:
            return False
        except OSError:
            client.received.clear()
        if not client.received:
            self._drop(client)
            return True
        self._forget(client)
        self._take(bytes(client.received), client.channel)
        return True

    def _take(self, wire: bytes, channel: socket.socket) -> None:
        """Answer what needs no handling, and hand the rest on."""
        try:
            request = parse_request(wire, time.monotonic())
        except CniError as error:
            log.warning("CNI request is malformed", code=int(error.code), reason=str(error))
            _send(channel, encode_reply(error, asked_version(wire)))
            return
        except Exception as error:  # ours: who asked must hear of it, and the others go on
            log.exception("CNI request failed while it was read")
            _send(channel, encode_reply(_own_fault(error), asked_version(wire)))
            return
        if request.command == "VERSION":
            answer = version_answer(request.cni_version)
            _send(channel, encode_reply(answer, request.cni_version))
            return
        pending = _Pending(request, channel, self._finish)
        with self._lock:
            self._open.add(pending)
            if request.command == "ADD":
                self._by_descriptor[channel.fileno()] = pending
                self._clients.register(channel, 0)
            if request.container_id in self._waiting:
                self._waiting[request.container_id].append(pending)
                return
            if request.container_id:
                self._waiting[request.container_id] = deque()
        self._dispatch(pending)

    def _dispatch(self, pending: _Pending) -> None:
        try:
            self._handle(pending.request, pending.reply)
        except CniError as error:
            pending.reply(error)
        except Exception as error:
            # One request must not end the service of all the others.
            log.exception("CNI request failed", **identity(pending.request))
            pending.reply(_own_fault(error))

    def _see_hung_up(self) -> None:
        """Nobody waits for these ADDs, and the DEL that follows waits behind them."""
        for descriptor, _ in self._clients.poll(0):
            with self._lock:
                pending = self._by_descriptor.pop(descriptor, None)
                if pending is not None:  # else it has been answered meanwhile, and is closed
                    self._clients.unregister(descriptor)
            if pending is not None and not self._withdraw(pending) and self._hung_up is not None:
                self._hung_up(pending.request)

    def _withdraw(self, pending: _Pending) -> bool:
        """Drop a request that was not handed on yet; False: it was."""
        with self._lock:
            queue = self._waiting.get(pending.request.container_id, deque())
            its_turn = pending in self._ready
            if not its_turn and pending not in queue:
                return False
            (self._ready if its_turn else queue).remove(pending)
            if not its_turn:
                self._open.discard(pending)
        if its_turn:
            pending.reply(CniError(Code.TRY_AGAIN_LATER, "the client has hung up"))
        else:
            pending.channel.close()
            log.info("cni", **identity(pending.request), client="gone")
        return True

    def _finish(self, pending: _Pending, answer: Answer) -> bool:
        request = pending.request
        with self._lock:
            if pending not in self._open:
                return False
            self._open.remove(pending)
            if self._by_descriptor.pop(pending.channel.fileno(), None) is not None:
                with suppress(OSError, ValueError):
                    self._clients.unregister(pending.channel)
        sent = _send(pending.channel, _encoded(answer, request))
        with self._lock:
            queue = self._waiting.get(request.container_id)
            if queue:
                self._ready.append(queue.popleft())
            else:
                self._waiting.pop(request.container_id, None)
        if queue is not None and self._ready:
            os.eventfd_write(self._wake_fd, 1)
        seconds = time.monotonic() - request.arrived
        try:
            if self._count is not None:
                self._count(request.command, outcome(answer), seconds)
            log_answer(request, answer, sent, seconds)
        except Exception:  # it is answered, and its sender has others to answer
            log.exception("CNI answer not counted", **identity(request))
        return True

    def _next_deadline(self) -> float | None:
        """Seconds until the longest waiting client is dropped (they wait in order)."""
        for client in self._reading.values():
            return max(client.deadline - time.monotonic(), 0.0)
        return None

    def _drop_slow(self) -> None:
        now = time.monotonic()
        for client in [each for each in self._reading.values() if each.deadline <= now]:
            log.warning("CNI client sent no whole request", seconds=_CLIENT_TIMEOUT)
            self._drop(client)

    def _drop(self, client: _Client) -> None:
        self._forget(client)
        client.channel.close()

    def _forget(self, client: _Client) -> None:
        if self._reading.pop(client.channel, None):
            self._selector.unregister(client.channel)


def _send(channel: socket.socket, reply: bytes) -> bool:
    """Send and hang up. False: the client is gone; the runtime will call DEL."""
    with channel:
        try:
            channel.settimeout(_CLIENT_TIMEOUT)
            channel.sendall(reply)
        except OSError:
            return False
    return True


def _encoded(answer: Answer, request: CniRequest) -> bytes:
    try:
        return encode_reply(answer, request.cni_version, request.dns)
    except Exception as error:
        log.exception("CNI answer cannot be sent", **identity(request))
        return encode_reply(_own_fault(error), request.cni_version)


def _own_fault(error: Exception) -> CniError:
    """The answer to a request on which we failed; the log has the traceback."""
    return CniError(Code.FAILED, "k8s-ovs failed on this request", str(error) or repr(error))


def _refusal(msg: str) -> bytes:
    error = CniError(Code.INVALID_ENVIRONMENT, msg)
    return encode_reply(error, asked_version(b""))
