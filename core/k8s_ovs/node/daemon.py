"""The daemon of a node: starts the parts, reconciles, ends them.

One thread reconciles. Observers, the CNI server and the allocator have threads of their own
and talk to it through the inbox.
"""

from __future__ import annotations

import signal
import threading
import time
from contextlib import ExitStack, suppress

import structlog

from k8s_ovs.backoff import Backoff
from k8s_ovs.errors import K8sOvsError, TimedOut, Unavailable, shown
from k8s_ovs.hooks.time_limit import LIMIT
from k8s_ovs.link.changes import KernelChanges
from k8s_ovs.model.node_status import SEEN, STATUS
from k8s_ovs.node.attach import Attachments, HungUp
from k8s_ovs.node.cluster import ClusterParts
from k8s_ovs.node.cni.protocol import CniError, CniRequest, Code
from k8s_ovs.node.cni.server import CniServer, Reply
from k8s_ovs.node.cni.service import CniService
from k8s_ovs.node.commit import Committer
from k8s_ovs.node.host.keeper import Keeper
from k8s_ovs.node.inbox import HostChanged, Inbox
from k8s_ovs.node.kube_watches import KubeWatches
from k8s_ovs.node.network import Network
from k8s_ovs.node.rate_limits import RateLimits
from k8s_ovs.node.records.ingest import ETCD, Ingest
from k8s_ovs.node.records.left_out import LEFT_OUT
from k8s_ovs.node.settings import NodeSettings
from k8s_ovs.node.setup import Setup
from k8s_ovs.node.switch import NODE_PORT, Switch
from k8s_ovs.node.tell.event_recorder import EventRecorder
from k8s_ovs.node.tell.installation import Installation
from k8s_ovs.node.tell.metrics import Metrics, MetricsPage
from k8s_ovs.node.tell.node_state import NodeState, node_state_of
from k8s_ovs.node.tell.status_file import StatusFile
from k8s_ovs.observe.etcd.client import Etcd
from k8s_ovs.observe.etcd.watch import PrefixWatch
from k8s_ovs.observe.kube import Kube
from k8s_ovs.observe.watch_event import RecordChange, WatchEvent
from k8s_ovs.ovs.poller import wait
from k8s_ovs.supervise import FaultLog

__all__ = ["Daemon"]

_log = structlog.get_logger(__name__)

#: Folders below the network's Name.
_OF_NODES = ([STATUS], [SEEN])

_OUTSIDE = (
    "it is no Kubernetes node, as no API server is named "
    "(KUBECONFIG, KUBERNETES_MASTER, or the pod's service account)"
)


