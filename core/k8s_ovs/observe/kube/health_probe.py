"""Is the API server of our watches still alive?

A watch may be silent for minutes with nothing wrong, and TCP keepalive is answered by the kernel
of a server that hangs, or by a proxy with nothing behind it. So while there are watches, one
small question is asked every few seconds, for all of them together.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from k8s_ovs.errors import Unavailable
from k8s_ovs.supervise import SupervisedThread

__all__ = ["HealthProbe"]

#: Asks the server, with a time limit in seconds. Returns how many seconds the server wants to be
#: left alone. Raises Unavailable where nothing came back; any HTTP answer, also a refusal, counts.
Ask = Callable[[float], float]
Cut = Callable[[Unavailable], None]

_INTERVAL = 2.0
_LIMIT = 2.0
# One lost packet is no outage: a second question must fail too. Both together take less than 5 s.
_SECOND_LIMIT = 1.0
#: However long the server asks to be left alone, we want to know by then.
_LONGEST_PAUSE = 30.0


class HealthProbe:
    """Asks every 2 s while watches are open; cuts them all when two questions in a row fail.

    interval: seconds between questions, and within which a failed one is repeated. limits: seconds
    that the first question may take, and the second. A server that hangs is noticed within 5 s.
    """

    def __init__(
        self,
        ask: Ask,
        interval: float = _INTERVAL,
        limits: tuple[float, float] = (_LIMIT, _SECOND_LIMIT),
    ) -> None:
        self._ask = ask
        self._interval = interval
        self._limits = limits
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
        pause = self._interval
        while True:
            self._wake.wait(pause)
            with self._lock:
                self._wake.clear()
                if not self._cuts:
                    self._thread = None
                    return
                cuts = tuple(self._cuts.values())
            try:
                pause = max(self._interval, min(self._asked(), _LONGEST_PAUSE))
            except Unavailable as error:
                pause = self._interval
                for cut in cuts:
                    cut(error)

    def _asked(self) -> float:
        """Seconds to leave the server alone. Raises Unavailable, why the first question failed,
        when the second one did too.
        """
        first, second = self._limits
        began = time.monotonic()
        try:
            return self._ask(first)
        except Unavailable as error:
            failure = error
        # What was refused at once may be a server that is replaced in this moment.
        self._wake.wait(max(0.0, began + self._interval - time.monotonic()))
        try:
            return self._ask(second)
        except Unavailable as error:
            raise failure from error
