"""How does a server of a test end? Kindly, and then for good."""

from __future__ import annotations

import signal
import subprocess

__all__ = ["end"]

#: Seconds for each of the two.
_LIMIT = 5.0


def end(process: subprocess.Popen[bytes]) -> int:
    """The exit status of a process that is ended here, or has ended; one that is stopped too."""
    if process.poll() is None:
        process.send_signal(signal.SIGCONT)
        process.terminate()
    try:
        return process.wait(_LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait(_LIMIT)
