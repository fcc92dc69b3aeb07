"""Which endpoint of etcd answers, and does it know us? Failover, tokens, errors."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import structlog

from k8s_ovs.errors import K8sOvsError, Unavailable
from k8s_ovs.observe.etcd.errors import (
    EtcdFull,
    auth_is_off,
    is_full,
    is_passing,
    refusal,
    token_is_stale,
    unavailable,
)
from k8s_ovs.observe.etcd.peers import Peer, Peers
from k8s_ovs.observe.etcd.protocol import rpc
from k8s_ovs.observe.etcd.settings import EtcdSettings

__all__ = ["EtcdConnection", "Metadata"]

_log = structlog.get_logger(__name__)

_NO_TOKEN = ""


Metadata = tuple[tuple[str, str], ...]
# Does one call: (peer, time limit in seconds, metadata) -> response.
Ask = Callable[[Peer, float, Metadata], Any]


class EtcdConnection:
    """Calls that go to the endpoint which answered last, then to the others one by one.

    Used by any number of threads.
    """

    def __init__(self, settings: EtcdSettings) -> None:
        self._settings = settings
        self._peers = Peers(settings)
        self._lock = threading.Lock()
        self._good = 0
        self._token: str | None = None
        self._closed = False

    def close(self) -> None:
        """Close the connection; calls in progress fail, and so do those that come."""
        self._closed = True
        self._peers.close()

    def call(self, what: str, ask: Ask) -> Any:
        """The response of the first endpoint that gives one, within the settings' timeout.

        what: the operation and its key, for errors. An attempt that was not answered may have been
        carried out all the same, and is then done twice.
        Raises TimedOut, Unavailable, EtcdFull (no space), InvalidRecord (wrong user or password) or
        K8sOvsError (etcd refuses the call).
        """
        try:
            return self._call(what, ask)
        except (K8sOvsError, ValueError) as error:  # gRPC raises the latter of a closed channel
            if self._closed:
                text = f"etcd did not answer {what}: the connection is closed"
                raise Unavailable(text) from error
            raise

    def _call(self, what: str, ask: Ask) -> Any:
        deadline = time.monotonic() + self._settings.timeout
        failures: list[tuple[str, grpc.RpcError]] = []
        peers, order = self._peers.now(), self._order()
        for done, index in enumerate(order):
            peer = peers[index]
            try:
                response = self._ask(peer, ask, _left(deadline) / (len(order) - done))
            except grpc.RpcError as error:
                if is_full(error):
                    raise EtcdFull(peer.endpoint) from error
                if not is_passing(error):
                    raise refusal(what, peer.endpoint, self._settings.username, error) from error
                failures.append((peer.endpoint, error))
            else:
                self._prefer(index)
                return response
        raise unavailable(what, self._settings.timeout, failures) from failures[-1][1]

    def open_watch(self, requests: Iterator[Any]) -> tuple[str, Any]:
        """A watch stream of WatchRequests at the good endpoint: (endpoint, call). The call yields
        WatchResponses and raises grpc.RpcError; it has no time limit.
        """
        peer = self._peers.now()[self._good]
        metadata = (*self._metadata(), ("hasleader", "true"))
        return peer.endpoint, peer.watch.Watch(requests, metadata=metadata)

    def avoid(self, endpoint: str) -> None:
        """Try the others first from now on."""
        with self._lock:
            if self._settings.endpoints[self._good] == endpoint:
                self._good = (self._good + 1) % len(self._settings.endpoints)

    def forget_token(self) -> None:
        """Authenticate again before the next call."""
        self._token = None

    def _order(self) -> list[int]:
        count = len(self._settings.endpoints)
        return [(self._good + step) % count for step in range(count)]

    def _prefer(self, index: int) -> None:
        with self._lock:
            if index == self._good:
                return
            self._good = index
        _log.info("etcd endpoint changed", endpoint=self._settings.endpoints[index])

    def _metadata(self) -> Metadata:
        return (("token", self._token),) if self._token else ()

    def _ask(self, peer: Peer, ask: Ask, limit: float) -> Any:
        deadline = time.monotonic() + limit
        if self._settings.username and self._token is None:
            self._authenticate(peer, limit)
        try:
            return ask(peer, _left(deadline), self._metadata())
        except grpc.RpcError as error:
            if not (self._settings.username and token_is_stale(error)):
                raise
        self._authenticate(peer, _left(deadline))
        return ask(peer, _left(deadline), self._metadata())

    def _authenticate(self, peer: Peer, limit: float) -> None:
        user, password = self._settings.username, self._settings.password or ""
        request = rpc.AuthenticateRequest(name=user, password=password)
        try:
            self._token = peer.auth.Authenticate(request, timeout=limit).token
        except grpc.RpcError as error:
            if not auth_is_off(error):
                raise
            # As etcd's own clients do: a user may be named before authentication is turned on.
            self._token = _NO_TOKEN


def _left(deadline: float) -> float:
    # gRPC takes no limit below zero.
    return max(0.05, deadline - time.monotonic())
