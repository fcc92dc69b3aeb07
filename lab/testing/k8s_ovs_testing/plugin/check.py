"""What would a plugin do, how long does it take, and which mistakes does its author see?

Every hook is asked twice on the sample network, as a daemon would ask it: a pure function answers
the same.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import entry_points
from typing import Any

from attrs import frozen

from k8s_ovs.errors import PluginError, SwitchError, is_ctrl_c, shown
from k8s_ovs.hooks.calls import HookCall
from k8s_ovs.hooks.find import find_calls, has_hook
from k8s_ovs.hooks.load import PLUGINS_GROUP, load_problem
from k8s_ovs.hooks.result import Failure
from k8s_ovs.model.world import RESERVED_KINDS, Read, Tag
from k8s_ovs.plugin import Flow, KubeResource, Pod, PodRequest, RecordKind, View
from k8s_ovs_testing.ovs import OvsProcess
from k8s_ovs_testing.sample_node import SampleNode

__all__ = ["Answer", "Checked", "check_plugin", "try_flows"]

#: Hooks that are asked once, without a view: what they return is declared, not computed.
_DECLARING = ("tables", "kinds", "resources", "reservations", "config_fields", "commands")
#: Hooks that may look at all, as the leader and doctor do.
_OF_LEADER = ("allocations", "doctor_checks")


@frozen
class Answer:
    """What one hook says of one subject. seconds: how long that took. mistakes: each with its
    file and line."""

    hook: str
    subject: str
    seconds: float
    said: tuple[str, ...] = ()
    mistakes: tuple[str, ...] = ()


@frozen
class Checked:
    """What a check comes to. flows: the plugin's, as text."""

    plugin: str
    is_mode: bool
    answers: tuple[Answer, ...]
    flows: tuple[str, ...]
    mistakes: tuple[str, ...]


def check_plugin(
    name: str,
    records: Mapping[str, str] | None = None,
    objects: Mapping[str, Mapping[str, Any]] | None = None,
) -> tuple[Checked, SampleNode]:
    """Ask every hook of the installed plugin `name`; and the node that ran it.

    records, objects: as those of `SampleNode`. Raises PluginError where it does not load.
    """
    plugin = _loaded(name)
    node = SampleNode(named={name: plugin}, records=records, objects=objects)
    calls = [call for each in find_calls({name: plugin}).values() for call in each]
    answers = tuple(answer for call in calls for answer in _answers(node, call))
    mistakes = [text for each in answers for text in each.mistakes]
    mistakes += [text for text in node.failures if text.startswith(f"plugin {name}: ")]
    mistakes += node.world.problems.values()
    told = tuple(dict.fromkeys(mistakes))
    is_mode = has_hook(plugin, "tenant_of")
    return Checked(name, is_mode, answers, tuple(node.flows(name)), told), node


def try_flows(node: SampleNode, ovs: OvsProcess) -> list[str]:
    """What a real Open vSwitch says to the node's flows; nothing where it takes all."""
    try:
        node.bridge(ovs)
    except SwitchError as error:
        return [f"Open vSwitch: {error}"]
    return []


def _loaded(name: str) -> object:
    entries = list(entry_points(group=PLUGINS_GROUP, name=name))
    if len({each.value for each in entries}) > 1:
        raise PluginError(f'"{name}" is installed more than once, uninstall all but one')
    if not entries:
        known = ", ".join(sorted({each.name for each in entry_points(group=PLUGINS_GROUP)}))
        raise PluginError(f'no plugin "{name}" is installed; installed are {known or "none"}')
    try:
        return entries[0].load()()
    except BaseException as error:  # a plugin may raise anything while it is imported
        if is_ctrl_c(error):
            raise
        raise PluginError(load_problem(entries[0], error)) from error


