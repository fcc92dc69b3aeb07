"""What gRPC says of TLS that does not fit, and what the person is asked then."""

from __future__ import annotations

import grpc
import pytest
from attrs import frozen

from k8s_ovs.observe.etcd.errors import unavailable

#: As gRPC 1.85 says it of a real etcd.
CLOSED = "ipv4:10.0.0.1:2379: Socket closed"
CORRUPTED = "ipv4:10.0.0.1:2379: Unwrap failed (TSI_DATA_CORRUPTED)"
UNKNOWN_AUTHORITY = (
    "ipv4:10.0.0.1:2379: Tls handshake failed (TSI_PROTOCOL_FAILURE): SSL_ERROR_SSL: error:"
    "1000007d:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED: unable to get local issuer"
)
PLAIN = "ipv4:10.0.0.1:2379: Handshake read failed (recvmsg:Connection reset by peer (104))"
OTHER_NAME = "Custom verification check failed with error: Hostname Verification Check failed."
REFUSED = "ipv4:10.0.0.1:2379: Failed to connect to remote host: Connection refused"


@frozen
class Failed:
    """A call that an endpoint did not answer."""

    said: str

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNAVAILABLE

    def details(self) -> str:
        return self.said


@pytest.mark.parametrize(
    ("scheme", "said", "hint"),
    [
        ("http", CLOSED, " (does etcd want https?)"),
        ("https", CLOSED, " (does etcd want a client certificate, or another one"),
        ("https", CORRUPTED, " (does etcd want a client certificate, or another one"),
        ("https", UNKNOWN_AUTHORITY, " (does --etcd-cafile fit?)"),
        ("https", OTHER_NAME, " (does etcd's certificate name this host?)"),
        ("https", PLAIN, " (does etcd want http?)"),
        ("http", REFUSED, ""),
        ("https", REFUSED, ""),
    ],
)
def test_words_about_tls_come_with_what_often_is_behind_them(
    scheme: str, said: str, hint: str
) -> None:
    endpoint = f"{scheme}://10.0.0.1:2379"
    told = str(unavailable("get key", 5, [(endpoint, Failed(said))]))
    assert told.startswith(f"etcd did not answer get key: {endpoint}: {said}{hint}")
    assert bool(hint) == told.endswith("?)")
