"""What if code of ours or of a plugin fails? It is in the log, whole, and all else goes on.

`FaultLog` writes the traceback, `SupervisedThread` starts a thread's work again.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

import structlog

from k8s_ovs.backoff import Backoff
from k8s_ovs.errors import is_ctrl_c, shown

__all__ = ["FaultLog", "SupervisedThread"]

_log = structlog.get_logger(__name__)

#: How many distinct failures a log remembers, so that a failure with a new text each time is told,
#: and takes no more memory each time.
_REMEMBERED = 1000

#: Seconds of work after which a failure is a new one, and the next attempt comes soon again.
_WORKED = 30.0


class FaultLog:
    """Writes whole tracebacks of exceptions that nobody expected, each distinct one once.

    Two are the same if they have the same event, plugin and hook, type, text and place. From any
    thread.
    """

    def __init__(self) -> None:
        self._told: OrderedDict[object, None] = OrderedDict()
        self._lock = threading.Lock()

    def tell(self, event: str, error: BaseException, **about: object) -> None:
        """Log `event` with the traceback of `error`; nothing where that was told already."""
        whose = tuple(about.get(name) for name in ("plugin", "hook", "function"))
        which = (event, whose, type(error), shown(error), _place(error))
        with self._lock:
            known = which in self._told
            self._told[which] = None
            self._told.move_to_end(which)
            if len(self._told) > _REMEMBERED:
                self._told.popitem(last=False)
        if known:
            return
        try:
            _log.error(event, **about, exc_info=error)
        except BaseException as worse:  # a plugin's exception that cannot be shown
            if is_ctrl_c(worse):
                raise
            where = "{}:{}".format(*_place(error))
            _log.error(event, **about, reason=shown(error), raised_at=where)


class SupervisedThread(threading.Thread):
    """A thread whose work is begun again when it fails, with back-off, until `stopped` is set.

    target: the work. It is over when it returns; it has to be such that it can be begun anew, and
    it is, once more, when it is stopped while it waits. Whatever it raises is in the log, whole.
    """

    def __init__(
        self, name: str, target: Callable[[], object], stopped: threading.Event | None = None
    ) -> None:
        super().__init__(name=name, daemon=True)
        self._work = target
        self._stopped_event = stopped or threading.Event()

    def run(self) -> None:
        backoff = Backoff()
        while True:
            began = time.monotonic()
            try:
                self._work()
            except BaseException as error:  # SystemExit too: a thread must not end unnoticed
                if time.monotonic() - began > _WORKED:
                    backoff.reset()
                wait = backoff.wait()
                over = self._stopped_event.is_set()
                event = "thread failed at its end" if over else "thread failed, starting it again"
                _log.error(event, thread=self.name, again_in=round(wait, 1), exc_info=error)
                if over:
                    return
                self._stopped_event.wait(wait)
            else:
                return


def _place(error: BaseException) -> tuple[str, int]:
    """Where it was raised: file and line."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return (trace.tb_frame.f_code.co_filename, trace.tb_lineno) if trace else ("", 0)
