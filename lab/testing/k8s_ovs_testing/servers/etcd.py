"""A real etcd in a directory of its own, for tests and for the lab.

    with EtcdProcess(directory) as etcd:
        ... etcd.endpoint, etcd.ctl("put", "a", "1") ...

The lab starts one with `detached=True`, exits, and ends it from another program with
`EtcdProcess.stop_recorded(directory)`: the directory's `etcd.pid` says which process it is.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from k8s_ovs.errors import K8sOvsError, TimedOut
from k8s_ovs_testing.servers.certificates import Certificates
from k8s_ovs_testing.servers.ending import end

__all__ = ["EtcdProcess", "free_port"]

# Below the ports that the kernel hands to clients, so that none takes it while etcd is stopped.
_PORTS = range(20000, 32000)
# Port 0: nobody is to reach the peer port of a cluster of one.
_PEER = "http://127.0.0.1:0"


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port of this network namespace on which nothing listens."""
    for port in random.sample(_PORTS, 200):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family) as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            return port
    raise K8sOvsError(f"no free TCP port found on {host} in {_PORTS.start}..{_PORTS.stop}")


class EtcdProcess:
    """One etcd server, a cluster of one.

    directory: holds `data`, `etcd.log` and `etcd.pid`; kept by stop().
    host, port: where clients are served; port None: a free one, in a namespace 2379.
    netns: the name of a network namespace (/run/netns/NAME) to run in, whose loopback is up.
    certificates: serve TLS only, and only to clients that show a certificate of the same CA; to
    all, where the attribute client_certificates is False.
    detached: the process outlives this program, else it is killed with it.
    durable: data are synced to the disk; without it etcd is quicker, and loses data when the
    machine (not the process) crashes.
    quota: bytes that its database may take, 0: etcd's default.
    """

    def __init__(
        self,
        directory: Path,
        *,
        host: str = "127.0.0.1",
        port: int | None = None,
        netns: str | None = None,
        certificates: Certificates | None = None,
        detached: bool = False,
        durable: bool = False,
        quota: int = 0,
    ) -> None:
        self.directory = directory
        self.netns = netns
        self.certificates = certificates
        self.client_certificates = True
        self._detached = detached
        self._durable = durable
        self._quota = quota
        scheme = "https" if certificates else "http"
        bracketed = f"[{host}]" if ":" in host else host
        if port is None:
            port = 2379 if netns else free_port(host)
        self.endpoint = f"{scheme}://{bracketed}:{port}"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> EtcdProcess:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """The process's id while it runs."""
        if self._process is None or self._process.poll() is not None:
            return None
        return self._process.pid

    def start(self, timeout: float = 15.0) -> None:
        """Start and wait until clients are served, `timeout` seconds at most.

        Raises K8sOvsError with the last lines of the log when etcd ends, TimedOut when it is slow.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        # A Unix socket is seen from every network namespace. Its path must be a short one.
        with (
            tempfile.TemporaryDirectory(prefix="etcd-ready-") as ready_directory,
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready,
            self._log.open("ab") as log,
        ):
            ready.bind(f"{ready_directory}/s")
            self._process = subprocess.Popen(
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={
                    "PATH": os.environ.get("PATH", os.defpath),
                    "NOTIFY_SOCKET": f"{ready_directory}/s",
                },
                start_new_session=self._detached,
            )
            self._pid_file.write_text(f"{self._process.pid}\n")
            self._await_ready(ready, timeout)

    def stop(self) -> None:
        """End the process, kindly and then for good; fine when it has ended already."""
        if self._process is None:
            return
        end(self._process)
        self._pid_file.unlink(missing_ok=True)
        self._process = None

    def restart(self) -> None:
        """Stop and start on the same data and address."""
        self.stop()
        self.start()

    def restore(self, backup: Path) -> None:
        """Stop, and start on what `ctl("snapshot", "save", backup)` wrote, as people do it."""
        self.stop()
        self.restore_data(backup, self.directory / "data")
        self.start()

    @staticmethod
    def restore_data(backup: Path, data: Path) -> None:
        """Make the data directory of an etcd that does not run what the snapshot `backup` says."""
        shutil.rmtree(data)
        command = ["etcdctl", "snapshot", "restore", str(backup), "--name=etcd"]
        command += ["--data-dir", str(data)]
        command += [f"--initial-cluster=etcd={_PEER}", f"--initial-advertise-peer-urls={_PEER}"]
        environment = {"PATH": os.environ.get("PATH", os.defpath), "ETCDCTL_API": "3"}
        subprocess.run(command, env=environment, check=True, capture_output=True, timeout=15)

    def kill(self) -> None:
        """End the process as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(5)

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nothing answers, as on a machine that hangs."""
        self._running_process().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Undo pause()."""
        self._running_process().send_signal(signal.SIGCONT)

    def ctl(self, *words: str, username: str = "", password: str = "") -> str:
        """What `etcdctl WORDS` prints. Raises K8sOvsError with its complaint when it fails."""
        command = [*self._enter_namespace(), "etcdctl", "--endpoints", self.endpoint]
        if self.certificates:
            client = self.certificates
            command += ["--cacert", str(client.ca), "--cert", str(client.client_certificate)]
            command += ["--key", str(client.client_key)]
        if username:
            command += ["--user", f"{username}:{password}"]
        environment = {"PATH": os.environ.get("PATH", os.defpath), "ETCDCTL_API": "3"}
        done = subprocess.run(
            [*command, *words],
            env=environment,
            capture_output=True,
            timeout=15,
            text=True,
            check=False,
        )
        if done.returncode:
            raise K8sOvsError(f"etcdctl {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    def enable_auth(self, root_password: str, users: Mapping[str, tuple[str, str]]) -> None:
        """Turn authentication on. users: name -> (password, the key prefix it may use)."""
        self.ctl("user", "add", f"root:{root_password}")
        self.ctl("user", "grant-role", "root", "root")
        for name, (password, prefix) in users.items():
            self.ctl("user", "add", f"{name}:{password}")
            self.ctl("role", "add", name)
            self.ctl("role", "grant-permission", name, "readwrite", prefix, "--prefix=true")
            self.ctl("user", "grant-role", name, name)
        self.ctl("auth", "enable")

    @staticmethod
    def running_pid(directory: Path) -> int | None:
        """The id of the etcd that `directory` records, None when it does not run (any more)."""
        try:
            pid = int((directory / "etcd.pid").read_text())
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError):
            return None
        # The id may have gone to another program since.
        return pid if os.fsencode(directory / "data") in words else None

    @staticmethod
    def stop_recorded(directory: Path, timeout: float = 5.0) -> bool:
        """End the etcd that another program left running in `directory`; False: there was none."""
        pid = EtcdProcess.running_pid(directory)
        if pid is not None:
            for number in (signal.SIGCONT, signal.SIGTERM):
                os.kill(pid, number)
            deadline = time.monotonic() + timeout
            while EtcdProcess.running_pid(directory) and time.monotonic() < deadline:
                time.sleep(0.02)
            if EtcdProcess.running_pid(directory):
                os.kill(pid, signal.SIGKILL)
        (directory / "etcd.pid").unlink(missing_ok=True)
        return pid is not None

    @property
    def _log(self) -> Path:
        return self.directory / "etcd.log"

    @property
    def _pid_file(self) -> Path:
        return self.directory / "etcd.pid"

    def _running_process(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise K8sOvsError(f"etcd in {self.directory} is not running: start() it first")
        return self._process

    def _enter_namespace(self) -> list[str]:
        return ["nsenter", f"--net=/run/netns/{self.netns}"] if self.netns else []

    def _command(self) -> list[str]:
        command = [] if self._detached else ["setpriv", "--pdeathsig", "KILL"]
        command += [*self._enter_namespace(), "etcd", "--name=etcd"]
        command += ["--data-dir", str(self.directory / "data")]
        command += ["--listen-client-urls", self.endpoint, "--advertise-client-urls", self.endpoint]
        command += ["--listen-peer-urls", _PEER, "--initial-advertise-peer-urls", _PEER]
        command += [f"--initial-cluster=etcd={_PEER}", "--bcrypt-cost=4", "--enable-v2=false"]
        # A cluster of one has nobody to lose an election to: it need not wait a second for it.
        command += ["--heartbeat-interval=20", "--election-timeout=200"]
        if self._quota:
            command += [f"--quota-backend-bytes={self._quota}"]
        if self.certificates:
            server = self.certificates
            if self.client_certificates:
                command += ["--client-cert-auth", "--trusted-ca-file", str(server.ca)]
            command += ["--cert-file", str(server.server_certificate)]
            command += ["--key-file", str(server.server_key)]
        return command if self._durable else [*command, "--unsafe-no-fsync"]

    def _await_ready(self, ready: socket.socket, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        ready.settimeout(0.05)
        while time.monotonic() < deadline:
            with contextlib.suppress(TimeoutError):
                if b"READY=1" in ready.recv(256):
                    return
            if self.pid is None:
                raise K8sOvsError(f"etcd at {self.endpoint} ended at once: {self._last_words()}")
        self.stop()
        raise TimedOut(
            f"etcd at {self.endpoint} was not ready in {timeout:g} s: {self._last_words()}"
        )

    def _last_words(self) -> str:
        return " | ".join(self._log.read_text(errors="replace").splitlines()[-3:])
