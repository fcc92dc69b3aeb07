"""Which of a plugin's methods are hooks, and can each be called?

A method that would never be called, or never as its author means it, is refused when the plugin is
loaded.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import pluggy

from k8s_ovs.errors import PluginError, is_ctrl_c, shown
from k8s_ovs.hooks.calls import SPECS, HookCall
from k8s_ovs.hooks.where import class_at, defined_at, in_brackets, raised_at
from k8s_ovs.plugin.hooks import PROJECT, Hooks
from k8s_ovs.plugin.version import API_VERSION, version_problem
from k8s_ovs.supervise import FaultLog

__all__ = ["find_calls", "has_hook"]

_ARGUMENTS = {hook: tuple(inspect.signature(getattr(Hooks, hook)).parameters)[1:] for hook in SPECS}
_NOT_NAMED = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def find_calls(plugins: Mapping[str, object]) -> dict[str, list[HookCall]]:
    """The calls of each hook, in the order of `plugins`. Raises PluginError for what is no hook."""
    marks = pluggy.PluginManager(PROJECT)
    faults = FaultLog()
    calls: dict[str, list[HookCall]] = {hook: [] for hook in SPECS}
    for name, plugin in plugins.items():
        try:
            _refuse_other_version(plugin)
            for hook in dir(plugin):
                if _is_marked(marks, plugin, hook):
                    method = getattr(plugin, hook)
                    arguments = _arguments(hook, method)
                    calls[hook].append(HookCall(name, hook, method, arguments, faults))
        except PluginError as error:
            raise PluginError(f"plugin {name}: {error}") from error
        except BaseException as error:  # an attribute of a plugin may raise anything
            if is_ctrl_c(error):
                raise
            at = in_brackets(raised_at(error, type(plugin).__module__) or class_at(plugin))
            text = f"{shown(error)}, expected methods marked with @hook{at}"
            raise PluginError(f"plugin {name}: {text}") from error
    return calls


def has_hook(plugin: object, hook: str) -> bool:
    """Whether a plugin, or its class, has this hook; one that it inherits from `Hooks` is none."""
    found = getattr(plugin, hook, None)
    return found is not None and getattr(found, "__func__", found) is not getattr(Hooks, hook)


def _refuse_other_version(plugin: object) -> None:
    wanted = getattr(plugin, "api_version", API_VERSION)
    if problem := version_problem(wanted):
        raise PluginError(
            f"{problem}, as this is version {API_VERSION}{in_brackets(class_at(plugin))}"
        )


def _is_marked(marks: pluggy.PluginManager, plugin: object, name: str) -> bool:
    """Whether a method is marked as a hook. Raises PluginError where it is not and should be, and
    where it is and is none."""
    if marks.parse_hookimpl_opts(plugin, name) is None:
        if name in SPECS and has_hook(plugin, name):
            at = in_brackets(defined_at(getattr(plugin, name)))
            raise PluginError(f"{name} is not marked as a hook, expected @hook above it{at}")
        return False
    if name not in SPECS:
        near = " or ".join(get_close_matches(name, SPECS)) or "a hook's name"
        at = in_brackets(defined_at(getattr(plugin, name)))
        raise PluginError(f"unknown hook {name!r}, expected {near}{at}; hooks are {_listed(SPECS)}")
    return True


def _arguments(hook: str, method: Any) -> tuple[str, ...]:
    """What a hook takes of all that it may take. Raises PluginError for something else."""
    if inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method):
        raise PluginError(
            f"{hook} is a coroutine (async def), expected a function that returns"
            f"{in_brackets(defined_at(method))}"
        )
    taken = inspect.signature(method).parameters.values()
    named = [each for each in taken if each.kind not in _NOT_NAMED]
    wrong = [
        each.name
        for each in named
        if each.kind is inspect.Parameter.POSITIONAL_ONLY
        or (each.default is inspect.Parameter.empty and each.name not in _ARGUMENTS[hook])
    ]
    if wrong:
        expected = f"{hook}({_listed(('self', *_ARGUMENTS[hook]))}) or fewer of these"
        at = in_brackets(defined_at(method))
        raise PluginError(f"{hook} takes {_listed(wrong)}, expected {expected}{at}")
    if any(each.kind is inspect.Parameter.VAR_KEYWORD for each in taken):
        return _ARGUMENTS[hook]
    names = {each.name for each in named}
    return tuple(each for each in _ARGUMENTS[hook] if each in names)


def _listed(words: Any) -> str:
    return ", ".join(words)