def _answers(node: SampleNode, call: HookCall) -> Iterator[Answer]:
    for subject, given in _subjects(node, call.hook):
        first, seconds, reads = _asked(node, call, subject, given)
        again = first if call.hook in _DECLARING else _asked(node, call, subject, given)[0]
        if isinstance(first, Failure):
            yield Answer(call.hook, subject, seconds, mistakes=(str(first),))
            continue
        about = f"plugin {call.plugin}: {call.hook} of {subject}"
        mistakes = [f"{about}: {text} ({call.where})" for text in _unknown(node, reads)]
        if not isinstance(again, Failure) and again != first:
            mistakes.append(
                f"{about}: returned something else the second time, expected the same for the same "
                f"view ({call.where})"
            )
        yield Answer(call.hook, subject, seconds, tuple(_said(first)), tuple(mistakes))


def _asked(
    node: SampleNode, call: HookCall, subject: str, given: Mapping[str, Any]
) -> tuple[tuple[Any, ...] | Failure, float, set[Read]]:
    """What a hook says, how long that took, and what it looked at."""
    manager = node.manager
    view = (manager.view if call.hook in _OF_LEADER else manager.node_view)(node.world)
    began = time.perf_counter()
    found = call(subject, **({} if call.hook in _DECLARING else {"view": view, **given}))
    return found, time.perf_counter() - began, view.reads


def _subjects(node: SampleNode, hook: str) -> Iterable[tuple[str, dict[str, Any]]]:
    """What a hook is asked about, as a daemon names it, and what it gets beside the view."""
    view = node.view()
    pods = sorted(view.pods().values(), key=lambda pod: pod.identity)
    own = str(view.local_node.host_ip)
    match hook:
        case "node_flows":
            others = (each for key, each in view.subnets().items() if key != own)
            return [(f"node {each.host_ip}", {"node": each}) for each in others]
        case "pod_flows" | "pod_link" | "tenant_of" | "vni_of":
            return [(f"pod {pod.identity}", {"pod": pod}) for pod in pods]
        case "record_flows":
            subjects = ((kind, key) for kind in node.manager.subjects for key in view.all(kind))
            return [(f"{kind} {key}", {"kind": kind, "key": key}) for kind, key in subjects]
        case "tenant_flows":
            return [(f"tenant {each}", {"tenant": each}) for each in _tenants(view, pods)]
        case "admit_pod" | "pod_address":
            request = PodRequest("default", "new", "uid-new", "container-new", "eth0")
            return [("pod default/new", {"request": request})]
    return [("this plugin" if hook in _DECLARING else "the network", {})]


def _tenants(view: View, pods: Iterable[Pod]) -> list[int]:
    try:
        found = {view.tenant_of(pod) for pod in pods}
    except PluginError:  # which `tenant_of` itself tells
        return []
    return sorted(each for each in found if each is not None)


def _unknown(node: SampleNode, reads: set[Read]) -> Iterator[str]:
    """What of these reads never finds anything."""
    declared: dict[str, RecordKind | KubeResource] = {
        **node.manager.kinds,
        **node.manager.resources,
    }
    for kind in sorted({kind for kind, _, _ in reads} - {*declared, *RESERVED_KINDS}):
        known = ", ".join(sorted({*declared, *RESERVED_KINDS}))
        yield f"looked at records named {shown(kind)}, expected one of {known}"
    for kind, name in sorted({(k, key.name) for k, key, _ in reads if isinstance(key, Tag)}):
        if kind in declared and name not in declared[kind].indexes:
            known = ", ".join(sorted(declared[kind].indexes)) or "none"
            yield f"looked at {kind} by the index {shown(name)}, expected one of {known}"


def _said(results: tuple[Any, ...]) -> Iterator[str]:
    """Each result in a few words; flows are many, and shown on their own."""
    flows = sum(type(each) is Flow for each in results)
    if flows:
        yield f"{flows} flow{'s' if flows > 1 else ''}"
    for each in results:
        if type(each) is not Flow:
            name = getattr(each, "name", None)
            yield name if type(name) is str else shown(each, 100)
