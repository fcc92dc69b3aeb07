"""How often is a failure told that repeats? Once, then once a minute with a count, and its end."""

from __future__ import annotations

import time
from typing import Any

import structlog

from k8s_ovs.errors import Unavailable

__all__ = ["FailureLog"]

_log = structlog.get_logger(__name__)

_EVERY = 60.0
_CALM = 15.0


class FailureLog:
    """The log lines of one thing that is tried again and again, for one thread.

    failed, ended: the lines' words, as "status not written" and "status written again". every:
    seconds between two lines of the same failure, which it still is when it comes back less than
    `calm` seconds after its end. fields: what each line names.
    """

    def __init__(
        self,
        failed: str,
        ended: str,
        every: float = _EVERY,
        calm: float = _CALM,
        **fields: Any,
    ) -> None:
        self._failed = failed
        self._ended = ended
        self._every = every
        self._calm = calm
        self._log = _log.bind(**fields)
        self._told_at: dict[type[Exception], float] = {}
        self._untold = 0
        self._is_told = False
        self._ended_at: float | None = None

    def failed(self, error: Exception, **fields: Any) -> None:
        """It failed (again): a line where that is news, or one is due."""
        now = time.monotonic()
        if self._ended_at is not None and now >= self._ended_at + self._calm:
            self._told_at.clear()
            self._untold = 0
        self._ended_at = None
        self._untold += 1
        # Why there is no answer differs from call to call: to people it is one failure.
        kind = Unavailable if isinstance(error, Unavailable) else type(error)
        if kind in self._told_at and now < self._told_at[kind] + self._every:
            return
        times = {"times": self._untold} if self._untold > 1 else {}
        self._log.warning(self._failed, reason=str(error), **times, **fields)
        self._told_at[kind], self._untold, self._is_told = now, 0, True

    def worked(self, **fields: Any) -> None:
        """It worked: a line if the log says that it fails."""
        if self._ended_at is None:
            self._ended_at = time.monotonic()
        if self._is_told:
            self._is_told = False
            self._log.info(self._ended, **fields)