class Daemon:
    """`run` returns after SIGTERM, SIGINT or SIGHUP. Flows and ports stay: traffic continues."""

    def __init__(self, settings: NodeSettings) -> None:
        self._settings = settings
        self._inbox = Inbox()
        self._ingest = Ingest(watches_kube=settings.kube is not None)
        self._switch = Switch(settings.ovs_run_dir, settings.datapath)
        self._attachments = Attachments(settings.cni_wait)
        self._etcd = Etcd(settings.etcd)
        self._kube = Kube(settings.kube) if settings.kube else None
        self._cluster = ClusterParts(settings, self._etcd, self._kube, self._inbox)
        self._event_recorder = EventRecorder(
            self._cluster.record_event, post_pod=self._cluster.record_pod_event
        )
        limits = RateLimits(settings.hostname, self._switch.note_rates)
        tell_of_pod = self._event_recorder.tell_of_pod
        self._keeper = Keeper(settings.hostname, self._switch, limits, tell_of_pod)
        self._committer = Committer(
            self._switch, self._attachments, limits, self._keeper.repaired, settings.hostname
        )
        self._kube_watches = KubeWatches(self._kube, settings.hostname, self._inbox, self._ingest)
        follow = self._cluster.follow
        self._setup = Setup(settings, self._switch, self._ingest, self._keeper, follow)
        self._kernel = KernelChanges(NODE_PORT, lambda of: self._inbox.put(HostChanged(of)))
        self._applied = 0
        self._installation = Installation(settings, self._keeper.repaired)
        self._faults = FaultLog()
        self._status = StatusFile(settings.cni_socket.parent / "status.json")
        self._stopping = threading.Event()
        self._signal = ""
        self._backoff = Backoff()
        # Nobody tells when Open vSwitch is back, and until it has its flows it drops all packets.
        self._switch_backoff = Backoff(first=0.05, cap=0.2)
        self._again_at: float | None = None
        self._resync_at = 0.0
        self._reason = "the daemon is starting"
        self._page: MetricsPage | None = None
        self._metrics = Metrics(self._state())
        if settings.metrics:
            self._page = MetricsPage(self._metrics, settings.metrics)
        self._cni = CniService(self._cni_server, self._keeper.repaired)

    def run(self) -> None:
        """Serve until told to stop. Raises K8sOvsError where it cannot start at all."""
        self._heed_signals()
        with ExitStack() as stack:
            LIMIT.watch()
            stack.callback(LIMIT.stop)
            stack.callback(self._end_parts)
            self._tend_outputs()
            watch = PrefixWatch(self._etcd, f"{self._settings.prefix}/", ETCD, self._see, LEFT_OUT)
            for part in (watch, self._setup.etcd_addresses, self._kernel):
                part.start()
                stack.callback(part.stop)
            if self._kube is not None:
                self._event_recorder.start()
                stack.callback(self._event_recorder.stop)
            _log.info(
                "daemon started",
                node=self._settings.hostname,
                socket=str(self._settings.cni_socket),
            )
            if self._kube is None:
                _log.info("this host serves no pods", node=self._settings.hostname, reason=_OUTSIDE)
            # Ends first: who waits is answered at once, however long etcd takes to hear of it.
            stack.callback(self._stop_serving)
            while not self._stopping.is_set():
                self._tend_outputs()
                self._reconcile_alone()
                self._wait_alone()
        _log.info("daemon stopped", node=self._settings.hostname, signal=self._signal)

    def _heed_signals(self) -> None:
        """In the main thread, which alone may."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            # nohup(1) has SIGHUP ignored, so that the program outlives its terminal.
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._stop)

    def _tend_outputs(self) -> None:
        """Serve what is not served yet. Raises SocketInUse: another daemon does all this."""
        self._cni.tend()
        if self._page is not None:
            self._page.tend()

    def _cni_server(self) -> CniServer:
        path, count = self._settings.cni_socket, self._metrics.cni
        return CniServer(path, self._hear, count=count, hung_up=self._hear_hung_up)

    def _stop_serving(self) -> None:
        self._cni.stop()
        if self._page is not None:
            self._page.stop()

    def _reconcile_alone(self) -> None:
        """A reconcile. What nobody expected ends nothing: it is told and taken again."""
        begin = time.monotonic()
        try:
            self._reconcile()
            self._offer()
        except BaseException as error:
            self._faults.tell("reconcile failed", error, node=self._settings.hostname)
            self._go_on_after(error)
        self._metrics.reconciled(time.monotonic() - begin)

    def _go_on_after(self, error: BaseException) -> None:
        """All is looked at again, as nobody knows what was done; pods can go, others wait."""
        reason = f"k8s-ovs failed: {shown(error)}; the daemon's log has more"
        self._again_at = time.monotonic() + self._backoff.wait()
        try:
            self._without_network(Unavailable(reason), by_us=True)
        except BaseException as worse:
            self._faults.tell("reconcile failed again", worse, node=self._settings.hostname)

    def _wait_alone(self) -> None:
        try:
            self._wait()
        except BaseException as error:
            self._faults.tell("waiting failed", error, node=self._settings.hostname)
            self._stopping.wait(self._backoff.wait())

    def _reconcile(self) -> None:
        self._take_in()
        self._again_at = None
        try:
            if not self._switch.ovsdb.connected:
                self._switch.connect()
        except K8sOvsError as error:
            self._attachments.switch_away(str(error))
            self._fail(str(error))
            return
        try:
            network = self._kept_network()
            broken = self._keeper.reason or self._setup.reason
            self._committer.commit(network, broken)
            # Also of a node that is not ready: its flows are of this revision.
            self._applied = network.reconciler.world.revision
        except K8sOvsError as error:
            self._without_network(error)
            return
        broken = broken or self._cni.problem
        if broken:
            self._fail(broken)
            return
        self._installation.tend()
        self._succeed(network)

    def _kept_network(self) -> Network:
        """The network, with everything put right that somebody changed of it."""
        network = self._setup.network()
        if self._setup.fresh:
            self._committer.lost_flows()
            self._keeper.look_soon()
            self._setup.fresh = False
        own = self._setup.switch_values
        if self._keeper.keep(network, own, self._committer.leaving):
            # A bridge or port that was made again may have other numbers, and has no flows.
            self._setup.forget_devices()
            self._committer.lost_flows()
            network = self._setup.network()
        return network

    def _take_in(self) -> None:
        for item in self._inbox.take():
            try:
                self._take(item)
            except BaseException as error:  # the others are taken in
                self._faults.tell("watch event failed", error, node=self._settings.hostname)
        connected = self._switch.openflow is not None
        with suppress(Unavailable):  # it connects anew then
            self._switch.ovsdb.run()
        self._switch.serve_flows_connection()
        if connected and self._switch.openflow is None:
            self._setup.forget_devices()
            self._committer.lost_flows()
        if time.monotonic() >= self._resync_at:
            self._resync_at = time.monotonic() + self._committer.look_every
            self._committer.lost_flows()

    def _take(self, item: tuple[CniRequest, Reply] | HungUp | HostChanged | WatchEvent) -> None:
        if isinstance(item, tuple):
            self._attachments.put(*item)
        elif isinstance(item, HungUp):
            self._attachments.drop(item.request)
        elif isinstance(item, HostChanged):
            self._keeper.notice(item.kinds)
        else:
            self._ingest.absorb(item)

    def _without_network(self, error: K8sOvsError, *, by_us: bool = False) -> None:
        """The network is not there, or Open vSwitch or (by_us) we failed: pods can go, others
        wait."""
        if isinstance(error, Unavailable):
            self._setup.forget_devices()
            self._committer.lost_flows()
        self._attachments.not_ready(str(error))
        try:
            self._committer.detach_only()
        except K8sOvsError as failure:
            self._attachments.switch_away(str(failure))
        except BaseException as failure:
            self._faults.tell("pods cannot be removed", failure, node=self._settings.hostname)
            self._attachments.switch_away(shown(failure))
        gone = isinstance(error, Unavailable) and not isinstance(error, TimedOut) and not by_us
        self._fail(str(error), self._switch_backoff if gone else None)

    def _fail(self, reason: str, backoff: Backoff | None = None) -> None:
        if reason != self._reason:
            _log.warning("not ready", node=self._settings.hostname, waiting_for=reason)
        self._reason = reason
        self._again_at = time.monotonic() + (backoff or self._backoff).wait()
        self._tell_state()

    def _succeed(self, network: Network) -> None:
        if self._reason:
            _log.info("ready", node=self._settings.hostname, subnet=str(network.local_node.subnet))
        self._reason = ""
        self._backoff.reset()
        self._switch_backoff.reset()
        self._tell_state()

    def _offer(self) -> None:
        """Give the allocator the newest snapshot, as long as all of the cluster is seen in it."""
        reconciler = self._setup.reconciler
        if reconciler is None:
            return
        self._kube_watches.follow(reconciler.manager, sees_all=self._cluster.sees_all)
        self._cluster.offer_lost(self._ingest.lost(reconciler.manager.kinds))
        connected = self._ingest.cluster_connected(reconciler.manager.resources.values())
        if connected and not self._ingest.pending:
            self._cluster.offer_world(reconciler)
        else:
            self._cluster.withdraw_world()

    def _tell_state(self) -> None:
        """Status file, etcd, metrics and events render one state, so they agree."""
        state = self._state()
        tellers = self._metrics.offer, self._event_recorder.offer, self._status.write, self._publish
        for tell in tellers:
            try:
                tell(state)
            except BaseException as error:  # the others tell
                self._faults.tell("state not told", error, node=self._settings.hostname)

    def _publish(self, state: NodeState) -> None:
        self._publish_early()
        self._cluster.offer_state(state)

    def _problems(self) -> list[str]:
        outputs = self._status, self._installation, *((self._page,) if self._page else ())
        return [
            *(each.problem for each in outputs if each.problem),
            *self._setup.problems,
            *self._keeper.problems,
            *self._committer.problems,
            *self._cluster.problems,
        ]

    def _state(self) -> NodeState:
        return node_state_of(
            self._settings.hostname,
            self._reason,
            applied_revision=self._applied,
            ingest=self._ingest,
            reconciler=self._setup.reconciler,
            commits=self._switch.commits,
            problems=self._problems(),
            repairs=self._keeper.repairs,
            subnet_use=self._setup.subnet_use,
            told_use=self._setup.told_use,
            etcd=self._setup.etcd_addresses.now(),
            is_leader=self._cluster.is_leader,
        )

    def _wait(self) -> None:
        """Until something comes, an ADD has waited long enough, or it is time to try again."""
        readable = [self._inbox.fileno()]
        if self._switch.openflow is not None:
            readable.append(self._switch.openflow.fileno())
        wait(readable, self._switch.ovsdb, self._soonest())

    def _soonest(self) -> float:
        """When the next reconcile is due, whatever comes (time.monotonic())."""
        deadlines = [
            self._resync_at,
            self._again_at,
            self._attachments.next_deadline,
            self._status.due_at,
            self._cni.due_at,
            self._page.due_at if self._page else None,
        ]
        if not self._reason:
            # A reconcile that succeeds sets new ones; one that fails is repeated in any case.
            deadlines += [
                self._keeper.due_at,
                self._committer.retry_at,
                self._installation.due_at,
            ]
        return min(each for each in deadlines if each is not None)

    def _hear(self, request: CniRequest, reply: Reply) -> None:
        """A CNI request, in the server's thread. An external host only detaches pods."""
        if self._kube is None and request.command not in ("DEL", "GC"):
            reply(CniError(Code.NOT_AVAILABLE, "this host serves no pods", _OUTSIDE))
        else:
            self._inbox.put((request, reply))

    def _hear_hung_up(self, request: CniRequest) -> None:
        """Nobody waits for an ADD any more, in the server's thread."""
        self._inbox.put(HungUp(request))

    def _see(self, event: WatchEvent) -> None:
        """What etcd shows, in the watch's thread. What nodes say of themselves is seen only until a
        configuration names the network: each would answer it with a new status, without end."""
        self._cluster.see(event)
        if not isinstance(event, RecordChange) or event.key.split("/")[1:2] not in _OF_NODES:
            self._inbox.put(event)

    def _stop(self, number: int, _frame: object) -> None:
        self._signal = signal.Signals(number).name
        self._stopping.set()
        self._inbox.wake()

    def _publish_early(self) -> None:
        """Where no configuration could be taken yet, tell below the network that etcd names: what
        the others should know of this node is just why it has none."""
        if self._setup.reconciler is not None:
            return
        config, _ = self._ingest.config()
        if config is not None:
            self._cluster.publish_to(f"{self._settings.prefix}/{config.name}")

    def _end_parts(self) -> None:
        self._kube_watches.stop()
        self._cluster.end()
        self._committer.close()
        self._switch.drop_flows_connection()
