"""How is one request made of the API server, and what comes back?

JSON in and out: the client library's typed models take 30 s for some thousand objects.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus

from kubernetes.client.rest import RESTResponse

from k8s_ovs.errors import Unavailable
from k8s_ovs.observe.kube.credentials import Credentials
from k8s_ovs.observe.kube.documents import Json, read_object
from k8s_ovs.observe.kube.errors import TRANSPORT_ERRORS, Garbled, refusal, transport_failure
from k8s_ovs.observe.kube.health_probe import HealthProbe
from k8s_ovs.observe.kube.lines import Lines
from k8s_ovs.observe.kube.list_items import Keep, read_list
from k8s_ovs.observe.kube.settings import KubeSettings

__all__ = ["Kube"]

_PAGE = 500
_MERGE_PATCH = "application/merge-patch+json"


class Kube:
    """The API server. Threads may share one.

    timeout: seconds to connect, and seconds until an answer comes, of every call; below 5, so
    that a dead server is noticed within that time.

    Methods take paths as `/api/v1/nodes` and return JSON objects. They raise Unavailable and
    TimedOut, which name the server; Garbled, for an answer that no API server gives; Refused and
    its kinds NotFound, Forbidden, Conflict and Expired, which name verb and path.
    """

    def __init__(self, settings: KubeSettings, timeout: float = 4.0) -> None:
        self.timeout = timeout
        self._credentials = Credentials(settings)
        self._health_probe = HealthProbe(self.ask_version)

    @property
    def settings(self) -> KubeSettings:
        """As they are now: credentials and all else are read again when they change."""
        return self._credentials.settings

    def get(self, path: str, timeout: float | None = None) -> Json:
        """One object."""
        return self._call("GET", path, timeout=timeout)

    def list(
        self, path: str, params: Mapping[str, str] | None = None, keep: Keep | None = None
    ) -> Json:
        """The list object with all items, fetched in pages of one consistent state.

        keep: what to have in the place of each item, from it and its text; None: the item. What the
        items are is not looked at."""
        with self._credentials.hidden():
            query = {**(params or {}), "limit": str(_PAGE)}
            return self._list(path, query, keep or (lambda item, _: item))

    def create(self, path: str, body: Json) -> Json:
        """The object as created in the collection `path`; Conflict where it exists."""
        return self._call("POST", path, body=body)

    def patch(self, path: str, body: Json) -> Json:
        """The object after an RFC 7386 merge patch."""
        return self._call("PATCH", path, body=body)

    def delete(self, path: str, params: Mapping[str, str] | None = None) -> Json:
        """The object or Status that the server answers to a deletion."""
        return self._call("DELETE", path, params)

    @contextmanager
    def lines(self, path: str, params: Mapping[str, str], silence: float) -> Iterator[Lines]:
        """A watch's lines as they come, cut when the server stops answering.

        silence: seconds after which a silent watch has failed in any case.
        """
        with self._credentials.hidden():
            response = self._open("GET", path, params, None, self.timeout)
            lines = Lines(response, self.settings, silence)
            try:
                with self._health_probe.over(lines.cut):
                    yield lines
            finally:
                lines.close()

    def close(self) -> None:
        """Close the idle connections."""
        self._credentials.close()

    def ask_version(self, limit: float) -> float:
        """For the health probe: /version is cheap, and whatever comes back is an answer."""
        response = self._send("GET", "/version", {}, None, limit)
        response.response.drain_conn()
        return _seconds(response.headers.get("Retry-After"))

    def _list(self, path: str, query: Mapping[str, str], keep: Keep) -> Json:
        where = self._where("GET", path)
        whole, token = read_list(self._ask("GET", path, query), where, keep)
        while token:
            data = self._ask("GET", path, {**query, "continue": token})
            page, following = read_list(data, where, keep)
            if following == token:
                raise Garbled(f"{where}: the page at {token!r} is followed by itself")
            whole["items"].extend(page["items"])
            token = following
        return whole

    def _call(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None = None,
        body: Json | None = None,
        timeout: float | None = None,
    ) -> Json:
        with self._credentials.hidden():
            data = self._ask(method, path, params, body, timeout)
            return read_object(data, self._where(method, path))

    def _ask(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None = None,
        body: Json | None = None,
        timeout: float | None = None,
    ) -> bytes:
        """What the server answers, whatever it is."""
        limit = timeout or self.timeout
        return self._read(self._open(method, path, params or {}, body, limit), limit)

    def _open(
        self,
        method: str,
        path: str,
        params: Mapping[str, str],
        body: Json | None,
        limit: float,
    ) -> RESTResponse:
        """The response that the server agreed to give."""
        response = self._send(method, path, params, body, limit)
        if response.status >= HTTPStatus.MULTIPLE_CHOICES:
            text = self._read(response, limit)
            wait = _seconds(response.headers.get("Retry-After"))
            raise refusal(self.settings.server, f"{method} {path}", response.status, text, wait)
        return response

    def _send(
        self,
        method: str,
        path: str,
        params: Mapping[str, str],
        body: Json | None,
        limit: float,
    ) -> RESTResponse:
        """Whatever response comes; raises Unavailable and TimedOut."""
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if method == "PATCH":
            headers["Content-Type"] = _MERGE_PATCH
        client = self._credentials.client()
        try:
            request = client.param_serialize(
                method=method,
                resource_path=path,
                query_params=list(params.items()),
                header_params=headers,
                body=body,
                auth_settings=["BearerToken"],
            )
            return client.call_api(*request, _request_timeout=(limit, limit))
        except TRANSPORT_ERRORS as error:
            raise self._failure(error, limit) from error

    def _read(self, response: RESTResponse, limit: float) -> bytes:
        try:
            data: bytes = response.read()  # type: ignore[no-untyped-call]  # it has no types
        except TRANSPORT_ERRORS as error:
            raise self._failure(error, limit) from error
        return data

    def _where(self, method: str, path: str) -> str:
        return f"API server {self.settings.server}: {method} {path}"

    def _failure(self, error: BaseException, limit: float) -> Unavailable:
        return transport_failure(self.settings.server, self.settings.origin, error, limit)


def _seconds(retry_after: str | None) -> float:
    """A Retry-After header in seconds; 0 for none, and for a date, which Kubernetes never sends."""
    return float(retry_after) if retry_after and retry_after.isdecimal() else 0.0
