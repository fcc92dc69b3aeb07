"""A server that is no node of the cluster: Open vSwitch, k8s-ovs and HAProxy, and no kubelet."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from attrs import frozen
from tests.cluster.lifecycle import datapath_here
from tests.cluster.place import Place
from tests.kernel.drives import TREE

from k8s_ovs_lab import servers
from k8s_ovs_lab.command import run
from k8s_ovs_lab.host import add_host, remove_host
from k8s_ovs_lab.layout import LabNode, LabSettings, Layout
from k8s_ovs_lab.lifecycle import await_node
from k8s_ovs_lab.process import LabProcess
from k8s_ovs_lab.state import LabState

__all__ = ["Outside", "outside"]

OPERATIONS = TREE / "docs" / "operations.md"


@frozen
class Outside:
    """A host of the same underlay, with Open vSwitch running. Methods raise K8sOvsError."""

    layout: Layout
    host: LabNode

    def start_daemon(self) -> None:
        """Run `k8s-ovs node` with etcd's address and no API server, until its network serves."""
        servers.start_daemon(self.layout, self.host, "auto")
        await_node(self.host)

    def start_haproxy(self, *backends: str) -> None:
        """Run HAProxy at port 80 as the document shows it, with these servers, each HOST:PORT."""
        (shown,) = re.findall(
            r"^   listen shop\n(?:    .*\n)+", OPERATIONS.read_text(), re.MULTILINE
        )
        listed = [f"server web{number} {each} check" for number, each in enumerate(backends)]
        config = self.host.directory / "haproxy.cfg"
        config.write_text("\n".join([shown[: shown.index("server web")], *listed, ""]))
        process = LabProcess(self.host.directory, "haproxy")
        process.start(["haproxy", "-db", "-f", str(config)], netns=self.host.netns)

    def succeeds(self, *command: str) -> bool:
        """Whether the command ends well on this host."""
        return run(command, netns=self.host.netns, check=False).returncode == 0


@contextmanager
def outside(place: Place, name: str) -> Iterator[Outside]:
    """Such a host, until it goes with all that runs on it."""
    state = LabState(LabSettings(place.name, place.count), datapath_here())
    host = add_host(place.layout, state, name)
    try:
        yield Outside(place.layout, host)
    finally:
        remove_host(place.layout, host)
