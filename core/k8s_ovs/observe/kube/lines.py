"""How is a response that goes on read line by line, and cut?"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from json import JSONDecodeError
from typing import Any

from kubernetes.client.rest import RESTResponse

from k8s_ovs.errors import Unavailable
from k8s_ovs.model.json_text import parse_json
from k8s_ovs.observe.kube.errors import TRANSPORT_ERRORS, Garbled, transport_failure
from k8s_ovs.observe.kube.settings import KubeSettings

__all__ = ["Lines"]

#: Bytes of a line. etcd takes 1.5 MiB for an object, and its JSON is some times as long.
_LONGEST = 16 << 20


class Lines:
    """The lines of a response that goes on. Any thread may `cut` it.

    silence: seconds after which the next line is no longer waited for.
    """

    def __init__(self, response: RESTResponse, settings: KubeSettings, silence: float) -> None:
        self._response = response.response
        self._settings = settings
        self._silence = silence
        self._reason: Unavailable | None = None
        self._socket = _socket_of(self._response)
        if self._socket is not None:
            self._socket.settimeout(silence)

    def __iter__(self) -> Iterator[bytes]:
        """Yields until the server ends it, with what stands there without a line's end too. Raises
        Unavailable when it breaks or was cut."""
        rest = b""
        try:
            # Not `stream`: without chunks it waits until 64 KiB are there.
            while chunk := self._response.read1():
                *lines, rest = (rest + chunk).split(b"\n")
                yield from (line for line in lines if line)
                if _is_whole(rest):
                    yield rest
                    rest = b""
                elif len(rest) > _LONGEST:
                    raise Garbled(
                        f"API server {self._settings.server}: found more than {_LONGEST} bytes "
                        f"that begin with {rest[:80]!r}, expected a watch event"
                    )
        except TRANSPORT_ERRORS as error:
            raise self._reason or transport_failure(
                self._settings.server, self._settings.origin, error, self._silence
            ) from error
        if self._reason:
            raise self._reason
        if rest:
            yield rest

    def close(self) -> None:
        """Give the connection up."""
        self._response.close()

    def cut(self, reason: Unavailable) -> None:
        """End it now, with this reason, even while another thread waits for the next line."""
        self._reason = reason
        if self._socket is None:
            return
        try:
            # Not SSLSocket.shutdown: it takes the TLS state away from the thread that reads.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
        except OSError:
            return  # it was closed by the peer or by the reader at this moment


def _is_whole(rest: bytes) -> bool:
    """Whether this is not the beginning of a line: JSON that is complete, or no event at all. Who
    does not speak the watch's language need not end it with a line either."""
    if not rest.startswith(b"{"):
        return bool(rest.strip())
    if not rest.endswith(b"}"):
        return False
    try:
        parse_json(rest)
    except JSONDecodeError:
        return False
    except ValueError:
        return True  # what follows does not make it right
    return True


def _socket_of(response: Any) -> socket.socket | None:
    """What an open response is read from; None: it has ended already.

    After `Connection: close` the connection has let go of its socket before the body is read, and
    only the file that http.client made of it knows it.
    """
    connection = response.connection
    if connection is not None and connection.sock is not None:
        found: socket.socket = connection.sock
        return found
    file = getattr(response._fp, "fp", None)
    return getattr(getattr(file, "raw", None), "_sock", None)
