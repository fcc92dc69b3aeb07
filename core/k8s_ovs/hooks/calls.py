"""Which plugin has which hook, and how one is called.

pluggy checks a plugin's hooks against the specification; each is then called by itself, so that
its results carry its plugin's name, and what it raises is its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any, get_args

import pluggy
from attrs import field, frozen

from k8s_ovs.errors import PluginError, shown
from k8s_ovs.hooks.result import Failure
from k8s_ovs.hooks.time_limit import HookTimeout, Rest
from k8s_ovs.pipeline.flow import Flow
from k8s_ovs.pipeline.table import Table
from k8s_ovs.plugin.hooks import PROJECT, Hooks
from k8s_ovs.plugin.records import ConfigField, KubeResource, RecordKind
from k8s_ovs.plugin.values import (
    Allocation,
    Check,
    LinkSettings,
    Metric,
    Problem,
    Refuse,
    Wait,
)
from k8s_ovs.supervise import FaultLog

__all__ = ["SPECS", "HookCall", "HookSpec", "find_calls"]


#: More values than this one call cannot mean: a generator that never ends would stop the node.
_MOST_RESULTS = 1_000_000


@frozen
class HookSpec:
    """What a hook returns: an iterable of values of type `result`, or one such value or None."""

    result: Any
    many: bool = True


#: Every hook of `Hooks`, by name.
SPECS: Mapping[str, HookSpec] = {
    "tables": HookSpec(Table),
    "kinds": HookSpec(RecordKind),
    "resources": HookSpec(KubeResource),
    "config_fields": HookSpec(ConfigField),
    "network_flows": HookSpec(Flow),
    "node_flows": HookSpec(Flow),
    "pod_flows": HookSpec(Flow),
    "tenant_flows": HookSpec(Flow),
    # Which numbers they may return, the manager says.
    "tenant_of": HookSpec(object, many=False),
    "vni_of": HookSpec(object, many=False),
    "pod_link": HookSpec(LinkSettings, many=False),
    "admit_pod": HookSpec(Refuse | Wait, many=False),
    "allocations": HookSpec(Allocation | Problem),
    "status": HookSpec(Mapping, many=False),
    "metrics": HookSpec(Metric),
    "doctor_checks": HookSpec(Check),
    "commands": HookSpec(Mapping, many=False),
}


@frozen
class HookCall:
    """One plugin's hook."""

    plugin: str
    hook: str
    function: Callable[..., Any]
    arguments: tuple[str, ...]
    faults: FaultLog = field(factory=FaultLog, eq=False, repr=False)
    rest: Rest = field(eq=False, repr=False)

    @rest.default
    def _(self) -> Rest:
        return Rest(f"plugin {self.plugin}: {self.hook}")

    def __call__(self, subject: str, **given: Any) -> tuple[Any, ...] | Failure:
        """Its results for `subject`. given: all that the hook may take."""
        spec = SPECS[self.hook]
        try:
            found = self.rest.call(self._ask, given, spec.many)
            wrong = _wrong(found, spec)
        except KeyboardInterrupt:
            raise
        except HookTimeout as error:
            self._tell(error, subject)
            return Failure(self.plugin, self.hook, subject, str(error), again=True)
        except BaseException as error:  # a plugin may raise anything, SystemExit too
            self._tell(error, subject)
            return Failure(self.plugin, self.hook, subject, shown(error, 500))
        return Failure(self.plugin, self.hook, subject, wrong) if wrong else found

    def _ask(self, given: Mapping[str, Any], many: bool) -> tuple[Any, ...]:
        return _results(self.function(**{name: given[name] for name in self.arguments}), many=many)

    def _tell(self, error: BaseException, subject: str) -> None:
        about = {"plugin": self.plugin, "hook": self.hook, "subject": subject}
        self.faults.tell("hook failed", error, **about)


def find_calls(plugins: Mapping[str, object]) -> dict[str, list[HookCall]]:
    """The calls of each hook, in the order of `plugins`. Raises PluginError for what is no hook."""
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(Hooks)
    faults = FaultLog()
    calls: dict[str, list[HookCall]] = {hook: [] for hook in SPECS}
    for name, plugin in plugins.items():
        for hook in SPECS:
            _refuse_unmarked(manager, name, plugin, hook)
        try:
            manager.register(plugin, name)
        except pluggy.PluginValidationError as error:
            raise PluginError(f"plugin {name}: {error}") from error
        for caller in manager.get_hookcallers(plugin) or ():
            for each in caller.get_hookimpls():
                if each.plugin is plugin and caller.name in SPECS:
                    call = HookCall(name, caller.name, each.function, each.argnames, faults)
                    calls[caller.name].append(call)
    _refuse_unknown(manager)
    return calls


def _results(answer: Any, *, many: bool) -> tuple[Any, ...]:
    if answer is None:
        return ()
    if many and isinstance(answer, Iterable):
        return tuple(islice(answer, _MOST_RESULTS + 1))
    return (answer,)


def _wrong(found: tuple[Any, ...], spec: HookSpec) -> str:
    """What is wrong with the results; "": nothing."""
    if len(found) > _MOST_RESULTS:
        return f"returned more than {_MOST_RESULTS} values"
    for each in found:
        if not isinstance(each, spec.result):
            kinds = " or ".join(kind.__name__ for kind in get_args(spec.result) or (spec.result,))
            return f"returned {shown(each)}, expected {kinds}"
    return ""


def _refuse_unmarked(manager: pluggy.PluginManager, name: str, plugin: object, hook: str) -> None:
    """A method that has a hook's name and is none would never be called."""
    if hasattr(plugin, hook) and manager.parse_hookimpl_opts(plugin, hook) is None:
        raise PluginError(f"plugin {name}: {hook} is not marked as a hook, expected @hook above it")


def _refuse_unknown(manager: pluggy.PluginManager) -> None:
    try:
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        name = manager.get_name(error.plugin)
        raise PluginError(f"plugin {name}: {error}; hooks are {', '.join(SPECS)}") from error
