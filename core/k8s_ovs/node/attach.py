"""CNI requests of a reconcile: which pods are attached, which are detached, who waits and for what.

`plan_adds` and `plan_removals` decide here; `node/commit.py` makes the devices, ports and flows.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address

import structlog
from attrs import define, evolve, field, frozen

from k8s_ovs.errors import InvalidRecord, K8sOvsError, PluginError, shown
from k8s_ovs.hooks.result import Failure, Held
from k8s_ovs.link.namespace import is_own
from k8s_ovs.link.shaping.pod_rates import rate_problems
from k8s_ovs.link.veth import PodLink, check, host_name_of
from k8s_ovs.model.pod import Pod
from k8s_ovs.model.world import UNSYNCED, World
from k8s_ovs.node.cni.protocol import (
    CniError,
    CniRequest,
    Code,
    previous_addresses,
    valid_attachments,
)
from k8s_ovs.node.cni.server import Reply
from k8s_ovs.node.network import (
    Network,
    address_choice,
    link_mtu,
    link_settings,
    pod_link,
    pod_request,
    unlisted_flows,
)
from k8s_ovs.plugin.values import LinkSettings, Refuse

__all__ = ["Add", "Attachments", "HungUp", "Remove", "failed"]

_log = structlog.get_logger(__name__)

#: So many pods are attached in one reconcile: those that come first need not wait for hundreds that
#: come with them, and what is to be removed is between them.
_AT_ONCE = 32


@frozen(eq=False)
class Add:
    """A pod to attach, and who waits for it.

    anew: its port exists already and is wrong. standing: all of it exists and is right.
    """

    pod: Pod
    link: PodLink
    settings: LinkSettings
    reply: Reply
    anew: bool = False
    standing: bool = False


@frozen(eq=False)
class Remove:
    """Pods to detach, and who waits for that. devices: by name, to be deleted; also where no port
    is known, as a daemon that was killed may have made the device alone. No ADD of the same
    container is under way: the server hands on one request of it at a time."""

    pods: tuple[Pod, ...]
    reply: Reply
    devices: tuple[str, ...]


@frozen(eq=False)
class HungUp:
    """The client of this ADD has hung up."""

    request: CniRequest


@define(eq=False)
class _Waiting:
    """unlisted_in: the world in which it waits for a first list of Kubernetes."""

    request: CniRequest
    reply: Reply
    reason: str = "the network"
    unlisted_in: World | None = None


@define
class Attachments:
    """Requests that have come and are not answered yet.

    add_timeout: seconds for which an ADD waits for what it needs.
    """

    add_timeout: float
    _adds: list[_Waiting] = field(factory=list)
    _removals: list[tuple[CniRequest, Reply]] = field(factory=list)
    _questions: list[tuple[CniRequest, Reply]] = field(factory=list)
    _some_left: bool = False

    def put(self, request: CniRequest, reply: Reply) -> None:
        """A request for the next reconcile. An ADD that can never succeed is answered at once."""
        problem = _impossible(request) if request.command == "ADD" else None
        if problem is not None:
            reply(problem)
        elif request.command == "ADD":
            self._adds.append(_Waiting(request, reply))
        elif request.command in ("DEL", "GC"):
            self._removals.append((request, reply))
        else:
            self._questions.append((request, reply))

    def drop(self, request: CniRequest) -> None:
        """Nobody waits for this ADD any more; nothing happens where it waits no longer."""
        for each in [waiting for waiting in self._adds if waiting.request is request]:
            self._adds.remove(each)
            waited = f"while it waited for: {each.reason}"
            each.reply(CniError(Code.TRY_AGAIN_LATER, "the client has hung up", waited))

    @property
    def next_deadline(self) -> float | None:
        """When the first ADD has waited long enough (time.monotonic()); None: nobody waits. At
        once, where the last reconcile had to leave some."""
        if self._some_left:
            return 0.0
        first = min((each.request.arrived for each in self._adds), default=None)
        return None if first is None else first + self.add_timeout

    def refuse_late(self) -> None:
        """Answer each ADD that has waited too long with what it waited for."""
        now = time.monotonic()
        for each in [w for w in self._adds if now - w.request.arrived >= self.add_timeout]:
            self._adds.remove(each)
            waited = f"waited {self.add_timeout:g} s for: {each.reason}"
            each.reply(CniError(Code.TRY_AGAIN_LATER, "the network is not ready", waited))

    def not_ready(self, reason: str) -> None:
        """The network is not ready: CHECK and STATUS say so, ADDs wait."""
        self._some_left = False
        for each in self._adds:
            each.reason = reason
        for request, reply in self._take_questions():
            code = Code.NOT_AVAILABLE if request.command == "STATUS" else Code.TRY_AGAIN_LATER
            reply(CniError(code, "the network is not ready", reason))
        self.refuse_late()

    def switch_away(self, reason: str) -> None:
        """Nothing can be removed either."""
        removals, self._removals = self._removals, []
        for _, reply in removals:
            reply(CniError(Code.TRY_AGAIN_LATER, "Open vSwitch is unavailable", reason))
        self.not_ready(reason)

    def plan_removals(self, pods: Mapping[str, Pod]) -> tuple[Remove, ...]:
        """DEL and GC; they succeed with nothing to remove."""
        removals, self._removals = self._removals, []
        planned = list[Remove]()
        for request, reply in removals:
            try:
                unwanted = tuple(_unwanted(request, pods))
                planned.append(Remove(unwanted, reply, _devices(request, unwanted)))
            except Exception as error:
                reply(failed(request, error))
        return tuple(planned)

    def plan_adds(self, network: Network, pods: Mapping[str, Pod]) -> tuple[Add, ...]:
        """ADDs that can be done now, the first of them; others keep waiting, or are refused."""
        waiting, self._adds, self._some_left = self._adds, [], False
        in_use = {pod.ip for pod in pods.values()}
        serial = max((pod.serial for pod in pods.values()), default=0)
        planned = list[Add]()
        for each in waiting:
            if len(planned) == _AT_ONCE:
                each.reason, self._some_left = "pods that came before it", True
                self._adds.append(each)
                continue
            serial += 1
            try:
                add = _plan_add(each, network, pods, in_use, serial)
            except Exception as error:  # the others go on
                each.reply(failed(each.request, error))
                continue
            if add is None:
                self._adds.append(each)
            else:
                in_use.add(add.pod.ip)
                planned.append(add)
        self.refuse_late()
        return tuple(planned)

    def answer_questions(self, network: Network, pods: Mapping[str, Pod]) -> None:
        """CHECK and STATUS, now that the network is ready."""
        for request, reply in self._take_questions():
            try:
                answer = _check(request, network, pods) if request.command == "CHECK" else None
            except Exception as error:  # the others go on
                answer = failed(request, error)
            reply(answer)

    def _take_questions(self) -> list[tuple[CniRequest, Reply]]:
        questions, self._questions = self._questions, []
        return questions


def failed(request: CniRequest, error: Exception) -> CniError:
    """The answer to a request that raised `error`. What is our fault is in the log, whole."""
    if isinstance(error, CniError):
        return error
    if isinstance(error, K8sOvsError):
        return CniError(Code.FAILED, f"{request.command} failed", str(error))
    _log.error(
        "CNI request failed",
        command=request.command,
        container=request.container_id,
        pod=f"{request.namespace}/{request.pod}",
        exc_info=error,
    )
    details = f"{shown(error)}; the daemon's log has more"
    return CniError(Code.FAILED, "k8s-ovs failed on this request", details)


def _impossible(request: CniRequest) -> CniError | None:
    """Why this ADD can never succeed; None: it may."""
    if is_own(request.netns):
        details = f"CNI_NETNS: found {request.netns}, expected that of a pod"
        return CniError(
            Code.INVALID_ENVIRONMENT, "this is the node's own network namespace", details
        )
    return _nameless(request)


def _nameless(request: CniRequest) -> CniError | None:
    """Why no plugin can say what this pod is; None: it has a name."""
    names = {"K8S_POD_NAME": request.pod, "K8S_POD_NAMESPACE": request.namespace}
    missing = [name for name, value in names.items() if not value]
    if not missing:
        return None
    found = ";".join(f"{key}={value}" for key, value in request.args.items())
    details = f"found {shown(found)}, expected also {' and '.join(missing)}"
    return CniError(Code.INVALID_ENVIRONMENT, "CNI_ARGS does not name the pod", details)


def _plan_add(
    waiting: _Waiting,
    network: Network,
    pods: Mapping[str, Pod],
    in_use: set[IPv4Address],
    serial: int,
) -> Add | None:
    """None: it must wait, with its reason noted. Raises CniError if it can never succeed."""
    request = waiting.request
    existing = _find(pods, request)
    if existing is not None:
        return _again(waiting, network, existing, pods)
    if waiting.unlisted_in is network.reconciler.world:
        return None  # nothing has changed since it was asked about
    awaited = _admission(network, request)
    # Only an ADD that can succeed now takes an address; until then the pod has the gateway's.
    pod = network.new_pod(request, network.local_node.gateway, serial)
    awaited += _of_tenant(network, pod) or unlisted_flows(network, pod)
    if awaited:
        waiting.reason = "; ".join(dict.fromkeys(awaited))
        world = network.reconciler.world
        waiting.unlisted_in = world if world.of(UNSYNCED) else None
        return None
    try:
        choice = address_choice(network, pod_request(request))
        pod = network.new_pod(request, network.pool.take(in_use, choice), serial)
    except (InvalidRecord, PluginError) as error:  # no pod that goes makes it right
        raise CniError(Code.FAILED, f"pod {pod.identity} has no address", str(error)) from error
    except K8sOvsError as error:
        waiting.reason = str(error)
        return None
    settings = _settings(network, pod)
    return Add(*_with_link(network, pod, settings, pods), settings, waiting.reply)


def _with_link(
    network: Network, pod: Pod, settings: LinkSettings, pods: Mapping[str, Pod]
) -> tuple[Pod, PodLink]:
    """A pod with what its new interface is given, and that."""
    # The device says all of it, so the link is that of the whole pod.
    pod = evolve(pod, rates=settings.rates, mtu=link_mtu(network, pod, settings))
    return pod, pod_link(network, pod, settings, pods.values())


def _of_tenant(network: Network, pod: Pod) -> list[str]:
    """What a pod waits for until its tenant is known."""
    view = network.view()
    try:
        known = view.tenant_of(pod) is not None and view.vni_of(pod) is not None
    except PluginError as error:
        if not view.early.found:
            text = f"pod {pod.identity} has no tenant"
            raise CniError(Code.FAILED, text, str(error)) from error
        known = False
    if view.early.found:
        return [str(Held(network.manager.mode, view.early.found))]
    return [] if known else [f"a tenant for namespace {pod.namespace}"]


def _again(waiting: _Waiting, network: Network, existing: Pod, pods: Mapping[str, Pod]) -> Add:
    """A pod that is added twice has one port and one address; wrong parts of it are made anew."""
    pod = network.new_pod(waiting.request, existing.ip, existing.serial)
    settings = _settings(network, evolve(pod, rates=existing.rates))
    there = evolve(pod, rates=settings.rates, mtu=existing.mtu)
    link = pod_link(network, there, settings, pods.values())
    if existing.netns == pod.netns and not _link_problems(link, settings):
        return Add(there, link, settings, waiting.reply, standing=True)
    return Add(*_with_link(network, pod, settings, pods), settings, waiting.reply, anew=True)


def _settings(network: Network, pod: Pod) -> LinkSettings:
    try:
        return link_settings(network, pod)
    except PluginError as error:
        raise CniError(Code.FAILED, f"pod {pod.identity} has no settings", str(error)) from error


def _link_problems(link: PodLink, settings: LinkSettings) -> list[str]:
    problems = check(link)
    if settings.must_hold and not problems:
        problems = rate_problems(link, settings.rates)
    return problems


def _admission(network: Network, request: CniRequest) -> list[str]:
    """What the plugins make a pod wait for. Raises CniError if one refuses."""
    view = network.view()
    reasons = []
    for plugin, result in network.manager.admit_pod(view, pod_request(request)):
        if isinstance(result, Failure):
            raise CniError(Code.FAILED, f"plugin {plugin} failed", str(result))
        if isinstance(result, Held):
            reasons.append(str(result))
            continue
        for each in result:
            if isinstance(each, Refuse):
                raise CniError(Code.FAILED, f"plugin {plugin} refuses the pod", each.reason)
            reasons.append(each.reason)
    return reasons


def _find(pods: Mapping[str, Pod], request: CniRequest) -> Pod | None:
    return pods.get(host_name_of(request.container_id, request.ifname))


def _unwanted(request: CniRequest, pods: Mapping[str, Pod]) -> Iterable[Pod]:
    """Pods that a DEL or GC removes. Raises CniError for a malformed GC."""
    if request.command == "DEL":
        found = _find(pods, request)
        return () if found is None else (found,)
    valid = valid_attachments(request)
    ours = [pod for pod in pods.values() if pod.network in ("", request.network)]
    # A pod's own memory may have had no room for its container; the name of its port has it.
    staying = {host_name_of(*each) for each in valid}
    return [pod for pod in ours if pod.port not in staying]


def _devices(request: CniRequest, unwanted: Iterable[Pod]) -> tuple[str, ...]:
    if request.command == "DEL":
        return (host_name_of(request.container_id, request.ifname),)
    return tuple(pod.port for pod in unwanted)


def _check(request: CniRequest, network: Network, pods: Mapping[str, Pod]) -> CniError | None:
    pod = _find(pods, request)
    who = f"container {request.container_id}, interface {request.ifname}"
    if pod is None:
        return CniError(Code.UNKNOWN_CONTAINER, "no such pod is attached here", who)
    settings = _settings(network, pod)
    link = pod_link(network, pod, settings, pods.values())
    problems = _link_problems(link, settings) + _differs(request, pod)
    if problems:
        return CniError(
            Code.FAILED, f"pod {pod.identity} is not as it should be", "; ".join(problems)
        )
    return None


def _differs(request: CniRequest, pod: Pod) -> list[str]:
    """Where the runtime remembers another address than we assigned."""
    known = previous_addresses(request.config)
    if known and str(pod.ip) not in known:
        return [f"prevResult has {', '.join(known)}, the pod has {pod.ip}"]
    return []
