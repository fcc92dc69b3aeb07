"""The daemon of a node: starts the parts, reconciles, ends them.

One thread reconciles. Observers, the CNI server and the allocator have threads of their own
and talk to it through the inbox.
"""

from __future__ import annotations

import signal
import threading
import time
from contextlib import ExitStack
from typing import Literal

import structlog

from k8s_ovs.allocate.allocator import Allocator
from k8s_ovs.allocate.election import LeaderElection
from k8s_ovs.errors import K8sOvsError, Unavailable
from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.model.network import NetworkConfig
from k8s_ovs.model.node_status import SEEN, STATUS
from k8s_ovs.node.attach import Attachments
from k8s_ovs.node.cni.protocol import CniError, CniRequest, Code
from k8s_ovs.node.cni.server import CniServer, Reply
from k8s_ovs.node.commit import Committer
from k8s_ovs.node.inbox import Inbox
from k8s_ovs.node.ingest import ETCD, KUBE, LEFT_OUT, Ingest
from k8s_ovs.node.install.cni_config import CNI_VERSION
from k8s_ovs.node.install.installer import install
from k8s_ovs.node.network import Network
from k8s_ovs.node.settings import NodeSettings
from k8s_ovs.node.setup import Setup
from k8s_ovs.node.switch import Switch
from k8s_ovs.node.tell.event_recorder import EventRecorder
from k8s_ovs.node.tell.metrics import Metrics
from k8s_ovs.node.tell.node_state import NodeState, node_state_of
from k8s_ovs.node.tell.status_file import StatusFile
from k8s_ovs.node.tell.status_publisher import StatusPublisher
from k8s_ovs.observe.backoff import Backoff
from k8s_ovs.observe.etcd.client import Etcd
from k8s_ovs.observe.etcd.watch import PrefixWatch
from k8s_ovs.observe.kube import Involved, Kube, ResourceWatch, WatchedResource, post_event
from k8s_ovs.observe.watch_event import RecordChange, Snapshot, WatchEvent
from k8s_ovs.ovs.poller import wait
from k8s_ovs.plugin.values import Event

__all__ = ["Daemon"]

_log = structlog.get_logger(__name__)

#: Seconds between two looks at all flows that the switch has.
_RESYNC = 60.0
_LEADER_TTL = 10
#: The leader election's key, below the network's prefix.
_ELECTION = "allocator"

_OUTSIDE = (
    "it is no Kubernetes node, as no API server is named "
    "(KUBECONFIG, KUBERNETES_MASTER, or the pod's service account)"
)


