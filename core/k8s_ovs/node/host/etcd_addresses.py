"""At which addresses and ports is etcd? Those of `--etcd-endpoints`, names among them resolved."""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence
from ipaddress import IPv4Address
from urllib.parse import urlsplit

from attrs import frozen

from k8s_ovs.supervise import SupervisedThread

__all__ = ["EtcdAddresses"]

#: Seconds between two questions for the addresses of names, which may move.
_EVERY = 30.0
#: Seconds that the start waits for the first answer.
_STARTS_WITHIN = 2.0


@frozen
class _Endpoint:
    host: str
    port: int


class EtcdAddresses:
    """IPv4 alone, as pods have no other. A name that has no answer keeps the last one's."""

    def __init__(self, endpoints: Sequence[str], every: float = _EVERY) -> None:
        parsed = [urlsplit(each) for each in endpoints]
        made = [_Endpoint(each.hostname or "", each.port or 0) for each in parsed]
        self._every = every
        self._names = [each for each in made if not _is_address(each.host)]
        literal = [each for each in made if each not in self._names and ":" not in each.host]
        self._literal = frozenset((IPv4Address(each.host), each.port) for each in literal)
        self._found: dict[_Endpoint, frozenset[tuple[IPv4Address, int]]] = {}
        self._asked, self._stopped = threading.Event(), threading.Event()
        self._thread = SupervisedThread(
            name="etcd-addresses", target=self._run, stopped=self._stopped
        )

    def start(self) -> None:
        """Ask for names, if there are any, from now on; waits 2 s at most for the first answer."""
        if self._names:
            self._thread.start()
            self._asked.wait(_STARTS_WITHIN)

    def stop(self) -> None:
        """Ask no more. Does not wait for a question that nobody answers."""
        self._stopped.set()

    def now(self) -> frozenset[tuple[IPv4Address, int]]:
        """Addresses with their ports."""
        return self._literal.union(*self._found.values())

    def _run(self) -> None:
        while not self._stopped.is_set():
            for name in self._names:
                if answer := _ask(name):
                    self._found = {**self._found, name: answer}
            self._asked.set()
            self._stopped.wait(self._every)


def _is_address(host: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except (OSError, ValueError):
            continue
        return True
    return False


def _ask(endpoint: _Endpoint) -> frozenset[tuple[IPv4Address, int]]:
    """Empty: there is no answer."""
    try:
        found = socket.getaddrinfo(endpoint.host, endpoint.port, socket.AF_INET, socket.SOCK_STREAM)
    except (OSError, ValueError):  # UnicodeError of a name that cannot be one
        return frozenset()
    return frozenset((IPv4Address(address[0]), int(address[1])) for *_, address in found)
