"""Something that the daemon gives outward, a file or a page: what if that cannot be done?

Full disks, taken ports and directories in the way are no reason to stop serving pods. So it is told
once, it is a problem of the node until it works, and it is tried again with back-off.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from k8s_ovs.backoff import Backoff
from k8s_ovs.errors import K8sOvsError, shown
from k8s_ovs.supervise import FaultLog

__all__ = ["Output"]

_log = structlog.get_logger(__name__)

_LONGEST_WAIT = 60.0


class Output:
    """One output, `what` by name. For one thread.

    problem: why it does not work; "": it does. due_at: when to try it again (time.monotonic());
    None: no need.
    """

    def __init__(self, what: str, longest_wait: float = _LONGEST_WAIT) -> None:
        self._what = what
        self._backoff = Backoff(first=1.0, cap=longest_wait)
        self._faults = FaultLog()
        self.problem = ""
        self.due_at: float | None = None

    @property
    def put_off(self) -> bool:
        """Whether it has failed and it is not yet time to try it again."""
        return self.due_at is not None and time.monotonic() < self.due_at

    def attempt(self, action: Callable[[], object]) -> bool:
        """Do it; whether it has worked. Never raises."""
        try:
            action()
        except BaseException as error:  # of a plugin's, too: nothing of this ends a daemon
            self._fail(error)
            return False
        if self.problem:
            _log.info(f"{self._what} works again")
        self.problem, self.due_at = "", None
        self._backoff.reset()
        return True

    def _fail(self, error: BaseException) -> None:
        if isinstance(error, K8sOvsError):
            reason = str(error)
        elif isinstance(error, OSError):
            where = f"{error.filename}: " if error.filename else ""
            reason = f"{where}{error.strerror or error}"
        else:
            self._faults.tell(f"{self._what} failed", error)
            reason = f"k8s-ovs failed: {shown(error)}"
        problem = f"{self._what}: {reason}"
        if problem != self.problem:
            _log.warning(f"{self._what} does not work, trying again", reason=reason)
        self.problem = problem
        self.due_at = time.monotonic() + self._backoff.wait()
