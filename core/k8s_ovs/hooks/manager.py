"""The running set of plugins: stevedore finds them, pluggy calls them, each hook a typed method.

Every result carries its plugin's name. A plugin that raises, or returns what its hook does not
promise, becomes a `Failure`; the others go on.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import entry_points
from typing import Any, TypeAlias, TypeVar

import pluggy
from attrs import frozen
from stevedore.named import NamedExtensionManager

from k8s_ovs.builtin.forwarding import Forwarding
from k8s_ovs.builtin.node_subnets import NODE_SUBNETS, NodeSubnets
from k8s_ovs.errors import PluginError
from k8s_ovs.hooks.guarded import guarded_kind, guarded_resource
from k8s_ovs.hooks.selection import chosen_plugins
from k8s_ovs.model.pod import Pod
from k8s_ovs.model.subnet import HostSubnet
from k8s_ovs.model.tenant import MAX_TENANT_ID
from k8s_ovs.pipeline.flow import Flow
from k8s_ovs.pipeline.table import Pipeline, PipelineError, Table
from k8s_ovs.pipeline.tables import CORE_TABLES
from k8s_ovs.pipeline.wire import MAX_OWNER
from k8s_ovs.plugin.hooks import (
    PROJECT,
    Allocation,
    Check,
    Hooks,
    KubeResource,
    LinkSettings,
    Metric,
    PodRequest,
    Problem,
    RecordKind,
    Refuse,
    Wait,
)
from k8s_ovs.plugin.view import RESERVED_KINDS, View, World

__all__ = [
    "CORE",
    "HOOK_NAMES",
    "Failure",
    "PluginManager",
    "installed_plugins",
    "load_plugins",
]

PLUGINS_GROUP = "k8s_ovs.plugins"
FEATURES_GROUP = "k8s_ovs.features"

#: The core's own hooks run under this name.
CORE = "core"

HOOK_NAMES = tuple(name for name in vars(Hooks) if not name.startswith("_"))

T = TypeVar("T")


@frozen
class Failure:
    """What a plugin's hook raised, or promised and did not return."""

    plugin: str
    hook: str
    subject: str
    error: str

    def __str__(self) -> str:
        return f"plugin {self.plugin}: {self.hook} of {self.subject}: {self.error}"


#: (plugin, its results or what went wrong), a plugin at a time.
Results: TypeAlias = list[tuple[str, tuple[T, ...] | Failure]]


def installed_plugins() -> dict[str, tuple[str, ...]]:
    """Names of installed plugins and of those that come along: {"plugins": .., "features": ..}."""
    return {
        "plugins": tuple(sorted({e.name for e in entry_points(group=PLUGINS_GROUP)})),
        "features": tuple(sorted({e.name for e in entry_points(group=FEATURES_GROUP)})),
    }


def known_owners() -> dict[int, str]:
    """Names of the core's hooks and all installed plugins, by the 16 bits that mark their flows."""
    names = (CORE, NODE_SUBNETS, *installed_plugins()["plugins"])
    return {_owner(name): name for name in names}


def load_plugins(plugin_name: str) -> PluginManager:
    """The plugins that `plugin_name` of the configuration asks for.

    Raises PluginError that says which name is wrong and what is installed.
    """
    known = installed_plugins()
    names = chosen_plugins(plugin_name, known["plugins"], known["features"])
    _refuse_namesakes(names)
    broken: list[str] = []
    late: list[str] = []
    found: Any = NamedExtensionManager(
        PLUGINS_GROUP,
        list(names),
        invoke_on_load=True,
        name_order=True,
        on_load_failure_callback=lambda _, entry, error: broken.append(
            f'plugin "{entry.name}" ({entry.value}) does not load: {error!r}'
        ),
        on_missing_entrypoints_callback=late.extend,
    )
    if broken:
        raise PluginError("; ".join(broken))
    if late:  # stevedore looks once in the life of a process
        raise PluginError(
            f"PluginName: {', '.join(sorted(late))} came after this program had started, restart it"
        )
    plugins = {extension.name: extension.obj for extension in found}
    modes = [name for name, plugin in plugins.items() if hasattr(plugin, "tenant_of")]
    if len(modes) != 1:
        said = f"names {len(modes)} modes ({', '.join(modes)})" if modes else "names no mode"
        raise PluginError(
            f'PluginName: "{plugin_name}" {said}, expected exactly one; '
            f"installed modes are {', '.join(_installed_modes()) or 'none'}"
        )
    return PluginManager(plugins)


def _refuse_namesakes(names: Iterable[str]) -> None:
    for name in names:
        places = sorted({e.value for e in entry_points(group=PLUGINS_GROUP, name=name)})
        if len(places) > 1:
            raise PluginError(
                f'PluginName: "{name}" is installed more than once: {" and ".join(places)}; '
                "uninstall all but one"
            )


