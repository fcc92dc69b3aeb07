"""Is the API server of our watches still alive?

A watch may be silent for minutes with nothing wrong, and TCP keepalive is answered by the kernel
of a server that hangs, or by a proxy with nothing behind it. So while there are watches, one
small question is asked every few seconds, for all of them together.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from k8s_ovs.errors import Unavailable
from k8s_ovs.supervise import SupervisedThread

__all__ = ["Cut", "HealthProbe"]

Cut = Callable[[Unavailable], None]

_INTERVAL = 2.0


class HealthProbe:
    """Asks every 2 s while watches are open; cuts them all when no answer comes.

    ask: raises Unavailable when there is no answer within its own time limit. With a limit of
    2 s a server that hangs is noticed within 4 s.
    """

    def __init__(self, ask: Callable[[], None]) -> None:
        self._ask = ask
        self._lock = threading.Lock()
        self._cuts: dict[int, Cut] = {}
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def over(self, cut: Cut) -> Iterator[None]:
        """While inside, `cut` is called with the reason when the server stops answering."""
        with self._lock:
            self._cuts[id(cut)] = cut
            if self._thread is None:
                self._wake.clear()
                self._thread = SupervisedThread(name="kube-health-probe", target=self._run)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                del self._cuts[id(cut)]
                if not self._cuts:
                    self._wake.set()

    def _run(self) -> None:
        while True:
            self._wake.wait(_INTERVAL)
            with self._lock:
                self._wake.clear()
                if not self._cuts:
                    self._thread = None
                    return
                cuts = tuple(self._cuts.values())
            try:
                self._ask()
            except Unavailable as error:
                for cut in cuts:
                    cut(error)