class Daemon:
    """`run` returns after SIGTERM or SIGINT. Flows and ports stay: packets go on."""

    def __init__(self, settings: NodeSettings) -> None:
        self._settings = settings
        self._inbox = Inbox()
        self._ingest = Ingest()
        self._switch = Switch(settings.ovs_run_dir, settings.datapath)
        self._attachments = Attachments(settings.cni_wait)
        self._committer = Committer(self._switch, self._attachments, settings.hostname)
        self._setup = Setup(settings, self._switch, self._ingest, self._on_config)
        self._etcd = Etcd(settings.etcd)
        self._kube = Kube(settings.kube) if settings.kube else None
        self._watches: dict[str, ResourceWatch] = {}
        self._allocation: tuple[str, LeaderElection, Allocator] | None = None
        self._publisher: tuple[str, StatusPublisher] | None = None
        self._applied = 0
        self._installed = False
        self._status = StatusFile(settings.cni_socket.parent / "status.json")
        self._stopping = threading.Event()
        self._backoff = Backoff()
        self._again_at: float | None = None
        self._resync_at = 0.0
        self._reason = "the daemon is starting"
        self._event_recorder = EventRecorder(self._record_event)
        self._metrics = Metrics(self._state())

    def run(self) -> None:
        """Serve until told to stop. Raises K8sOvsError where it cannot start at all."""
        with ExitStack() as stack:
            cni = CniServer(self._settings.cni_socket, self._hear, count=self._metrics.cni)
            cni.start()
            stack.callback(cni.stop)
            if self._settings.metrics:
                stack.callback(self._metrics.serve(self._settings.metrics))
            stack.callback(self._end_parts)
            watch = PrefixWatch(self._etcd, f"{self._settings.prefix}/", ETCD, self._see, LEFT_OUT)
            watch.start()
            stack.callback(watch.stop)
            if self._kube is not None:
                self._event_recorder.start()
                stack.callback(self._event_recorder.stop)
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, self._stop)
            _log.info(
                "daemon started",
                node=self._settings.hostname,
                socket=str(self._settings.cni_socket),
            )
            if self._kube is None:
                _log.info("this host serves no pods", node=self._settings.hostname, reason=_OUTSIDE)
            while not self._stopping.is_set():
                begin = time.monotonic()
                self._reconcile()
                self._metrics.reconciled(time.monotonic() - begin)
                self._offer()
                self._wait()
        _log.info("daemon stopped", node=self._settings.hostname)

    def _reconcile(self) -> None:
        self._take_in()
        self._again_at = None
        try:
            if not self._switch.ovsdb.connected:
                self._switch.connect()
        except K8sOvsError as error:
            self._attachments.switch_away(str(error))
            self._fail(error)
            return
        try:
            network = self._setup.network()
            if self._setup.fresh:
                self._committer.lost_flows()
                self._committer.sweep()
                self._setup.fresh = False
            self._committer.commit(network)
            self._install_cni()
        except K8sOvsError as error:
            self._without_network(error)
            return
        self._succeed(network)

    def _install_cni(self) -> None:
        """With it the container runtime says that its network is ready, so pods work by now."""
        settings = self._settings
        if settings.install_cni is not None and not self._installed:
            directories = settings.bin_dir, settings.conf_dir
            for path in install(
                *directories, settings.install_cni, CNI_VERSION, settings.cni_socket
            ):
                _log.info("installed", node=settings.hostname, path=str(path))
            self._installed = True

    def _take_in(self) -> None:
        for item in self._inbox.take():
            if isinstance(item, tuple):
                self._attachments.put(*item)
            else:
                self._ingest.absorb(item)
        connected = self._switch.openflow is not None
        self._switch.ovsdb.run()
        self._switch.serve_flows_connection()
        if connected and self._switch.openflow is None:
            self._setup.forget_devices()
            self._committer.lost_flows()
        if time.monotonic() >= self._resync_at:
            self._resync_at = time.monotonic() + _RESYNC
            self._committer.lost_flows()

    def _without_network(self, error: K8sOvsError) -> None:
        """The network is not there, or Open vSwitch failed: pods can go, others wait."""
        if isinstance(error, Unavailable):
            self._setup.forget_devices()
            self._committer.lost_flows()
        self._attachments.not_ready(str(error))
        try:
            self._committer.detach_only()
        except K8sOvsError as failure:
            self._attachments.switch_away(str(failure))
        self._fail(error)

    def _fail(self, error: K8sOvsError) -> None:
        if str(error) != self._reason:
            _log.warning("not ready", node=self._settings.hostname, waiting_for=str(error))
        self._reason = str(error)
        self._again_at = time.monotonic() + self._backoff.wait()
        self._tell_state()

    def _succeed(self, network: Network) -> None:
        if self._reason:
            _log.info("ready", node=self._settings.hostname, subnet=str(network.local_node.subnet))
        self._reason = ""
        self._backoff.reset()
        self._applied = network.reconciler.world.revision
        self._tell_state()

    def _offer(self) -> None:
        """Give the allocator the newest snapshot, as long as all of the cluster is seen in it."""
        reconciler = self._setup.reconciler
        if reconciler is None or self._allocation is None:
            return
        if self._ingest.cluster_connected(reconciler.manager.resources.values()):
            self._allocation[2].offer(reconciler.world, reconciler.manager)

    def _tell_state(self) -> None:
        """Status file, etcd, metrics and events render one state, so they agree."""
        state = self._state()
        self._metrics.offer(state)
        self._event_recorder.offer(state)
        self._status.write(state)
        self._publish_early()
        if self._publisher is not None:
            self._publisher[1].offer(state)

    def _state(self) -> NodeState:
        election, allocator = self._allocation[1:] if self._allocation else (None, None)
        told = self._publisher[1].problem if self._publisher else ""
        elected = election.problem if election else ""
        allocated = allocator.problems if allocator else ()
        # All of them meet the same etcd: that it refuses is one problem.
        refused = dict.fromkeys(each for each in (told, elected, *allocated) if each)
        return node_state_of(
            self._settings.hostname,
            self._reason,
            applied_revision=self._applied,
            ingest=self._ingest,
            reconciler=self._setup.reconciler,
            commits=self._switch.commits,
            problems=[*self._setup.problems, *self._committer.problems, *refused],
            is_leader=election is not None and election.token is not None,
        )

    def _wait(self) -> None:
        """Until something comes, an ADD has waited long enough, or it is time to try again."""
        deadlines = [
            self._resync_at,
            self._again_at,
            self._attachments.next_deadline,
            self._status.due_at,
            # A reconcile that succeeds sets a new one; one that fails is repeated in any case.
            None if self._reason else self._committer.retry_at,
        ]
        readable = [self._inbox.fileno()]
        if self._switch.openflow is not None:
            readable.append(self._switch.openflow.fileno())
        soonest = min(each for each in deadlines if each is not None)
        wait(readable, self._switch.ovsdb, soonest)

    def _hear(self, request: CniRequest, reply: Reply) -> None:
        """A CNI request, in the server's thread. An external host only detaches pods."""
        if self._kube is None and request.command not in ("DEL", "GC"):
            reply(CniError(Code.NOT_AVAILABLE, "this host serves no pods", _OUTSIDE))
        else:
            self._inbox.put((request, reply))

    def _see(self, event: WatchEvent) -> None:
        """What etcd shows, in the watch's thread. What nodes say of themselves is seen only until
        a configuration names the network: each node would answer it with a new status of its own,
        and so on for ever."""
        self._show_election(event)
        told_by_node = isinstance(event, RecordChange) and event.key.split("/")[1:2] in (
            [STATUS],
            [SEEN],
        )
        if not told_by_node:
            self._inbox.put(event)

    def _show_election(self, event: WatchEvent) -> None:
        """Whether there is a leader, so that no daemon has to ask etcd for it all the time."""
        if self._allocation is None:
            return
        base, election, _ = self._allocation
        key = f"{base}/{_ELECTION}".removeprefix(f"{self._settings.prefix}/")
        if isinstance(event, Snapshot):
            election.saw(key in event.entries)
        elif isinstance(event, RecordChange) and event.key == key:
            election.saw(event.entry is not None)

    def _stop(self, _number: int, _frame: object) -> None:
        self._stopping.set()
        self._inbox.wake()

    def _on_config(self, config: NetworkConfig, manager: PluginManager) -> None:
        """Tell of this node, watch what the plugins need, join this network's leader election."""
        base = f"{self._settings.prefix}/{config.name}"
        self._publish_to(base)
        if self._kube is None:
            return
        for name, resource in manager.resources.items():
            selector = f"spec.nodeName={self._settings.hostname}" if resource.local_only else ""
            if name not in self._watches:
                wanted = WatchedResource(resource.path, KUBE + name, selector)
                self._watches[name] = ResourceWatch(self._kube, wanted, self._inbox.put)
                self._watches[name].start()
        self._join_election(base)

    def _publish_early(self) -> None:
        """Where no configuration could be taken yet, tell below the network that etcd names: what
        the others should know of this node is just why it has none."""
        if self._setup.reconciler is not None:
            return
        config, _ = self._ingest.config()
        if config is not None:
            self._publish_to(f"{self._settings.prefix}/{config.name}")

    def _publish_to(self, base: str) -> None:
        if self._publisher and self._publisher[0] == base:
            return
        self._end_publisher()
        hostname, external = self._settings.hostname, self._kube is None
        publisher = StatusPublisher(
            self._etcd, base, hostname, external=external, on_problem=self._inbox.wake
        )
        publisher.start()
        self._publisher = (base, publisher)

    def _end_publisher(self) -> None:
        if self._publisher:
            self._publisher[1].stop()
            self._publisher = None

    def _join_election(self, base: str) -> None:
        if self._allocation and self._allocation[0] == base:
            return
        self._end_allocation()
        election = LeaderElection(
            self._etcd,
            f"{base}/{_ELECTION}",
            self._settings.hostname,
            ttl=_LEADER_TTL,
            on_change=lambda _: self._inbox.wake(),
            watched=True,
        )
        allocator = Allocator(self._etcd, base, election, publish=self._publish)
        self._allocation = (base, election, allocator)
        election.start()
        allocator.start()

    def _publish(self, event: Event) -> None:
        """An event of an allocation, in the allocator's thread."""
        if self._kube is not None:
            about = Involved(event.kind, event.name)
            host = self._settings.hostname
            post_event(
                self._kube, about, event.reason, event.message, severity="Warning", host=host
            )

    def _record_event(self, reason: str, message: str, warning: bool) -> None:
        """An event of this node, in the event recorder's thread."""
        if self._kube is not None:
            host = self._settings.hostname
            severity: Literal["Warning", "Normal"] = "Warning" if warning else "Normal"
            post_event(
                self._kube, Involved("Node", host), reason, message, severity=severity, host=host
            )

    def _end_allocation(self) -> None:
        if self._allocation:
            _, election, allocator = self._allocation
            allocator.stop()
            election.stop()
            self._allocation = None

    def _end_parts(self) -> None:
        self._end_allocation()
        self._end_publisher()
        for watch in self._watches.values():
            watch.stop()
        self._committer.close()
        self._switch.drop_flows_connection()
        self._etcd.close()
