"""How many requests has the embedded API server had? It tells that as the real one does."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping

from k8s_ovs_testing.apiserver.route import target
from k8s_ovs_testing.apiserver.status import StatusError

__all__ = ["RequestCounts"]

_NAME = "apiserver_request_total"


class RequestCounts:
    """Requests by verb and resource; of what is no resource, such as /version, by verb alone."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = Counter[tuple[str, str]]()

    def note(self, method: str, path: str, query: Mapping[str, str]) -> None:
        """One more."""
        which = _verb_and_resource(method, path, query)
        with self._lock:
            self._counts[which] += 1

    def text(self) -> str:
        """The page for Prometheus."""
        with self._lock:
            counts = sorted(self._counts.items())
        lines = [
            f'{_NAME}{{verb="{verb}",resource="{resource}"}} {count}'
            for (verb, resource), count in counts
        ]
        return "\n".join([f"# TYPE {_NAME} counter", *lines, ""])


def _verb_and_resource(method: str, path: str, query: Mapping[str, str]) -> tuple[str, str]:
    try:
        wanted = target(path)
    except StatusError:
        return method, ""
    if method == "GET" and not wanted.name:
        return "WATCH" if query.get("watch") in ("true", "1") else "LIST", wanted.resource.plural
    return method, wanted.resource.plural
