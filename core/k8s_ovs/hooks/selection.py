"""`PluginName` of the configuration: which plugins are to run."""

from __future__ import annotations

from collections.abc import Collection

from k8s_ovs.errors import PluginError

__all__ = ["chosen_plugins"]


def chosen_plugins(
    plugin_name: str, installed: Collection[str], features: Collection[str]
) -> tuple[str, ...]:
    """The names to load, in the order written, the features that come along behind them.

    plugin_name: comma-separated; `-name` takes out a feature. Raises PluginError for unknown,
    doubled and contradicting names.
    """
    words = [word.strip() for word in plugin_name.split(",")]
    wanted = [word for word in words if not word.startswith("-")]
    removed = [word[1:] for word in words if word.startswith("-")]
    known = f"installed are {', '.join(sorted(installed)) or 'none'}"
    for word in wanted + removed:
        if not word:
            raise PluginError(f'PluginName: found "{plugin_name}" with an empty name, {known}')
        if word not in installed:
            raise PluginError(f'PluginName: no plugin "{word}" is installed; {known}')
        if (wanted + removed).count(word) > 1:
            raise PluginError(f'PluginName: "{word}" is named more than once')
    for word in removed:
        if word not in features:
            raise PluginError(
                f'PluginName: "-{word}": only what comes along by itself can be taken out: '
                f"{', '.join(sorted(features)) or 'nothing does'}"
            )
    along = sorted(set(features) - set(wanted) - set(removed))
    return (*wanted, *along)
