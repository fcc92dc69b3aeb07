"""Carrying out a reconcile: links, ports, flows, and the answers to those who wait.

All that came in meanwhile is merged: one OVSDB transaction and one OpenFlow bundle per reconcile.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait

import structlog

from k8s_ovs.errors import K8sOvsError, shown
from k8s_ovs.link import veth
from k8s_ovs.model.pod import Pod
from k8s_ovs.model.world import PODS, Slot
from k8s_ovs.node.attach import Add, Attachments, Remove
from k8s_ovs.node.cni.protocol import CniError, Code
from k8s_ovs.node.commit_log import CommitLog
from k8s_ovs.node.host.neighbours import Neighbours
from k8s_ovs.node.network import Network, pod_result
from k8s_ovs.node.rate_limits import RateLimits
from k8s_ovs.node.switch import Switch
from k8s_ovs.reconcile.reconciler import Reconciler

__all__ = ["Committer"]

_log = structlog.get_logger(__name__)

#: Seconds between two looks at all flows that the switch has, and the share of the daemon's
#: processor that they may take: in a cluster of thousands of nodes there are many.
_LOOK_EVERY, _LOOK_SELDOM, _LOOK_SHARE = 8.0, 60.0, 0.003
#: Seconds for which flows of pods that are gone wait for ovs-vswitchd to be free.
_BUSY_SECONDS = 5.0
#: Seconds for which a pod that comes again waits for its old device to go.
_DELETE_SECONDS = 5.0


class Committer:
    """Carries out what a reconcile decided: links, ports, flows, in this order, then the answers.

    Ports before flows: while ovs-vswitchd makes the ports, the flows are computed and sent.
    """

    def __init__(
        self,
        switch: Switch,
        attachments: Attachments,
        limits: RateLimits,
        repaired: Callable[[str, str, int], None],
        node: str,
    ) -> None:
        """repaired: told of flows that somebody changed: their kind, what was found, how many."""
        self._switch = switch
        self._attachments = attachments
        self._node = node
        self._rate_limits = limits
        self._neighbours = Neighbours(switch)
        self._deleter = ThreadPoolExecutor(1, thread_name_prefix="delete-links")
        self._pending_deletion: set[str] = set()
        self._repaired = repaired
        self._looked_for: Reconciler | None = None
        self._synced = False
        self._put_off_at: float | None = None
        self._untold: CommitLog | None = None
        self._told_held: Mapping[str, frozenset[str]] = {}
        #: Seconds between two looks at the switch's flows.
        self.look_every = _LOOK_EVERY

    @property
    def problems(self) -> list[str]:
        """Rate limits of pods that are not applied, each with the reason."""
        return self._rate_limits.problems

    @property
    def retry_at(self) -> float | None:
        """When to retry a rate limit that is not applied, or to probe other nodes
        (time.monotonic()); None: never."""
        times = self._rate_limits.retry_at, self._neighbours.due_at
        return min((each for each in times if each is not None), default=None)

    def close(self) -> None:
        """Finish deleting devices."""
        self._deleter.shutdown()

    def lost_flows(self) -> None:
        """The switch's flows are unknown now: read them before the next commit."""
        self._synced = False

    def detach_only(self) -> None:
        """A reconcile without a network: pods can still be removed."""
        removes = self._attachments.plan_removals(self._switch.pods())
        try:
            self._switch.change_ports((), _ports_of(removes))
        except Exception as error:
            self._give_up((), removes, error)
            raise
        self._answer_removes(removes)

    @property
    def leaving(self) -> frozenset[str]:
        """Devices that are being deleted."""
        return frozenset(self._pending_deletion)

    def commit(self, network: Network, not_kept: str = "") -> None:
        """A reconcile with a network. Raises Unavailable and SwitchError if Open vSwitch fails.

        not_kept: why the node does not work, and attaches no pods; "": it does.
        """
        log = self._begun_log()
        pods = self._switch.pods()
        removes = self._attachments.plan_removals(pods)
        leaving = set(_ports_of(removes))
        staying = {port: pod for port, pod in pods.items() if port not in leaving}
        if not_kept:
            self._attachments.not_ready(not_kept)
        adds = () if not_kept else self._attachments.plan_adds(network, pods)
        log.took("plan")
        try:
            adds = self._make_links(network, adds)
            log.took("links")
            self._attachments.answer_questions(network, staying)
            self._change_ports(adds, removes)
            log.took("ovsdb")
            self._answer_removes(removes)
            self._set_pods(network, staying | {add.pod.port: add.pod for add in adds})
            put_off = not adds and self._flows_can_wait()
            if not put_off:
                self._commit_flows(network, log)
            self._neighbours.tend(network)
            log.took("flows")
            adds = self._standing(network, adds, log)
            log.took("ports")
        except Exception as error:  # whatever it is, who waits is answered
            self._give_up(adds, removes, error)
            raise
        for add in adds:
            add.reply(pod_result(add.link))
        log.took("reply")
        for pod in (pod for remove in removes for pod in remove.pods):
            network.pool.release(pod.ip)
        self._rate_limits.follow(network, self._switch.pods())
        log.took("limits")
        log.adds += sum(not add.standing for add in adds)
        log.removes += len(leaving)
        if put_off:
            self._untold = log
        else:
            log.tell(network.reconciler)

    def _begun_log(self) -> CommitLog:
        log, self._untold = self._untold, None
        if log is None:
            return CommitLog(self._node)
        log.go_on()
        return log

    def _make_links(self, network: Network, adds: tuple[Add, ...]) -> tuple[Add, ...]:
        """Make the pods' devices; an ADD whose device cannot be made is answered with the error.

        One after the other: the kernel has one lock for all devices, and threads only wait for it.
        """
        if any(add.pod.port in self._pending_deletion for add in adds):
            # Its deletion must not meet the new device of that name.
            wait([self._deleter.submit(self._delete_pending)], _DELETE_SECONDS)
        made = []
        for add in adds:
            try:
                if not add.standing:
                    self._make_link(network, add)
            except K8sOvsError as error:
                add.reply(CniError(Code.FAILED, f"pod {add.pod.identity}: {error}"))
            except Exception as error:  # the others go on
                _log.error("pod failed", node=self._node, pod=add.pod.identity, exc_info=error)
                text = f"pod {add.pod.identity}: k8s-ovs failed on it: {shown(error)}"
                add.reply(CniError(Code.FAILED, text))
            else:
                made.append(add)
        return tuple(made)

    def _make_link(self, network: Network, add: Add) -> None:
        """Raises K8sOvsError; nothing is left of the device then."""
        if add.anew:
            self._switch.release_ports([add.pod.port])
        veth.create(add.link)
        try:
            self._rate_limits.begin(network, add.pod, add.settings)
        except Exception:
            veth.delete([add.link.host_name])
            raise

    def _change_ports(self, adds: Collection[Add], removes: Iterable[Remove]) -> None:
        self._switch.change_ports([add.pod for add in adds], _ports_of(removes))

    def _set_pods(self, network: Network, pods: Mapping[str, Pod]) -> None:
        """Put exactly these pods into the world."""
        known = network.reconciler.world.of(PODS)
        changes: dict[tuple[str, str], Slot | None] = {
            (PODS, port): None for port in known if port not in pods
        }
        for port, pod in pods.items():
            if port not in known or known[port].settled != pod:
                changes[PODS, port] = Slot(pod)
        network.reconciler.update(changes)

    def _flows_can_wait(self) -> bool:
        """Nobody waits for the flows of this reconcile, and ovs-vswitchd is removing ports.

        It answers nothing meanwhile, which is up to 15 ms per port, and the next DELs would wait
        for that. The flows of a removed port do no harm; when it has finished, a reconcile follows.
        """
        if not self._switch.busy:
            self._put_off_at = None
            return False
        now = time.monotonic()
        if self._put_off_at is None:
            self._put_off_at = now
        return now - self._put_off_at < _BUSY_SECONDS

    def _commit_flows(self, network: Network, log: CommitLog) -> None:
        reconciler = network.reconciler
        if not self._synced or self._switch.openflow is None:
            self._read_flows(reconciler)
        for text in reconciler.compute():
            _log.error("subject keeps its last valid flows", node=self._node, reason=text)
        self._tell_held(reconciler.held)
        added, deleted = self._switch.commit_flows(reconciler.desired)
        log.added += added
        log.deleted += deleted
        for text in reconciler.note_refused():
            _log.error("flow refused by Open vSwitch", node=self._node, reason=text)

    def _tell_held(self, held: Mapping[str, frozenset[str]]) -> None:
        """Whose flows begin to stay as they are for want of a list, and whose do no longer."""
        told, self._told_held = self._told_held, held
        for plugin in held.keys() - told.keys():
            _log.info(
                "flows held", node=self._node, plugin=plugin, waiting_for=sorted(held[plugin])
            )
        for plugin in told.keys() - held.keys():
            _log.info("flows held no longer", node=self._node, plugin=plugin)

    def _read_flows(self, reconciler: Reconciler) -> None:
        """Read the flows. What differs and was not still to be done, somebody has changed."""
        again = self._looked_for is reconciler
        to_do, began = reconciler.desired.delta(), time.thread_time()
        self._switch.read_flows(reconciler.desired)
        took = time.thread_time() - began
        self.look_every = min(max(_LOOK_EVERY, took / _LOOK_SHARE), _LOOK_SELDOM)
        self._synced = True
        self._looked_for = reconciler
        drift = reconciler.desired.delta().beyond(to_do)
        if again and drift:
            self._repaired("flow", f"flows: {drift}", drift.size)

    def _standing(self, network: Network, adds: tuple[Add, ...], log: CommitLog) -> tuple[Add, ...]:
        """Wait until ovs-vswitchd has made the ports; the ADDs whose port it has made.

        Flows follow where a port got another number than it asked for.
        """
        if not adds:
            return adds
        broken = self._switch.broken_ports(add.pod.port for add in adds)
        if broken:
            self._take_back([add for add in adds if add.pod.port in broken], broken)
            adds = tuple(add for add in adds if add.pod.port not in broken)
        pods = self._switch.pods()
        if broken or any(pods[add.pod.port] != add.pod for add in adds):
            self._set_pods(network, pods)
            self._commit_flows(network, log)
        return adds

    def _take_back(self, adds: Collection[Add], reasons: Mapping[str, str]) -> None:
        """Remove ports that ovs-vswitchd cannot make, and say so."""
        ports = [add.pod.port for add in adds]
        self._switch.change_ports((), ports)
        self._delete_links(ports)
        for add in adds:
            reason = f"port {add.pod.port}: {reasons[add.pod.port]}"
            add.reply(CniError(Code.FAILED, f"pod {add.pod.identity} got no port", reason))

    def _give_up(self, adds: Iterable[Add], removes: Iterable[Remove], error: Exception) -> None:
        """The reconcile failed: kubelet tries again, and the next ADD or DEL finds the orphans."""
        self._synced = False
        if isinstance(error, K8sOvsError):
            answer = CniError(Code.TRY_AGAIN_LATER, "Open vSwitch failed", str(error))
        else:
            answer = CniError(Code.TRY_AGAIN_LATER, "k8s-ovs failed", shown(error))
        for reply in [each.reply for each in adds] + [each.reply for each in removes]:
            reply(answer)

    def _answer_removes(self, removes: Iterable[Remove]) -> None:
        """Answer first: deleting a device takes longer than all the rest."""
        devices = [name for remove in removes for name in remove.devices]
        if devices:
            self._disown(devices)
        for remove in removes:
            remove.reply(None)
        self._delete_links(devices)

    def _disown(self, devices: list[str]) -> None:
        """Until they are deleted, have them say that they are nobody's: if this daemon ends now,
        the next one does not take them for a pod's."""
        try:
            veth.disown(devices)
        except K8sOvsError as error:
            _log.warning("orphaned devices not marked", devices=devices, reason=str(error))

    def _delete_links(self, names: Iterable[str]) -> None:
        names = set(names)
        if names:
            self._pending_deletion |= names
            self._deleter.submit(self._delete_pending)

    def _delete_pending(self) -> None:
        """Delete all devices that have accumulated since the last time, at the price of one."""
        names = sorted(self._pending_deletion.copy())
        if not names:
            return
        try:
            veth.delete(names)
        except K8sOvsError as error:
            _log.warning("orphaned devices not deleted", devices=names, reason=str(error))
        except Exception as error:  # an executor keeps what a task raises to itself
            _log.error("orphaned devices not deleted", devices=names, exc_info=error)
        self._pending_deletion.difference_update(names)


def _ports_of(removes: Iterable[Remove]) -> list[str]:
    return [pod.port for remove in removes for pod in remove.pods]
