"""Carrying out a turn: links, ports, flows, and the answers to those who wait.

Whatever came in meanwhile is folded together: one OVSDB transaction and one OpenFlow bundle a turn.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

import structlog
from attrs import field, mutable

from k8s_ovs.errors import K8sOvsError, SwitchError
from k8s_ovs.link import veth
from k8s_ovs.model.pod import Pod
from k8s_ovs.node.attach import Add, Attachments, Remove
from k8s_ovs.node.cni_protocol import CniError, Code
from k8s_ovs.node.network import Network, pod_result
from k8s_ovs.node.switch import Switch
from k8s_ovs.plugin.view import PODS, Record

__all__ = ["Committer"]

import os

EXPL = os.environ.get("EXPL")
EXP = os.environ.get("EXP")
_log = structlog.get_logger(__name__)

#: Devices are made by more than one thread, since the kernel does most of the work.
_LINK_WORKERS = 4


class Committer:
    """Carries out what a turn decided: links, ports, flows, in this order, then the answers."""

    def __init__(self, switch: Switch, attachments: Attachments, node: str) -> None:
        self._switch = switch
        self._attachments = attachments
        self._node = node
        self._links = ThreadPoolExecutor(_LINK_WORKERS, thread_name_prefix="links")
        self._leftovers = ThreadPoolExecutor(1, thread_name_prefix="delete-links")
        self._synced = False
        self._put_off = 0.0

    def close(self) -> None:
        """End the threads; devices that are being deleted are finished."""
        self._links.shutdown()
        self._leftovers.shutdown()

    def lost_flows(self) -> None:
        """What the switch holds is not known any more: read it before the next commit."""
        self._synced = False

    def detach_only(self) -> None:
        """A turn without a network: pods can go all the same."""
        removes = self._attachments.plan_removals(self._switch.pods())
        self._switch.change_ports((), _ports_of(removes))
        self._answer_removes(removes)

    def commit(self, network: Network) -> None:
        """A turn with one. Raises Unavailable and SwitchError where Open vSwitch fails as a whole."""
        turn = _Turn(self._node)
        pods = self._switch.pods()
        removes = self._attachments.plan_removals(pods)
        leaving = set(_ports_of(removes))
        staying = {port: pod for port, pod in pods.items() if port not in leaving}
        planned = self._attachments.plan_adds(network, pods)
        turn.took("plan")
        if EXP == "2" and planned:
            self._set_pods(network, staying | {add.pod.port: add.pod for add in planned})
            self._commit_flows(network, turn)
            turn.took("flows")
        adds = self._make_links(planned)
        turn.took("links")
        self._attachments.answer_questions(network, staying)
        try:
            if EXP == "1" and adds:
                self._set_pods(network, staying | {add.pod.port: add.pod for add in adds})
                self._commit_flows(network, turn)
                turn.took("flows")
            self._change_ports(adds, removes)
            turn.took("ovsdb")
            self._answer_removes(removes)
            if not (EXP and adds):
                self._set_pods(network, staying | {add.pod.port: add.pod for add in adds})
                if not self._can_wait(adds):
                    self._commit_flows(network, turn)
                turn.took("flows")
            adds = self._numbered(network, adds, staying, turn)
            turn.took("ports")
        except K8sOvsError as error:
            self._give_up(adds, removes, error)
            raise
        for add in adds:
            add.reply(pod_result(add.link))
        turn.took("reply")
        for pod in (pod for remove in removes for pod in remove.pods):
            network.pool.release(pod.ip)
        turn.tell(network, len(adds), len(removes))

    def _can_wait(self, adds: Collection[Add]) -> bool:
        if adds or not self._switch.busy:
            self._put_off = 0.0
            return False
        now = time.monotonic()
        self._put_off = self._put_off or now
        return now - self._put_off < 5.0

    def sweep(self) -> None:
        """After a start: ports whose device is gone, and devices without a port, are left-overs."""
        links = veth.host_links()
        pods = self._switch.pods()
        gone = [port for port in pods if port not in links]
        for port in gone:
            _log.info("pod is gone, its port removed", pod=pods[port].identity, node=self._node)
        self._switch.change_ports((), gone)
        self._delete_links(links - pods.keys())

    def _make_links(self, adds: tuple[Add, ...]) -> tuple[Add, ...]:
        """Make the pods' devices; an ADD whose device cannot be made is answered so."""
        made = []
        for add, error in zip(adds, map(_made, adds) if EXPL else self._links.map(_made, adds), strict=True):
            if error is None:
                made.append(add)
            else:
                add.reply(CniError(Code.FAILED, f"pod {add.pod.identity}: {error}"))
        return tuple(made)

    def _change_ports(self, adds: Collection[Add], removes: Iterable[Remove]) -> None:
        ports = [*_ports_of(removes), *(add.pod.port for add in adds if add.anew)]
        self._switch.change_ports([add.pod for add in adds], ports)

    def _set_pods(self, network: Network, pods: Mapping[str, Pod]) -> None:
        """Have the world know just these pods."""
        known = network.reconciler.world.of(PODS)
        changes: dict[tuple[str, str], Record | None] = {
            (PODS, port): None for port in known if port not in pods
        }
        for port, pod in pods.items():
            if port not in known or known[port].value != pod:
                changes[PODS, port] = Record(pod)
        network.reconciler.update(changes)

    def _commit_flows(self, network: Network, turn: _Turn) -> None:
        reconciler = network.reconciler
        for text in reconciler.compute():
            _log.error("subject keeps its last good flows", node=self._node, reason=text)
        if not self._synced or self._switch.openflow is None:
            self._switch.read_flows(reconciler.book)
            self._synced = True
        added, deleted = self._switch.commit_flows(reconciler.book)
        turn.added += added
        turn.deleted += deleted
        for text in reconciler.note_refused():
            _log.error("flow refused by Open vSwitch", node=self._node, reason=text)

    def _numbered(
        self, network: Network, adds: tuple[Add, ...], staying: Mapping[str, Pod], turn: _Turn
    ) -> tuple[Add, ...]:
        """Wait until the ports stand; flows follow where one got another number than it asked for."""
        if not adds:
            return adds
        try:
            self._switch.numbers(add.pod.port for add in adds)
        except SwitchError:
            adds = self._without_broken(adds)
        pods = self._switch.pods()
        current = {port: pod for port, pod in pods.items() if port not in staying} | {
            port: pods.get(port, pod) for port, pod in staying.items()
        }
        if any(pods[add.pod.port] != add.pod for add in adds):
            self._set_pods(network, current)
            self._commit_flows(network, turn)
        return adds

    def _without_broken(self, adds: tuple[Add, ...]) -> tuple[Add, ...]:
        """Take back the ports that ovs-vswitchd cannot have, and say so."""
        broken = self._switch.broken_ports()
        bad = [add for add in adds if add.pod.port in broken]
        self._switch.change_ports((), [add.pod.port for add in bad])
        self._delete_links({add.pod.port for add in bad})
        for add in bad:
            reason = f"port {add.pod.port}: {broken[add.pod.port]}"
            add.reply(CniError(Code.FAILED, f"pod {add.pod.identity} got no port", reason))
        return tuple(add for add in adds if add not in bad)

    def _give_up(self, adds: Iterable[Add], removes: Iterable[Remove], error: K8sOvsError) -> None:
        """Open vSwitch failed: kubelet tries again, and the next ADD or DEL finds what is left."""
        self._synced = False
        answer = CniError(Code.TRY_AGAIN_LATER, "Open vSwitch failed", str(error))
        for reply in [each.reply for each in adds] + [each.reply for each in removes]:
            reply(answer)

    def _answer_removes(self, removes: Iterable[Remove]) -> None:
        """Answer first: deleting a device takes longer than all the rest."""
        for remove in removes:
            remove.reply(None)
        self._delete_links(_ports_of(removes))

    def _delete_links(self, names: Iterable[str]) -> None:
        wanted = sorted(names)
        if wanted:
            self._leftovers.submit(_delete_links, wanted)


