"""The lab as the demonstration's stage: commands run in its places, deeds are done to it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from k8s_ovs.errors import K8sOvsError, TimedOut
from k8s_ovs_lab import servers
from k8s_ovs_lab.demo import server as demo_server
from k8s_ovs_lab.demo.bandwidth import LIMITED
from k8s_ovs_lab.demo.play import THIS_MACHINE, Outcome
from k8s_ovs_lab.lab import Lab
from k8s_ovs_lab.layout import LabNode, Layout
from k8s_ovs_lab.process import LabProcess

__all__ = ["LabStage"]

_WEB = Path(demo_server.__file__)


class LabStage:
    """A lab that a step of the demonstration brings up."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self.deeds: dict[str, Callable[[], None]] = {
            "serve": self._serve,
            "join node3": lambda: self._join(self._layout.node(3)),
            "join node2": lambda: self._join(self._layout.node(2)),
            "delete node3": lambda: self._delete("node3"),
            "delete node2": lambda: self._delete("node2"),
            "restart daemons": self._restart_daemons,
            "limit 50M": lambda: self._limit("50M"),
            "limit none": lambda: self._limit(None),
            "add lb1": lambda: self._add_host("lb1"),
            "start lb1": lambda: self._lab.start_daemon("lb1"),
        }

    def run(self, where: str, command: str, timeout: float, line: Callable[[str], None]) -> Outcome:
        """Run a shell command in a place; each line of its output is told as it comes."""
        process = self._start(where, command)
        late = threading.Timer(timeout, _end, [process])
        late.start()
        lines = []
        try:
            for text in process.stdout or ():
                lines.append(text.rstrip("\n"))
                line(lines[-1])
            status = process.wait()
        finally:
            in_time = late.is_alive()
            late.cancel()
            _end(process)
        if not in_time:
            raise TimedOut(f"no end within {timeout:g} s")
        return Outcome("\n".join(lines), status)

    def do(self, deed: str) -> None:
        """Do what an act of the script says. Raises K8sOvsError for an unknown deed."""
        if deed not in self.deeds:
            raise K8sOvsError(f"no deed {deed!r}: there are {', '.join(self.deeds)}")
        self.deeds[deed]()

    @property
    def _lab(self) -> Lab:
        return Lab.open(self._layout.name, self._layout.directory)

    def _start(self, where: str, command: str) -> subprocess.Popen[str]:
        words = ["sh", "-c", command]
        # As if the virtual environment that this program is in were active.
        environment = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        if where != THIS_MACHINE:
            words, environment = self._lab.command(where, words)
        return subprocess.Popen(
            words,
            env=os.environ | environment | {"COLUMNS": "100"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )

    def _serve(self) -> None:
        """Web servers and iperf3 servers; they end with the namespaces that they run in."""
        lab = self._lab
        netns = {title.partition("/")[2]: pod.netns for title, pod in lab.pods().items()}
        netns |= {node.name: node.netns for node in lab.nodes} | {"outside": lab.layout.outside}
        directory = self._layout.directory / "demo"
        for name, namespace in netns.items():
            web = ["/usr/bin/python3", "-IS", str(_WEB), name]
            LabProcess(directory, f"web-of-{name}").start(web, namespace)
            LabProcess(directory, f"iperf3-of-{name}").start(["iperf3", "-s"], namespace)

    def _join(self, node: LabNode) -> None:
        objects = servers.objects(self._layout)
        objects.ensure_node(node)
        if servers.daemon(node).running():
            objects.mark_node(node, ready=True)

    def _delete(self, node: str) -> None:
        servers.objects(self._layout).delete_node(node)

    def _limit(self, rate: str | None) -> None:
        keys = ("kubernetes.io/ingress-bandwidth", "kubernetes.io/egress-bandwidth")
        pod = self._lab.pod("/".join(LIMITED))
        servers.objects(self._layout).annotate_pod(pod, dict.fromkeys(keys, rate))

    def _add_host(self, name: str) -> None:
        self._lab.add_host(name)

    def _restart_daemons(self) -> None:
        lab = self._lab
        for node in lab.nodes:
            lab.part(f"{node.name}/daemon").kill()
        for node in lab.nodes:
            lab.start_daemon(node.name)


def _end(process: subprocess.Popen[str]) -> None:
    """End the command, if it runs, and all that it started."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
