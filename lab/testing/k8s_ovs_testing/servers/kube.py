"""An API server of one's own, for tests: the embedded one in a process.

    with ApiServerProcess() as api:
        ... api.url ...

Its objects are in memory: `restart` forgets them, and old resource versions are gone (410).
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from urllib.error import URLError
from urllib.request import urlopen

from k8s_ovs.errors import K8sOvsError, TimedOut
from k8s_ovs_testing.servers.ending import end
from k8s_ovs_testing.servers.etcd import free_port

__all__ = ["ApiServerProcess"]


class ApiServerProcess:
    """One server on a loopback port, which it keeps when it is started again.

    history: changes that a watch may lag behind before it gets 410.
    bookmark_interval: seconds of silence before a watch gets a bookmark.
    """

    def __init__(self, *, history: int = 10_000, bookmark_interval: float = 60.0) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._options = (f"--history={history}", f"--bookmark-interval={bookmark_interval}")
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> ApiServerProcess:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, timeout: float = 20.0) -> None:
        """Start and wait until it serves; raises TimedOut, and K8sOvsError if it ends instead."""
        # The kernel ends it with the test run, however that ends.
        with_us = ("setpriv", "--pdeathsig", "KILL")
        program = (sys.executable, "-m", "k8s_ovs_testing.apiserver")
        self._process = subprocess.Popen(
            [*with_us, *program, f"--listen=127.0.0.1:{self.port}", *self._options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + timeout
        while not self._ready():
            if self._process.poll() is not None:
                raise K8sOvsError(f"API server at {self.url} ended: {self._process.returncode}")
            if time.monotonic() > deadline:
                self.stop()
                raise TimedOut(f"API server at {self.url} was not ready in {timeout:g} s")
            time.sleep(0.02)

    def stop(self) -> int | None:
        """End it and return its exit status; None if it was not running."""
        process, self._process = self._process, None
        return None if process is None else end(process)

    def restart(self) -> None:
        """Stop, and start an empty one on the same port."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nothing answers, as on a machine that hangs."""
        self._running().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Undo `pause`."""
        self._running().send_signal(signal.SIGCONT)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise K8sOvsError(f"API server at {self.url} is not running: start() it first")
        return self._process

    def _ready(self) -> bool:
        with contextlib.suppress(URLError, OSError), urlopen(f"{self.url}/readyz", timeout=1):  # noqa: S310 - always http
            return True
        return False
