"""Is the CNI served on this node, by this daemon alone? What somebody does to the socket is put
right.

Without its socket a node looks well, and no pod starts.
"""

from __future__ import annotations

from collections.abc import Callable

from k8s_ovs.node.cni.listener import SocketInUse
from k8s_ovs.node.cni.server import CniServer
from k8s_ovs.output import Output

__all__ = ["CniService"]

_LONGEST_WAIT = 8.0

#: Told what was put right: its kind, and what was found.
Repaired = Callable[[str, str], None]


class CniService(Output):
    """make: a server that does not serve yet. For one thread."""

    def __init__(self, make: Callable[[], CniServer], repaired: Repaired) -> None:
        super().__init__("CNI socket", longest_wait=_LONGEST_WAIT)
        self._make = make
        self._repaired = repaired
        self._server: CniServer | None = None
        self._in_use: SocketInUse | None = None

    def tend(self) -> None:
        """Serve, if it is not served yet, and look at the socket: that costs nothing.

        Raises SocketInUse: another daemon does all this.
        """
        if self.put_off:
            return
        if self._server is None or self._server.damage() or self.problem:
            self.attempt(self._serve)
        if self._in_use is not None:
            raise self._in_use

    def stop(self) -> None:
        """Those who wait are told to try again later."""
        if self._server is not None:
            self._server.stop()

    def _serve(self) -> None:
        try:
            if self._server is None:
                server = self._make()
                server.start()
                self._server = server
            elif found := self._server.damage():
                self._server.listen_again()
                self._repaired("socket", f"socket {self._server.path}: {found}")
        except SocketInUse as error:
            self._in_use = error
