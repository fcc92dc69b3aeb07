"""What does a failed call to etcd mean: try elsewhere, authenticate again, or give up?

gRPC raises RpcError objects that carry a status code and etcd's own words; source of the words:
etcd's api/v3rpc/rpctypes/error.go.
"""

from __future__ import annotations

from typing import Any

import grpc

from k8s_ovs.errors import InvalidRecord, K8sOvsError, TimedOut, Unavailable

__all__ = [
    "EtcdFull",
    "Forbidden",
    "auth_is_off",
    "is_compacted",
    "is_full",
    "is_gone",
    "is_passing",
    "reason",
    "refusal",
    "token_is_stale",
    "unavailable",
]

_PASSING = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.CANCELLED,
    }
)
_NOBODY = "user name is empty"
#: With these etcd itself begins what it says; all else is gRPC's, of an etcd that says nothing.
_SPEAKER = "etcdserver: "

_WANTS_CERTIFICATE = "does etcd want a client certificate, or another one (--etcd-certfile)?"
#: What often lies behind gRPC's words: how the endpoint begins, the words, what to ask oneself. The
#: first that fits.
_HINTS = (
    ("http:", "Socket closed", "does etcd want https?"),
    ("https:", "CERTIFICATE_VERIFY_FAILED", "does --etcd-cafile fit?"),
    ("https:", "Hostname Verification", "does etcd's certificate name this host?"),
    ("https:", "Handshake read failed", "does etcd want http?"),
    ("https:", "TSI_DATA_CORRUPTED", _WANTS_CERTIFICATE),
    ("https:", "Socket closed", _WANTS_CERTIFICATE),
    ("https:", "handshake failed", _WANTS_CERTIFICATE),
)


class EtcdFull(K8sOvsError):
    """etcd answers, and writes nothing more until somebody makes room.

    found: the fact alone. advice: what to do.
    """

    advice = (
        "look with `etcdctl alarm list`, make room (`etcdctl compact REVISION`, `etcdctl defrag`, "
        "or a larger --quota-backend-bytes), then `etcdctl alarm disarm`"
    )

    def __init__(self, endpoint: str) -> None:
        self.found = f"etcd at {endpoint} refuses all writes: its database is full (alarm NOSPACE)"
        super().__init__(f"{self.found}; {self.advice}")


class Forbidden(K8sOvsError):
    """etcd knows who asks, and its roles do not allow that."""


def is_passing(error: Any) -> bool:
    """Another endpoint, or the same one later, may do better."""
    return error.code() in _PASSING


def token_is_stale(error: Any) -> bool:
    """etcd was restarted, the token has run out, or the users have changed."""
    stale = ("invalid auth token", "revision of auth store is old", _NOBODY)
    return any(words in _words(error) for words in stale)


def auth_is_off(error: Any) -> bool:
    """A user was named to an etcd that does not ask for one."""
    return "authentication is not enabled" in _words(error)


def is_full(error: Any) -> bool:
    """Its database has reached its quota, so the whole cluster refuses writes (alarm NOSPACE)."""
    return "database space exceeded" in _words(error)


def is_compacted(error: BaseException | None) -> bool:
    """etcd has forgotten the revision that the call named."""
    return isinstance(error, grpc.RpcError) and "has been compacted" in _words(error)


def is_gone(error: BaseException | None) -> bool:
    """The lease that the call named does not exist."""
    if not isinstance(error, grpc.RpcError):
        return False
    status: Any = error
    return status.code() is grpc.StatusCode.NOT_FOUND


def reason(error: Any) -> str:
    """Why an endpoint gave no answer, in few words."""
    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return "no answer in time"
    return _words(error).rpartition("last error: ")[2].removeprefix("UNKNOWN: ")


def refusal(what: str, endpoint: str, user: str | None, error: Any) -> K8sOvsError:
    """etcd understood the call and refused it."""
    words = _words(error)
    if "authentication failed" in words:
        return InvalidRecord(
            f"etcd at {endpoint} does not know user {user!r} with this password ({words}): "
            "check --etcd-username and --etcd-password"
        )
    if _NOBODY in words:
        return InvalidRecord(
            f"etcd at {endpoint} requires authentication ({words}): give --etcd-username and "
            "--etcd-password, or a client certificate"
        )
    asker = f" for user {user!r}" if user else ""
    refused = Forbidden if error.code() is grpc.StatusCode.PERMISSION_DENIED else K8sOvsError
    return refused(f"etcd at {endpoint} refused {what}{asker}: {words}")


def unavailable(what: str, limit: float, failures: list[tuple[str, Any]]) -> Unavailable:
    """No endpoint did it. failures: (endpoint, its error), in the order they were tried."""
    tried = "; ".join(_tried(endpoint, error) for endpoint, error in failures)
    if all(error.code() is grpc.StatusCode.DEADLINE_EXCEEDED for _, error in failures):
        return TimedOut(f"etcd did not answer {what} in {limit:g} s: {tried}")
    if any((error.details() or "").startswith(_SPEAKER) for _, error in failures):
        return Unavailable(f"etcd cannot do {what} now: {tried}")
    return Unavailable(f"etcd did not answer {what}: {tried}")


def _tried(endpoint: str, error: Any) -> str:
    """The endpoint, why it gave no answer, and what often is behind that."""
    told = reason(error)
    for scheme, words, hint in _HINTS:
        if endpoint.startswith(scheme) and words in told:
            return f"{endpoint}: {told} ({hint})"
    return f"{endpoint}: {told}"


def _words(error: Any) -> str:
    words: str = error.details() or error.code().name
    return words.removeprefix(_SPEAKER)
