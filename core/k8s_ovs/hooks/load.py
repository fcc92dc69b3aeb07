"""From `PluginName` of the configuration to the plugins that run: stevedore finds them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from stevedore.named import NamedExtensionManager

from k8s_ovs.builtin import CORE, NODE_SUBNETS
from k8s_ovs.errors import PluginError, is_ctrl_c, shown
from k8s_ovs.hooks.find import has_hook
from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.hooks.owners import owner_bits
from k8s_ovs.hooks.selection import chosen_plugins
from k8s_ovs.hooks.where import in_brackets, module_at, raised_at
from k8s_ovs.supervise import FaultLog

__all__ = ["PLUGINS_GROUP", "installed_plugins", "known_owners", "load_plugins", "load_problem"]

PLUGINS_GROUP = "k8s_ovs.plugins"
FEATURES_GROUP = "k8s_ovs.features"

_faults = FaultLog()


def installed_plugins() -> dict[str, tuple[str, ...]]:
    """Names of installed plugins and of those that come along: {"plugins": .., "features": ..}."""
    return {
        "plugins": tuple(sorted({e.name for e in entry_points(group=PLUGINS_GROUP)})),
        "features": tuple(sorted({e.name for e in entry_points(group=FEATURES_GROUP)})),
    }


def known_owners() -> dict[int, str]:
    """Names of the built-in and all installed plugins, by the bits that mark their flows."""
    names = (CORE, NODE_SUBNETS, *installed_plugins()["plugins"])
    return {owner_bits(name): name for name in names}


def load_problem(entry: EntryPoint, error: BaseException) -> str:
    """What keeps an installed plugin from being loaded: what it raised, and where."""
    where = raised_at(error, entry.module) or module_at(entry.module)
    return (
        f'plugin "{entry.name}" ({entry.value}) does not load: {shown(error)}, expected a class at '
        f"{entry.value} that can be made without arguments{in_brackets(where)}"
    )


def load_plugins(plugin_name: str) -> PluginManager:
    """The plugins that `plugin_name` of the configuration asks for.

    Raises PluginError that says which name is wrong and what is installed, or what a plugin raised.
    """
    try:
        return _load(plugin_name)
    except PluginError:
        raise
    except BaseException as error:  # a plugin may raise anything while it is imported
        if is_ctrl_c(error):
            raise
        _faults.tell("plugins do not load", error, plugins=plugin_name)
        named = (e for e in entry_points(group=PLUGINS_GROUP) if raised_at(error, e.module))
        blamed = next(named, None)
        text = load_problem(blamed, error) if blamed else f"does not load: {shown(error)}"
        raise PluginError(f'PluginName: "{plugin_name}": {text}') from error


def _load(plugin_name: str) -> PluginManager:
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
        on_load_failure_callback=lambda _, entry, error: broken.append(load_problem(entry, error)),
        on_missing_entrypoints_callback=late.extend,
    )
    if broken:
        raise PluginError("; ".join(broken))
    if late:  # stevedore looks once in the life of a process
        raise PluginError(
            f"PluginName: {', '.join(sorted(late))} came after this program had started, restart it"
        )
    plugins = {extension.name: extension.obj for extension in found}
    modes = [name for name, plugin in plugins.items() if has_hook(plugin, "tenant_of")]
    if len(modes) != 1:
        said = f"names {len(modes)} modes ({', '.join(modes)})" if modes else "names no mode"
        raise PluginError(
            f'PluginName: "{plugin_name}" {said}, expected exactly one; '
            f"installed modes are {', '.join(_installed_modes()) or 'none'}"
        )
    return PluginManager(plugins)


def _refuse_namesakes(names: Iterable[str]) -> None:
    for name in names:
        origins = sorted({e.value for e in entry_points(group=PLUGINS_GROUP, name=name)})
        if len(origins) > 1:
            raise PluginError(
                f'PluginName: "{name}" is installed more than once: {" and ".join(origins)}; '
                "uninstall all but one"
            )


def _installed_modes() -> list[str]:
    modes = set()
    for entry in entry_points(group=PLUGINS_GROUP):
        # One that does not even load is no mode that could be recommended.
        with contextlib.suppress(Exception):
            if has_hook(entry.load(), "tenant_of"):
                modes.add(entry.name)
    return sorted(modes)
