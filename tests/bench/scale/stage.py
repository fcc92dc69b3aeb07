"""How does one real node come to live among simulated ones?

etcd, the API server, the daemon and Open vSwitch are real, in a lab of one node. What the other
nodes would have written is in etcd and in the API server when the daemon starts.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection

from attrs import define
from tests.bench.scale.cluster import CONFIG, Cluster, Size, make_cluster, records
from tests.bench.scale.flow_monitor import FlowMonitor
from tests.bench.scale.gateway import Gateway
from tests.bench.scale.living import Change, Living, Request
from tests.bench.scale.meter import Traffic
from tests.bench.scale.objects import objects
from tests.bench.steps import Log

from k8s_ovs.model.node_status import LEADER_KEY, SUCCESSOR_KEY
from k8s_ovs_lab import Lab, LabSettings, servers
from k8s_ovs_lab.command import inside
from k8s_ovs_lab.kube.objects import Objects
from k8s_ovs_lab.layout import ETCD_PREFIX, ROUTER, LabNode
from k8s_ovs_lab.lifecycle import is_ready
from k8s_ovs_lab.process import LabProcess, await_that

__all__ = ["LOCAL_PODS", "NODE", "Progress", "Stage", "namespace_of", "staged"]

Progress = Callable[[str], None]

NODE = "node1"
#: Pods of the real node, and of how many namespaces they are.
LOCAL_PODS, _LOCAL_NAMESPACES = 10, 5
_BASE = str(CONFIG["Name"])
_LEADER, _SUCCESSOR = f"{_BASE}/{LEADER_KEY}", f"{_BASE}/{SUCCESSOR_KEY}"
_READY_WITHIN = 300.0
#: Seconds in which a start ends what it has begun: the first look of everything, the first status.
_CALM = 5.0


@define
class Stage:
    """leads: whether the real node's daemon is the leader; else somebody else is, who is silent and
    whose answers `apply` writes."""

    lab: Lab
    cluster: Cluster
    living: Living
    etcd: Gateway
    kube: Objects
    log: Log
    flows: FlowMonitor
    traffic: Traffic
    leads: bool = False

    @property
    def node(self) -> LabNode:
        """The real one."""
        return self.lab.node(NODE)

    @property
    def pid(self) -> int:
        """Of its daemon."""
        pid = servers.daemon(self.node).pid()
        if pid is None:
            raise ValueError(f"the daemon of {NODE} does not run")
        return pid

    def apply(self, change: Change) -> int:
        """Carry a change out; etcd's revision of what was written, 0: nothing was."""
        if change.request is not None:
            self._ask(change.request)
        revision = 0
        for written in (change.asked, {} if self.leads else change.answer):
            below = {f"{_BASE}/{path}": value for path, value in written.items()}
            revision = self.etcd.write(below) or revision
        return revision

    def read(self, path: str) -> tuple[dict[str, object], int] | None:
        """A record below the network's name, and its revision."""
        return self.etcd.read(f"{_BASE}/{path}")

    @property
    def guest(self) -> str:
        """A namespace without a pod on the real node."""
        return self.cluster.namespaces[-1].name

    def count(self, kind: str) -> int:
        """How many records of a kind there are."""
        return self.etcd.count(f"{_BASE}/{kind}/")

    def clear(self, kind: str) -> None:
        """Delete all records of a kind."""
        self.etcd.clear(f"{_BASE}/{kind}/")

    def follow(self) -> None:
        """Let others be the leader and its successor, while the daemon does not run."""
        holder = b'{"holder":"somebody else"}'
        self.etcd.write({_LEADER: holder, _SUCCESSOR: holder})
        self.leads = False

    def lead(self) -> None:
        """Let the daemon be the leader; returns when it is."""
        self.etcd.write({_LEADER: None, _SUCCESSOR: None})
        await_that(f"{NODE} leads", self._is_leader, 30)
        self.leads = True

    def start(self) -> float:
        """Start the daemon; seconds until its status says that it is ready."""
        begin = time.monotonic()
        self.lab.start_daemon(NODE, wait=False)
        process = servers.daemon(self.node)
        await_that(
            f"{NODE} is ready", lambda: is_ready(self.node), _READY_WITHIN, process.log, process
        )
        return time.monotonic() - begin

    def calm(self) -> None:
        """Wait until a start is over for good."""
        time.sleep(_CALM)

    def _is_leader(self) -> bool:
        found = self.etcd.read(_LEADER)
        return found is not None and found[0]["holder"] == NODE

    def _ask(self, request: Request) -> None:
        kube = self.kube.kube
        with inside(self.kube.netns):
            if request.method == "POST":
                kube.create(request.path, request.body or {})
            elif request.method == "PATCH":
                kube.patch(request.path, request.body or {})
            else:
                kube.delete(request.path)


def namespace_of(number: int) -> str:
    """Of which namespace a pod of the real node is, by its number."""
    return f"project{number % _LOCAL_NAMESPACES}"


@contextmanager
def staged(name: str, size: Size, seed: int, progress: Progress) -> Iterator[Stage]:
    """A lab of one node in a cluster of that size. Its daemon runs and follows another leader."""
    plugin = str(CONFIG["PluginName"])
    lab = Lab.up(
        LabSettings(name=name, nodes=1, plugin=plugin, config=dict(CONFIG)), report=progress
    )
    try:
        cluster = make_cluster(size, seed, {NODE: lab.node(NODE).address})
        progress(f"records and objects of {size.name}")
        etcd = Gateway(str(ROUTER.ip), 2379, f"{ETCD_PREFIX}/", lab.layout.fabric)
        _load(lab, cluster, etcd)
        traffic = Traffic(lab.layout.fabric, etcd, _page(lab.layout.fabric))
        kube, flows = servers.objects(lab.layout), FlowMonitor(lab, NODE)
        kept = [*map(namespace_of, range(LOCAL_PODS)), cluster.namespaces[-1].name]
        stage = Stage(lab, cluster, Living(cluster, kept), etcd, kube, Log(lab), flows, traffic)
        stage.follow()
        progress(f"ready after {stage.start():.1f} s; {LOCAL_PODS} pods")
        for number in range(LOCAL_PODS):
            lab.run_pod(NODE, f"local{number}", namespace_of(number))
        stage.calm()
        yield stage
    finally:
        lab.down(progress)


def _load(lab: Lab, cluster: Cluster, etcd: Gateway) -> None:
    """Put the cluster in the place of what the lab has of its own."""
    lab.stop_daemon(NODE)
    lab.part("apiserver").kill()
    etcd.clear(f"{_BASE}/")
    etcd.write(records(cluster))
    path = lab.layout.directory / "objects.json"
    with path.open("w") as file:
        file.writelines(json.dumps(each) + "\n" for each in objects(cluster))
    program = [sys.executable, "-m", "k8s_ovs_testing.apiserver", f"--listen={ROUTER.ip}:6443"]
    program += [f"--service-range={CONFIG['ServiceNetwork']}", f"--load={path}"]
    process = LabProcess(lab.layout.directory / "apiserver", "apiserver")
    process.start(program, lab.layout.fabric)
    ready = servers.objects(lab.layout).ready
    await_that("the API server has all objects", ready, 120, process.log, process)


def _page(netns: str) -> Callable[[], str]:
    """What the API server tells Prometheus."""

    def page() -> str:
        connection = HTTPConnection(str(ROUTER.ip), 6443, timeout=10)
        with inside(netns):
            connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        return text

    return page
