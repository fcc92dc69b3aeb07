"""The running set of plugins: each hook is a typed method, its results carry their plugin's name.

A plugin that raises, or returns what its hook does not promise, becomes a `Failure`; the others go
on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby
from operator import itemgetter
from typing import Any

from k8s_ovs.builtin import BUILTIN, CORE
from k8s_ovs.errors import InvalidRecord, PluginError, shown
from k8s_ovs.hooks.calls import HookCall
from k8s_ovs.hooks.find import find_calls, has_hook
from k8s_ovs.hooks.guarded import guarded_field, guarded_kind, guarded_resource
from k8s_ovs.hooks.owners import owners_of
from k8s_ovs.hooks.result import Failure, Held, Judged, Results
from k8s_ovs.hooks.where import in_brackets
from k8s_ovs.model.codec import field_names
from k8s_ovs.model.network import NetworkConfig
from k8s_ovs.model.pod import Pod
from k8s_ovs.model.subnet import HostSubnet
from k8s_ovs.model.tenant import MAX_TENANT_ID
from k8s_ovs.model.world import CONNECTED, RESERVED_KINDS, UNSYNCED, World
from k8s_ovs.pipeline.flow import Flow
from k8s_ovs.pipeline.reservation import Subfield, Zone, clash
from k8s_ovs.pipeline.table import Pipeline, PipelineError, Table
from k8s_ovs.pipeline.tables import CORE_TABLES
from k8s_ovs.plugin.records import ConfigField, KubeResource, RecordKind
from k8s_ovs.plugin.values import (
    AddressChoice,
    Allocation,
    Check,
    LinkSettings,
    Metric,
    PodRequest,
    Problem,
    Refuse,
    Wait,
)
from k8s_ovs.plugin.view import Answering, PluginSet, View

__all__ = ["PluginManager"]

#: What an author may do who wants to read what another plugin reads.
_SHARED = ": the same objects may be read under several names, by one watch"


class PluginManager:
    """The built-in plugins and `plugins`, called by name."""

    def __init__(self, plugins: Mapping[str, object]) -> None:
        """plugins: by name, in the order in which they are called; one of them a mode.

        Raises PluginError for hooks that do not exist, tables that do not fit, and for records and
        reservations that two declare.
        """
        for name in BUILTIN.keys() & plugins.keys():
            raise PluginError(f"plugin {name}: the core has one of this name, expected another")
        loaded = {**BUILTIN, **plugins}
        self.names = tuple(loaded)
        self.mode = next((name for name in plugins if has_hook(plugins[name], "tenant_of")), "")
        self._calls = find_calls(loaded)
        self._owner_bits = owners_of(self.names)
        self.pipeline = self._make_pipeline()
        self._refuse_clashes()
        #: All kinds of etcd records and all resources of Kubernetes, by name.
        self.kinds: dict[str, RecordKind] = {}
        self.resources: dict[str, KubeResource] = {}
        #: Which plugin reads each resource.
        self.readers: dict[str, str] = {}
        #: Which plugin says the flows of each record of a kind.
        self.subjects: dict[str, str] = {}
        self._declare_records()
        self._refuse_mute_subjects()
        #: All fields of the configuration that plugins read, by name.
        self.config_fields: dict[str, ConfigField] = {}
        self._declare_fields()
        holds = {each.name: each.holds for each in self.kinds.values() if each.holds}
        declared: dict[str, RecordKind | KubeResource] = {**self.kinds, **self.resources}
        allocated = frozenset(name for name in declared if declared[name].for_allocation)
        self._plugin_set = PluginSet(self._tenant_of, self._vni_of, self.pipeline, holds, allocated)

    def where(self, plugin: str, hook: str) -> str:
        """File and line of a plugin's hook, in brackets behind a blank; "": not known."""
        found = next((call.where for call in self._calls[hook] if call.plugin == plugin), "")
        return in_brackets(found)

    def owner_bits(self, plugin: str) -> int:
        """The 16 bits that mark the flows of `plugin`."""
        return self._owner_bits[plugin]

    def view(self, world: World, answering: Answering | None = None) -> View:
        """A view of all, for what allocates or is about the cluster. answering: who remembers
        answers, if anybody."""
        connected = world.settled(CONNECTED).items()
        away = frozenset(name for name, is_connected in connected if not is_connected)
        return View(world, self._plugin_set, answering, away=away)

    def node_view(self, world: World, answering: Answering | None = None) -> View:
        """A view for the hooks that each node calls: without what the leader alone watches."""
        return View(world, self._plugin_set, answering, self._plugin_set.for_allocation)

    def config_problems(self, config: NetworkConfig) -> list[str]:
        """What is wrong with the fields of the configuration that plugins read."""
        problems: list[str] = []
        for name in sorted(config.extra.keys() & self.config_fields.keys()):
            try:
                found = self.config_fields[name].problem(config.extra[name])
            except InvalidRecord as error:
                found = f"{name}: {error}"
            problems += [found] if found else []
        return problems

    def network_flows(self, view: View) -> Judged[Flow]:
        return self._judge("network_flows", "the network", view)

    def node_flows(self, view: View, node: HostSubnet) -> Judged[Flow]:
        return self._judge("node_flows", f"node {node.host_ip}", view, node=node)

    def pod_flows(self, view: View, pod: Pod) -> Judged[Flow]:
        return self._judge("pod_flows", f"pod {pod.identity}", view, pod=pod)

    def tenant_flows(self, view: View, tenant: int) -> Judged[Flow]:
        return self._judge("tenant_flows", f"tenant {tenant}", view, tenant=tenant)

    def record_flows(self, view: View, kind: str, key: str) -> Judged[Flow]:
        """Only the plugin that declares the kind is asked."""
        plugin = self.subjects[kind]
        calls = (call for call in self._calls["record_flows"] if call.plugin == plugin)
        return [
            (plugin, _judged(call, f"{kind} {key}", view, kind=kind, key=key)) for call in calls
        ]

    def unlisted_subjects(self, world: World) -> list[Held]:
        """What plugins lack that say the flows of objects which have not been listed yet."""
        unlisted = world.of(UNSYNCED)
        return [
            Held(plugin, frozenset({name}))
            for name, plugin in self.subjects.items()
            if name in unlisted
        ]

    def pod_link(self, view: View, pod: Pod) -> Judged[LinkSettings]:
        return self._judge("pod_link", f"pod {pod.identity}", view, pod=pod)

    def admit_pod(self, view: View, request: PodRequest) -> Judged[Refuse | Wait]:
        subject = f"pod {request.namespace}/{request.name}"
        return self._judge("admit_pod", subject, view, request=request)

    def pod_address(self, view: View, request: PodRequest) -> Judged[AddressChoice]:
        subject = f"pod {request.namespace}/{request.name}"
        return self._judge("pod_address", subject, view, request=request)

    @property
    def allocators(self) -> tuple[str, ...]:
        """Plugins that allocate, in the order in which they are asked."""
        return tuple(call.plugin for call in self._calls["allocations"])

    def allocations(
        self, plugin: str, view: View
    ) -> tuple[Allocation | Problem, ...] | Failure | Held:
        """What one of the `allocators` wants to be written."""
        (call,) = (each for each in self._calls["allocations"] if each.plugin == plugin)
        return _judged(call, "the network", view)

    def status(self, view: View) -> Results[Mapping[str, Any]]:
        return self._ask("status", "the network", view=view)

    def metrics(self, view: View) -> Results[Metric]:
        return self._ask("metrics", "the network", view=view)

    def doctor_checks(self, view: View) -> Results[Check]:
        return self._ask("doctor_checks", "the network", view=view)

    def commands(self) -> Results[Mapping[str, Any]]:
        return self._ask("commands", "this plugin")

    def _ask(self, hook: str, subject: str, **given: Any) -> Results[Any]:
        return [(call.plugin, call(subject, **given)) for call in self._calls[hook]]

    def _tenant_of(self, view: View, pod: Pod) -> int | None:
        return self._number_of("tenant_of", view, pod)

    def _vni_of(self, view: View, pod: Pod) -> int | None:
        return self._number_of("vni_of" if self._calls["vni_of"] else "tenant_of", view, pod)

    def _judge(self, hook: str, subject: str, view: View, **given: Any) -> Judged[Any]:
        """As `_ask`; an answer does not count where the plugin could not know yet."""
        return [(call.plugin, _judged(call, subject, view, **given)) for call in self._calls[hook]]

    def _number_of(self, hook: str, view: View, pod: Pod) -> int | None:
        """What the mode says. Raises PluginError where it raises or says no tenant's number."""
        for call in self._calls[hook]:
            found = call(f"pod {pod.identity}", view=view, pod=pod)
            if isinstance(found, Failure):
                error = PluginError(str(found))
                error.passing = found.again
                raise error
            number = found[0] if found else None
            if number is None or (type(number) is int and 0 <= number <= MAX_TENANT_ID):
                return number
            raise PluginError(
                f"plugin {call.plugin}: {hook} of pod {pod.identity}: returned {shown(number)}, "
                f"expected 0 to {MAX_TENANT_ID}{self.where(call.plugin, hook)}"
            )
        raise PluginError("no mode is loaded")

    def _declared(self, hook: str) -> Iterator[tuple[str, Any]]:
        """(plugin, what it declares), one at a time; raises PluginError where one raises."""
        for plugin, result in self._ask(hook, "this plugin"):
            if isinstance(result, Failure):
                raise PluginError(str(result))
            for each in result:
                yield plugin, each

    def _declare_records(self) -> None:
        declared = [*self._declared("kinds"), *self._declared("resources")]
        declared_by: dict[str, str] = dict.fromkeys(RESERVED_KINDS, CORE)
        for plugin, each in sorted(declared, key=lambda pair: self.names.index(pair[0])):
            hook = "kinds" if isinstance(each, RecordKind) else "resources"
            if each.name in declared_by:
                shared = _SHARED if each.name in self.resources else ""
                raise PluginError(
                    f'plugin {plugin}: records named "{each.name}" are declared already, by plugin '
                    f"{declared_by[each.name]}, expected another name{shared}"
                    f"{self.where(plugin, hook)}"
                )
            declared_by[each.name] = plugin
            if isinstance(each, RecordKind):
                self.kinds[each.name] = guarded_kind(plugin, each, self.where(plugin, "kinds"))
            else:
                self.resources[each.name] = guarded_resource(plugin, each)
                self.readers[each.name] = plugin
            if each.is_subject:
                self.subjects[each.name] = plugin

    def _refuse_mute_subjects(self) -> None:
        """Raises PluginError where a hook would never be called, or is missing."""
        saying = {call.plugin for call in self._calls["record_flows"]}
        for plugin in saying - set(self.subjects.values()):
            raise PluginError(
                f"plugin {plugin}: record_flows is never called, expected a kind or a resource "
                f"with is_subject{self.where(plugin, 'record_flows')}"
            )
        for name, plugin in self.subjects.items():
            if plugin not in saying:
                raise PluginError(
                    f'plugin {plugin}: "{name}" has is_subject, expected the hook record_flows'
                )

    def _declare_fields(self) -> None:
        for plugin, each in self._declared("config_fields"):
            if each.name in self.config_fields or each.name in field_names(NetworkConfig):
                raise PluginError(
                    f'plugin {plugin}: the field "{each.name}" of the configuration is declared '
                    f"already, expected another name{self.where(plugin, 'config_fields')}"
                )
            self.config_fields[each.name] = guarded_field(plugin, each)

    def _make_pipeline(self) -> Pipeline:
        pipeline, added = Pipeline(CORE_TABLES), list[Table]()
        declared = groupby(self._declared("tables"), key=itemgetter(0))
        for plugin, tables in declared:
            added += [table for _, table in tables]
            try:
                pipeline = Pipeline(CORE_TABLES, added)
            except PipelineError as error:
                where = self.where(plugin, "tables")
                raise PluginError(f"plugin {plugin}: {error}{where}") from error
        return pipeline

    def _refuse_clashes(self) -> None:
        """Raises PluginError where two reserve the same of what packets and connections carry."""
        owners: dict[Subfield | Zone, str] = {}
        for plugin, wanted in self._declared("reservations"):
            taken = clash(wanted, owners)
            if taken is not None:
                raise PluginError(
                    f"plugin {plugin}: {wanted.name} is {wanted}, and plugin {owners[taken]} has "
                    f"{taken.name}, {taken}: expected another name and others"
                    f"{self.where(plugin, 'reservations')}"
                )
            owners[wanted] = plugin


def _judged(
    call: HookCall, subject: str, view: View, **given: Any
) -> tuple[Any, ...] | Failure | Held:
    """What a hook says; it does not count where it could not know yet what it has looked at."""
    with view.early.apart() as early:
        answer = call(subject, view=view, **given)
    return Held(call.plugin, frozenset(early)) if early else answer
