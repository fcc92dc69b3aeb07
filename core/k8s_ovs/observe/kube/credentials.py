"""Which credentials does the next request carry? Those that files and plugin have now.

A service account's token is replaced every hour, certificates before they end. What is open stays
open: a watch that was begun with the old ones goes on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from kubernetes.client import ApiClient

from k8s_ovs.errors import InvalidRecord, K8sOvsError
from k8s_ovs.observe.failure_log import FailureLog
from k8s_ovs.observe.file_contents import FileContents
from k8s_ovs.observe.kube.settings import KubeSettings

__all__ = ["Credentials"]

#: Seconds until what could not be used is tried again, although no file has changed meanwhile.
_REST = 5.0
#: Seconds that a request waits for new credentials: an exec plugin may take its time, or hang.
_PATIENCE = 3.0


class Credentials:
    """The settings and a client with them, made again when they change. For any thread.

    While the new ones cannot be used, the previous ones are; the log says why.
    """

    def __init__(self, settings: KubeSettings) -> None:
        self._lock = threading.Lock()
        self._settings, self._client = settings, _client(settings)
        self._refused: FileContents | None = None
        self._rest_until = 0.0
        self._renewal: threading.Thread | None = None
        self._outage = FailureLog(
            "credentials for the API server cannot be read again, the previous ones stay",
            "credentials for the API server read again",
        )

    @property
    def settings(self) -> KubeSettings:
        """As the last request had them."""
        return self._settings

    def client(self) -> ApiClient:
        """For the next request, and for it alone. Waits for new ones for a moment only."""
        with self._lock:
            running = self._renewal is not None and self._renewal.is_alive()
            if not running and _are_old(self._settings) and not self._is_refused():
                self._renewal = threading.Thread(
                    target=self._renew, name="kube-credentials", daemon=True
                )
                self._renewal.start()
            elif not running:
                self._renewal = None
            renewal = None if running else self._renewal
        if renewal is not None:
            renewal.join(_PATIENCE)
        return self._client

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """An error from inside does not have the token in its text, which a server may repeat."""
        try:
            yield
        except K8sOvsError as error:
            word = self._settings.configuration.api_key.get("BearerToken", "").rpartition(" ")[2]
            if word:
                error.args = tuple(str(each).replace(word, "***") for each in error.args)
            raise

    def close(self) -> None:
        """Close the idle connections."""
        self._client.close()  # type: ignore[no-untyped-call]  # the client has no types

    def _is_refused(self) -> bool:
        """Whether what is there has been tried a moment ago."""
        if self._refused is None or time.monotonic() >= self._rest_until:
            return False
        return not self._refused.changed()

    def _renew(self) -> None:
        contents = FileContents.of(self._settings.contents.digests)
        try:
            settings = self._settings.again()
        except InvalidRecord as error:
            self._outage.failed(error)
            self._refused, self._rest_until = contents, time.monotonic() + _REST
            return
        # Connections in use stay with who uses them; the idle ones showed the old certificate.
        self.close()
        self._settings, self._client = settings, _client(settings)
        self._outage.worked()
        if _are_old(settings):  # by this machine's clock
            self._refused, self._rest_until = contents, time.monotonic() + _REST


def _are_old(settings: KubeSettings) -> bool:
    expires = settings.expires
    if expires is not None and datetime.now(UTC) >= expires:
        return True
    return settings.contents.changed()


def _client(settings: KubeSettings) -> ApiClient:
    client = ApiClient(settings.configuration)
    client.user_agent = "k8s-ovs"
    return client
