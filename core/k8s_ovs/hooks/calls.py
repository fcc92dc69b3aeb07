"""Which plugin has which hook, and how one is called.

pluggy checks a plugin's hooks against the specification; each is then called by itself, so that
its results carry its plugin's name, and what it raises is its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any, get_args

import pluggy
from attrs import field, frozen, validate

from k8s_ovs.errors import PluginError, is_ctrl_c, shown
from k8s_ovs.hooks.json_values import plain_object
from k8s_ovs.hooks.result import Failure, WrongResult
from k8s_ovs.hooks.time_limit import HookTimeout, Rest, Resting
from k8s_ovs.model.checked import as_text
from k8s_ovs.pipeline.flow import Flow
from k8s_ovs.pipeline.table import Table
from k8s_ovs.plugin.hooks import PROJECT, Hooks
from k8s_ovs.plugin.records import ConfigField, KubeResource, RecordKind
from k8s_ovs.plugin.values import (
    AddressChoice,
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


def _as_it_is(value: Any) -> Any:
    return value


def _by_name(found: Mapping[Any, Any]) -> dict[str, Any]:
    return {as_text(str(name)): each for name, each in found.items()}


@frozen
class HookSpec:
    """What a hook returns: an iterable of values of type `result`, or one such value or None.

    plain: makes a value of the core's own of one, as a plugin's may raise whenever it is used.
    """

    result: Any
    many: bool = True
    plain: Callable[[Any], Any] = _as_it_is


#: Of these a hook's result may be of any class.
_ANY_CLASS = (object, Mapping)

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
    "pod_address": HookSpec(AddressChoice, many=False),
    "allocations": HookSpec(Allocation | Problem),
    "status": HookSpec(Mapping, many=False, plain=plain_object),
    "metrics": HookSpec(Metric),
    "doctor_checks": HookSpec(Check),
    "commands": HookSpec(Mapping, many=False, plain=_by_name),
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
        try:
            found: tuple[Any, ...] = self.rest.call(self._ask, given)
        except HookTimeout as error:
            if self.rest.nested and not isinstance(error, Resting):
                raise  # it is the caller's time that is over
            self._tell(error, subject)
            return Failure(self.plugin, self.hook, subject, str(error), again=True)
        except WrongResult as error:
            self._tell(error, subject)
            return Failure(self.plugin, self.hook, subject, str(error))
        except BaseException as error:  # a plugin may raise anything, SystemExit too
            if is_ctrl_c(error):
                raise
            self._tell(error, subject)
            return Failure(self.plugin, self.hook, subject, shown(error, 500))
        return found

    def _ask(self, given: Mapping[str, Any]) -> tuple[Any, ...]:
        spec = SPECS[self.hook]
        answer = self.function(**{name: given[name] for name in self.arguments})
        return tuple(_checked(each, spec) for each in _results(answer, many=spec.many))

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
        found = tuple(islice(answer, _MOST_RESULTS + 1))
        if len(found) > _MOST_RESULTS:
            raise WrongResult(f"returned more than {_MOST_RESULTS} values")
        return found
    return (answer,)


def _checked(found: Any, spec: HookSpec) -> Any:
    """A result of which every part is what it promises to be. Raises WrongResult, and whatever
    `found` raises: it may be of a plugin's own class, or made without its checks."""
    kinds = get_args(spec.result) or (spec.result,)
    good = isinstance(found, spec.result) if spec.result in _ANY_CLASS else type(found) in kinds
    if not good:
        raise WrongResult(
            f"returned {shown(found)}, expected {' or '.join(kind.__name__ for kind in kinds)}"
        )
    # Flows are many, and are checked once more when they are encoded.
    if spec.result not in (*_ANY_CLASS, Flow):
        validate(found)
    return spec.plain(found)


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
