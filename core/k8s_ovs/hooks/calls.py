"""How is one plugin's hook called, and what may it return?

Each is called by itself, so that its results carry its plugin's name, and what it raises is its
own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any, get_args

from attrs import field, frozen, validate

from k8s_ovs.errors import K8sOvsError, is_ctrl_c, shown
from k8s_ovs.hooks.json_values import plain_object
from k8s_ovs.hooks.result import Failure, WrongResult
from k8s_ovs.hooks.time_limit import HookTimeout, Rest, Resting
from k8s_ovs.hooks.where import defined_at, module_of, raised_at
from k8s_ovs.model.checked import as_text
from k8s_ovs.pipeline.flow import Flow
from k8s_ovs.pipeline.reservation import Subfield, Zone
from k8s_ovs.pipeline.table import PipelineError, Table
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

__all__ = ["SPECS", "HookCall", "HookSpec"]


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

    @property
    def expected(self) -> str:
        """Names of the types that a result may have."""
        if self.result is object:
            return "int or None"
        return " or ".join(kind.__name__ for kind in get_args(self.result) or (self.result,))


#: Of these a hook's result may be of any class.
_ANY_CLASS = (object, Mapping)

#: Every hook of `Hooks`, by name.
SPECS: Mapping[str, HookSpec] = {
    "tables": HookSpec(Table),
    "reservations": HookSpec(Subfield | Zone),
    "kinds": HookSpec(RecordKind),
    "resources": HookSpec(KubeResource),
    "config_fields": HookSpec(ConfigField),
    "network_flows": HookSpec(Flow),
    "node_flows": HookSpec(Flow),
    "pod_flows": HookSpec(Flow),
    "tenant_flows": HookSpec(Flow),
    "record_flows": HookSpec(Flow),
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
            return self._failure(subject, error, str(error))
        except WrongResult as error:
            return self._failure(subject, error, str(error))
        except BaseException as error:  # a plugin may raise anything, SystemExit too
            if is_ctrl_c(error):
                raise
            text = shown(error, 500)
            # Our own errors say what they expect.
            said = isinstance(error, K8sOvsError | PipelineError)
            text = text if said else f"{text}, expected {SPECS[self.hook].expected}"
            view = given.get("view")
            # Where it missed what is not listed yet, it is asked again.
            early = view is not None and bool(view.early.found)
            return self._failure(subject, error, text, told=not early)
        return found

    @property
    def where(self) -> str:
        """File and line of the hook."""
        return defined_at(self.function)

    def _ask(self, given: Mapping[str, Any]) -> tuple[Any, ...]:
        spec = SPECS[self.hook]
        answer = self.function(**{name: given[name] for name in self.arguments})
        return tuple(_checked(each, spec) for each in _results(answer, many=spec.many))

    def _failure(
        self, subject: str, error: BaseException, text: str, *, told: bool = True
    ) -> Failure:
        if told:
            about = {"plugin": self.plugin, "hook": self.hook, "subject": subject}
            self.faults.tell("hook failed", error, **about)
        where = raised_at(error, module_of(self.function)) or self.where
        again = isinstance(error, HookTimeout)
        return Failure(self.plugin, self.hook, subject, text, again, where)


def _results(answer: Any, *, many: bool) -> tuple[Any, ...]:
    if answer is None:
        return ()
    if many and isinstance(answer, Iterable):
        found = tuple(islice(answer, _MOST_RESULTS + 1))
        if len(found) > _MOST_RESULTS:
            raise WrongResult(f"returned more than {_MOST_RESULTS} values, expected fewer")
        return found
    return (answer,)


def _checked(found: Any, spec: HookSpec) -> Any:
    """A result of which every part is what it promises to be. Raises WrongResult, and whatever
    `found` raises: it may be of a plugin's own class, or made without its checks."""
    kinds = get_args(spec.result) or (spec.result,)
    good = isinstance(found, spec.result) if spec.result in _ANY_CLASS else type(found) in kinds
    if not good:
        raise WrongResult(f"returned {shown(found)}, expected {spec.expected}")
    # Flows are many, and are checked once more when they are encoded.
    if spec.result not in (*_ANY_CLASS, Flow):
        validate(found)
    return spec.plain(found)
