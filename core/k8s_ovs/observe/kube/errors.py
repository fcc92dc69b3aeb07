"""What do the API server's error answers mean?"""

from __future__ import annotations

import errno
import ssl
from collections.abc import Iterator
from http import HTTPStatus

from kubernetes.client.exceptions import ApiException
from kubernetes.config import ConfigException
from urllib3.exceptions import HTTPError, NewConnectionError
from urllib3.exceptions import TimeoutError as HttpTimeoutError

from k8s_ovs.errors import K8sOvsError, TimedOut, Unavailable
from k8s_ovs.model.json_text import parse_json

__all__ = [
    "TRANSPORT_ERRORS",
    "Busy",
    "Conflict",
    "Expired",
    "Forbidden",
    "Garbled",
    "NotFound",
    "Refused",
    "refusal",
    "transport_failure",
]

# ConfigException: the service account's token is read again each minute, and may have gone.
TRANSPORT_ERRORS = (HTTPError, ApiException, OSError, ConfigException)


class Garbled(Unavailable):
    """Something answers, but not as an API server does. Names server, request, what was found and
    what was expected."""


class Busy(Unavailable):
    """The API server has too much to do. retry_after: seconds that it asks to be left alone."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Refused(K8sOvsError):
    """The API server refused a request. Names verb and resource, carries its words."""


class NotFound(Refused):
    """There is no such object or resource (404)."""


class Forbidden(Refused):
    """Our credentials are unknown (401) or insufficient (403)."""


class Conflict(Refused):
    """The object exists already, or is not the version that was named (409)."""


class Expired(Refused):
    """The resource version or page asked for is no longer kept: list again (410)."""


_BY_STATUS = {401: Forbidden, 403: Forbidden, 404: NotFound, 409: Conflict, 410: Expired}
#: Characters of a message of the API server that are repeated.
_LONGEST_WORDS = 1000
_TRY_AGAIN = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)


def refusal(
    server: str, request: str, status: int, body: bytes, retry_after: float = 0.0
) -> K8sOvsError:
    """The error for an HTTP status of 300 and above; `request` is verb and path, `retry_after` the
    header of this name in seconds."""
    words = _words(body)
    text = f"API server {server}: {request}: {status} {words}".rstrip()
    # So it says when its etcd was restored from an older backup: that version will never come.
    if "Too large resource version" in words:
        return Expired(text)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _TRY_AGAIN:
        return Busy(text, retry_after)
    return _BY_STATUS.get(status, Refused)(text)


def _words(body: bytes) -> str:
    """The message of a Status object; of anything else its beginning."""
    try:
        return str(parse_json(body)["message"])[:_LONGEST_WORDS]
    except (ValueError, LookupError, TypeError):
        return body[:200].decode(errors="replace").strip()


def transport_failure(server: str, origin: str, error: BaseException, limit: float) -> Unavailable:
    """The error for a request that got no answer; `limit` is its time limit in seconds."""
    where = f"API server {server} (from {origin})"
    if _is_ours(error):
        return TimedOut(f"{where} does not answer within {limit:g} s")
    return Unavailable(f"{where}: {_cause(error)}")


def _is_ours(error: BaseException) -> bool:
    """Whether it is our own time limit that ended the request."""
    # A refused connection is among urllib3's timeouts.
    if isinstance(error, NewConnectionError):
        return False
    if not isinstance(error, (HttpTimeoutError, TimeoutError)):
        return False
    # The kernel has limits of its own, and says so with the same class of Python.
    return not any(getattr(each, "errno", None) == errno.ETIMEDOUT for each in _causes(error))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what it came from, outermost first."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _cause(error: BaseException) -> str:
    """The innermost operating system's word, which is the shortest and the one people know."""
    words = str(error)
    for each in _causes(error.__cause__ or error.__context__):
        if isinstance(each, (ssl.SSLError, OSError)) and (each.strerror or str(each)):
            words = each.strerror or str(each)
    return " ".join(words.split())