@mutable
class _Turn:
    """What a turn did and how long each step took, for its one line in the log."""

    node: str
    added: int = 0
    deleted: int = 0
    begin: float = field(factory=time.monotonic)
    steps: dict[str, float] = field(factory=dict)
    _mark: float = field(factory=time.monotonic)

    def took(self, step: str) -> None:
        """All since the last step was `step`."""
        now = time.monotonic()
        self.steps[f"{step}_ms"] = round((now - self._mark) * 1e3, 2)
        self._mark = now

    def tell(self, network: Network, adds: int, removes: int) -> None:
        """Nothing where nothing was done."""
        if not (adds or removes or self.added or self.deleted):
            return
        world = network.reconciler.world
        _log.info(
            "commit",
            node=self.node,
            adds=adds,
            removes=removes,
            added=self.added,
            deleted=self.deleted,
            flows=len(network.reconciler.book),
            pods=len(world.of(PODS)),
            revision=world.revision,
            ms=round((time.monotonic() - self.begin) * 1e3, 1),
            **self.steps,
        )


def _ports_of(removes: Iterable[Remove]) -> list[str]:
    return [pod.port for remove in removes for pod in remove.pods]


def _made(add: Add) -> K8sOvsError | None:
    if add.standing:
        return None
    try:
        veth.create(add.link)
    except K8sOvsError as error:
        return error
    return None


def _delete_links(names: list[str]) -> None:
    try:
        veth.delete(names)
    except K8sOvsError as error:
        _log.warning("devices left over", devices=names, reason=str(error))