def _installed_modes() -> list[str]:
    modes = set()
    for entry in entry_points(group=PLUGINS_GROUP):
        # One that does not even load is no mode that could be recommended.
        with contextlib.suppress(Exception):
            if hasattr(entry.load(), "tenant_of"):
                modes.add(entry.name)
    return sorted(modes)


class PluginManager:
    """The core's own hooks and those of `plugins`, called by name."""

    def __init__(self, plugins: Mapping[str, object]) -> None:
        """plugins: by name, in the order in which they are called; one of them a mode.

        Raises PluginError for hooks that do not exist, tables that do not fit, records that two
        declare.
        """
        self._core = Forwarding()
        loaded = {CORE: self._core, NODE_SUBNETS: NodeSubnets(), **plugins}
        self.names = tuple(loaded)
        self.mode = next((name for name in plugins if hasattr(plugins[name], "tenant_of")), "")
        self._callers = _find_callers(loaded)
        self._owner_bits = _owner_bits(self.names)
        self.pipeline = self._make_pipeline()
        #: All kinds of etcd records and all resources of Kubernetes, by name.
        self.kinds: dict[str, RecordKind] = {}
        self.resources: dict[str, KubeResource] = {}
        self._declare_records()
        self._holders = {each.name: each.holds for each in self.kinds.values() if each.holds}

    def owner_bits(self, plugin: str) -> int:
        """The 16 bits that mark the flows of `plugin`."""
        return self._owner_bits[plugin]

    def view(self, world: World) -> View:
        """A view for one hook call."""
        return View(world, self._tenant_of, self._vni_of, self._holders)

    def network_flows(self, view: View) -> Results[Flow]:
        return self._flows("network_flows", "the network", view=view)

    def node_flows(self, view: View, node: HostSubnet) -> Results[Flow]:
        return self._flows("node_flows", f"node {node.host_ip}", view=view, node=node)

    def pod_flows(self, view: View, pod: Pod) -> Results[Flow]:
        return self._flows("pod_flows", f"pod {pod.identity}", view=view, pod=pod)

    def tenant_flows(self, view: View, tenant: int) -> Results[Flow]:
        return self._flows("tenant_flows", f"tenant {tenant}", view=view, tenant=tenant)

    def pod_link(self, view: View, pod: Pod) -> Results[LinkSettings]:
        subject = f"pod {pod.identity}"
        return list(self._call("pod_link", subject, LinkSettings, view=view, pod=pod))

    def admit_pod(self, view: View, request: PodRequest) -> Results[Refuse | Wait]:
        subject = f"pod {request.namespace}/{request.name}"
        return list(self._call("admit_pod", subject, Refuse | Wait, view=view, request=request))

    def allocations(
        self, look: Callable[[], World]
    ) -> Iterator[tuple[str, tuple[Allocation | Problem, ...] | Failure]]:
        """look: the world as it is when a plugin's turn comes, so that none gives away again what
        was written for the one before."""
        wanted: Any = Allocation | Problem
        for plugin, caller in self._callers.get("allocations", ()):
            view = self.view(look())
            yield (
                plugin,
                _call_plugin(plugin, caller, "allocations", "the network", wanted, view=view),
            )

    def status(self, view: View) -> Results[Mapping[str, Any]]:
        return list(self._call("status", "the network", Mapping, one=True, view=view))

    def metrics(self, view: View) -> Results[Metric]:
        return list(self._call("metrics", "the network", Metric, view=view))

    def doctor_checks(self, view: View) -> Results[Check]:
        return list(self._call("doctor_checks", "the network", Check, view=view))

    def commands(self) -> Results[Mapping[str, Any]]:
        return list(self._call("commands", "this plugin", Mapping, one=True))

    def _flows(self, hook: str, subject: str, **arguments: Any) -> Results[Flow]:
        return list(self._call(hook, subject, Flow, **arguments))

    def _tenant_of(self, view: View, pod: Pod) -> int | None:
        return self._number_of("tenant_of", view, pod)

    def _vni_of(self, view: View, pod: Pod) -> int | None:
        hook = "vni_of" if "vni_of" in self._callers else "tenant_of"
        return self._number_of(hook, view, pod)

    def _number_of(self, hook: str, view: View, pod: Pod) -> int | None:
        """What the mode says. Raises PluginError where it raises or says no tenant's number."""
        for plugin, caller in self._callers.get(hook, ()):
            try:
                number = caller(view=view, pod=pod)[0:1]
            except Exception as error:
                raise PluginError(f"plugin {plugin}: {hook} {pod.identity}: {error!r}") from error
            if not number:
                return None
            if type(number[0]) is int and 0 <= number[0] <= MAX_TENANT_ID:
                return number[0]
            raise PluginError(
                f"plugin {plugin}: {hook} {pod.identity} returned {number[0]!r}, "
                f"expected 0 to {MAX_TENANT_ID}"
            )
        raise PluginError("no mode is loaded")

    def _call(
        self, hook: str, subject: str, kind: Any, *, one: bool = False, **arguments: Any
    ) -> Iterator[tuple[str, Any]]:
        """(plugin, tuple of its results or Failure) for each plugin that has the hook."""
        for plugin, caller in self._callers.get(hook, ()):
            yield plugin, _call_plugin(plugin, caller, hook, subject, kind, one=one, **arguments)

    def _declared(self, hook: str, kind: Any) -> Iterator[tuple[str, Any]]:
        """(plugin, what it declares), one at a time; raises PluginError where one raises."""
        for plugin, result in self._call(hook, "this plugin", kind):
            if isinstance(result, Failure):
                raise PluginError(str(result))
            for each in result:
                yield plugin, each

    def _declare_records(self) -> None:
        declared = [
            *self._declared("kinds", RecordKind),
            *self._declared("resources", KubeResource),
        ]
        for plugin, each in sorted(declared, key=lambda pair: self.names.index(pair[0])):
            self._refuse_known(plugin, each.name)
            if isinstance(each, RecordKind):
                self.kinds[each.name] = guarded_kind(plugin, each)
            else:
                self.resources[each.name] = guarded_resource(plugin, each)

    def _refuse_known(self, plugin: str, name: str) -> None:
        if name in RESERVED_KINDS or name in self.kinds or name in self.resources:
            raise PluginError(
                f'plugin {plugin}: records named "{name}" are declared already, '
                "expected another name"
            )

    def _make_pipeline(self) -> Pipeline:
        pipeline, added = Pipeline(CORE_TABLES), list[Table]()
        for plugin, table in self._declared("tables", Table):
            added.append(table)
            try:
                pipeline = Pipeline(CORE_TABLES, added)
            except PipelineError as error:
                raise PluginError(f"plugin {plugin}: {error}") from error
        self._core.added_tables = tuple(added)
        return pipeline


