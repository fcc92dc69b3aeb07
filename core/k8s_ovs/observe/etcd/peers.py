"""How does one speak to each endpoint of etcd? gRPC's channels, with the certificates of now.

gRPC reads no file, and its channels connect again with the certificates that they were made with.
So there are new channels once the files have changed.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import grpc
from attrs import frozen

from k8s_ovs.errors import InvalidRecord
from k8s_ovs.observe.etcd.credentials import channel_credentials
from k8s_ovs.observe.etcd.protocol import stub
from k8s_ovs.observe.etcd.settings import EtcdSettings
from k8s_ovs.observe.failure_log import FailureLog
from k8s_ovs.observe.file_contents import FileContents

__all__ = ["Peer", "Peers"]

_grpc: Any = grpc

_OPTIONS = (
    # A list of many keys is one answer of many megabytes.
    ("grpc.max_receive_message_length", -1),
    # etcd hangs up on a client that pings more often than every 5 s (--grpc-keepalive-min-time),
    # or without a call in progress.
    ("grpc.keepalive_time_ms", 6000),
    ("grpc.keepalive_timeout_ms", 2000),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 200),
    # gRPC gives a connection attempt this long; its own default is 20 s.
    ("grpc.min_reconnect_backoff_ms", 2000),
    ("grpc.max_reconnect_backoff_ms", 2000),
    # etcd is a part of the cluster: a proxy for the way out must not see it.
    ("grpc.enable_http_proxy", 0),
    # With them (grpcio 1.85) a watch that breaks while it begins may never say so.
    ("grpc.enable_retries", 0),
    # Two clients of one program must not share the fate of their connections.
    ("grpc.use_local_subchannel_pool", 1),
)


@frozen
class Peer:
    """One endpoint and its stubs."""

    endpoint: str
    channel: Any
    kv: Any
    lease: Any
    auth: Any
    watch: Any
    maintenance: Any


class Peers:
    """All endpoints, in the settings' order. For any thread.

    Calls in progress, and watches, go on over the channel that they were begun on; it is closed
    when the last of them has ended. While new files cannot be used, the previous ones are; the log
    says why. Raises InvalidRecord where already the first ones cannot be.
    """

    def __init__(self, settings: EtcdSettings) -> None:
        self._settings = settings
        files = (settings.cafile, settings.certfile, settings.keyfile)
        self._files = [path for path in files if path]
        self._lock = threading.Lock()
        self._contents = FileContents.of(self._files)
        self._peers = self._made()
        self._closed = False
        self._outage = FailureLog(
            "certificates for etcd cannot be read again, the previous ones stay",
            "certificates for etcd read again",
        )

    def now(self) -> Sequence[Peer]:
        """For the next call, and for it alone."""
        if self._files:
            with self._lock:
                self._renew()
        return self._peers

    def close(self) -> None:
        """Close the channels; calls in progress fail, and so do those that come."""
        with self._lock:
            self._closed = True
        for peer in self._peers:
            peer.channel.close()

    def _renew(self) -> None:
        if self._closed or not self._contents.changed():
            return
        self._contents = FileContents.of(self._files)
        try:
            # The previous ones are only let go: gRPC closes a channel when nobody uses it any more.
            self._peers = self._made()
        except InvalidRecord as error:
            self._outage.failed(error)
        else:
            self._outage.worked()

    def _made(self) -> list[Peer]:
        credentials = channel_credentials(self._settings)
        return [_peer(endpoint, credentials) for endpoint in self._settings.endpoints]


def _peer(endpoint: str, credentials: Any) -> Peer:
    url = urlsplit(endpoint)
    if url.scheme == "https":
        channel = _grpc.secure_channel(url.netloc, credentials, options=_OPTIONS)
    else:
        channel = _grpc.insecure_channel(url.netloc, options=_OPTIONS)
    return Peer(
        endpoint,
        channel,
        kv=stub(channel, "KV"),
        lease=stub(channel, "Lease"),
        auth=stub(channel, "Auth"),
        watch=stub(channel, "Watch"),
        maintenance=stub(channel, "Maintenance"),
    )
