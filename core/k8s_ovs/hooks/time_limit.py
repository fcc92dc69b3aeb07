"""How long may a plugin's code run? What takes long is named; what does not return is
interrupted, and rests for a while.

All of a node waits for its plugins, so one that waits for ever would stop it.
"""

from __future__ import annotations

import ctypes
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import structlog

from k8s_ovs.supervise import SupervisedThread

__all__ = ["LIMIT", "REST", "HookTimeout", "Rest", "Resting", "TimeLimit"]

T = TypeVar("T")

_log = structlog.get_logger(__name__)

#: Seconds between two looks at what runs.
_LOOK_EVERY = 0.5
#: Seconds for which a function that did not return is not called again.
REST = 60.0
#: Seconds after which code is slow, and for which that is not told again.
_SLOW, _TOLD_EVERY = 0.5, 60.0


class HookTimeout(BaseException):
    """Raised in a plugin's code that has run for too long. No plugin catches it by mistake."""


class Resting(HookTimeout):
    """It was not called: it did not return a while ago."""


class TimeLimit:
    """seconds: how long code may run. It is kept while the limit is watched, which a daemon does.

    The main thread is interrupted wherever it is; another one not in a call of the kernel, where it
    is interrupted when that returns.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        # By thread: since when, and what. What a function calls in turn counts as its own.
        self._running: dict[int, tuple[float, str]] = {}
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._told: set[str] = set()
        # When code was last told to be slow.
        self._slow: dict[str, float] = {}

    def watch(self) -> None:
        """Keep the limit from now on. In the main thread, as it takes over SIGALRM."""
        signal.signal(signal.SIGALRM, self._interrupted)
        self._stopped.clear()
        self._thread = SupervisedThread(
            name="hook-limit", target=self._watch, stopped=self._stopped
        )
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    @contextmanager
    def running(self, what: str) -> Iterator[None]:
        """The block is a plugin's code. One within another is a part of it."""
        if self.inside:
            yield
            return
        begun = self.begin(what)
        try:
            yield
        finally:
            self.end(begun)

    def begin(self, what: str) -> int:
        """A plugin's code runs from now on, in this thread; what `end` gets. As `running`, which
        costs five times as much."""
        thread = threading.get_ident()
        self._running[thread] = time.monotonic(), what
        return thread

    def end(self, begun: int) -> None:
        """It runs no more; nothing happens where that is known."""
        since, what = self._running.pop(begun, (0.0, ""))
        took = time.monotonic() - since
        if _SLOW < took < self.seconds:
            self._tell_slow(what, took)

    def _tell_slow(self, what: str, took: float) -> None:
        now = time.monotonic()
        if now >= self._slow.get(what, 0.0):
            self._slow[what] = now + _TOLD_EVERY
            expected = f"less than {_SLOW:g}"
            _log.warning("plugin is slow", what=what, seconds=round(took, 2), expected=expected)

    @property
    def inside(self) -> bool:
        """Whether this thread runs a plugin's code."""
        return threading.get_ident() in self._running

    def _watch(self) -> None:
        while not self._stopped.wait(_LOOK_EVERY):
            for thread, (since, what) in self._running.copy().items():
                if time.monotonic() - since > self.seconds:
                    self._interrupt(thread, what)

    def _interrupt(self, thread: int, what: str) -> None:
        if what not in self._told:
            self._told.add(what)
            _log.error("plugin does not return, interrupting it", what=what, seconds=self.seconds)
        if thread == threading.main_thread().ident:
            signal.pthread_kill(thread, signal.SIGALRM)
        else:
            set_exception = ctypes.pythonapi.PyThreadState_SetAsyncExc
            set_exception(ctypes.c_ulong(thread), ctypes.py_object(HookTimeout))

    def _interrupted(self, _number: int, _frame: object) -> None:
        if self.inside:
            raise HookTimeout


#: Of this process.
LIMIT = TimeLimit(10.0)


class Rest:
    """Calls one function of a plugin, and does not for a while after it did not return.

    what: `plugin NAME: HOOK`.
    """

    def __init__(self, what: str, limit: TimeLimit = LIMIT) -> None:
        self._what = what
        self._limit = limit
        self._until = 0.0

    def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """What it returns. Raises Resting, HookTimeout, and whatever it raises."""
        if self._until and time.monotonic() < self._until:
            raise Resting(self._text())
        if self.nested:
            return function(*arguments)
        begun = self._limit.begin(self._what)
        try:
            try:
                return function(*arguments)
            finally:
                self._limit.end(begun)
        except HookTimeout as error:
            self._limit.end(begun)  # it may be interrupted once more while it ends
            self._until = time.monotonic() + REST
            raise HookTimeout(self._text()) from error

    @property
    def nested(self) -> bool:
        """Whether another plugin's code, which runs still, is who calls."""
        return self._limit.inside

    def _text(self) -> str:
        return f"did not return within {self._limit.seconds:g} s, and rests for {REST:g} s"