def _find_callers(plugins: Mapping[str, object]) -> dict[str, list[tuple[str, Any]]]:
    """For each hook the plugins that have it, each with a caller of its own."""
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(Hooks)
    for name, plugin in plugins.items():
        try:
            manager.register(plugin, name)
        except pluggy.PluginValidationError as error:
            raise PluginError(f"plugin {name}: {error}") from error
    _refuse_unknown_hooks(manager)
    callers: dict[str, list[tuple[str, Any]]] = {}
    for hook in HOOK_NAMES:
        for name, plugin in plugins.items():
            _refuse_unmarked(manager, name, plugin, hook)
            others = [plugin for other, plugin in plugins.items() if other != name]
            caller = manager.subset_hook_caller(hook, others)
            if caller.get_hookimpls():
                callers.setdefault(hook, []).append((name, caller))
    return callers


def _refuse_unmarked(manager: pluggy.PluginManager, name: str, plugin: object, hook: str) -> None:
    """A method that has a hook's name and is none would never be called."""
    if hasattr(plugin, hook) and manager.parse_hookimpl_opts(plugin, hook) is None:
        raise PluginError(f"plugin {name}: {hook} is not marked as a hook, expected @hook above it")


def _refuse_unknown_hooks(manager: pluggy.PluginManager) -> None:
    try:
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        name = manager.get_name(error.plugin)
        raise PluginError(f"plugin {name}: {error}; hooks are {', '.join(HOOK_NAMES)}") from error


def _call_plugin(
    plugin: str, caller: Any, hook: str, subject: str, kind: Any, *, one: bool = False, **words: Any
) -> tuple[Any, ...] | Failure:
    """A plugin's results. words: the hook's arguments."""
    try:
        found = _flat(caller(**words), one=one)
    except Exception as error:  # a plugin may raise anything; the others go on
        return Failure(plugin, hook, subject, repr(error))
    wrong = next((each for each in found if not isinstance(each, kind)), None)
    if wrong is None:
        return found
    text = f"returned {wrong!r}, expected {getattr(kind, '__name__', kind)}"
    return Failure(plugin, hook, subject, text)


def _flat(answers: list[Any], *, one: bool) -> tuple[Any, ...]:
    """pluggy's list of one plugin's answers as one tuple; `one`: each answer is a single value."""
    flat: list[Any] = []
    for answer in answers:
        if one or not isinstance(answer, Iterable):
            flat.append(answer)
        else:
            flat.extend(answer)
    return tuple(flat)


def _owner(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=2).digest(), "big")


def _owner_bits(names: Iterable[str]) -> dict[str, int]:
    """16 bits of each name's hash; raises PluginError where two plugins would share them."""
    owners: dict[str, int] = {}
    for name in names:
        digest = hashlib.blake2b(name.encode(), digest_size=2).digest()
        number = int.from_bytes(digest, "big") % (MAX_OWNER + 1)
        for other, taken in owners.items():
            if taken == number:
                raise PluginError(
                    f"plugins {other} and {name} have the same flow owner, rename one"
                )
        owners[name] = number
    return owners
