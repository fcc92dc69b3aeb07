"""What should the interface of each pod here be like, as the plugins last said?"""

from __future__ import annotations

from collections.abc import Mapping

from k8s_ovs.hooks.manager import PluginManager
from k8s_ovs.hooks.merge import merged
from k8s_ovs.hooks.result import Failure, Held
from k8s_ovs.model.pod import Pod
from k8s_ovs.plugin.values import LinkSettings
from k8s_ovs.plugin.view import View

__all__ = ["PodLinks"]


class PodLinks:
    """Settings by the name of the pod's port. A plugin that fails, or does not know yet, keeps its
    last valid ones."""

    def __init__(self) -> None:
        self._said: dict[str, dict[str, LinkSettings]] = {}
        self._settings: dict[str, LinkSettings] = {}
        self._changed: set[str] = set()

    def ask(self, manager: PluginManager, view: View, pod: Pod) -> list[Failure | Held]:
        """Ask the plugins about a pod; those that failed, or do not know yet."""
        silent: list[Failure | Held] = []
        before, now = self._said.get(pod.port, {}), dict[str, LinkSettings]()
        for plugin, result in manager.pod_link(view, pod):
            if isinstance(result, Failure | Held):
                silent.append(result)
                now |= {plugin: before[plugin]} if plugin in before else {}
                if isinstance(result, Held):
                    now.setdefault(plugin, LinkSettings(rates=pod.rates))
            else:
                now[plugin] = merged(result)
        self._said[pod.port] = now
        settings = merged(now.values())
        if self._settings.get(pod.port) != settings:
            self._settings[pod.port] = settings
            self._changed.add(pod.port)
        return silent

    def forget(self, port: str) -> None:
        """The pod is gone."""
        self._said.pop(port, None)
        self._settings.pop(port, None)
        self._changed.discard(port)

    def take_changed(self) -> Mapping[str, LinkSettings]:
        """Settings of pods that are new, or for which they have changed since the last call."""
        changed, self._changed = self._changed, set()
        return {port: self._settings[port] for port in changed}
