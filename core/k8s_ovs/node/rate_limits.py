"""Do the pods' interfaces have the rate limits that plugins want, also when those change?"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import structlog

from k8s_ovs.link.netlink import LinkError
from k8s_ovs.link.shaping.pod_rates import set_rates
from k8s_ovs.model.pod import Pod, Rates
from k8s_ovs.node.network import Network, pod_link
from k8s_ovs.plugin.values import LinkSettings

__all__ = ["RateLimits"]

_log = structlog.get_logger(__name__)

#: Seconds after which what failed is tried again.
_RETRY = 5.0


class RateLimits:
    """Sets the rate limits of pods' interfaces. It checks the kernel once for each pod after a
    start, and does not touch what is right.

    note: remembers the rates that are set on pods, by port; may raise K8sOvsError.
    """

    def __init__(self, node: str, note: Callable[[Mapping[str, Rates]], None]) -> None:
        self._node = node
        self._note = note
        self._applied: dict[str, Rates] = {}
        self._failed: dict[str, tuple[LinkSettings, str]] = {}
        self._retry_at = 0.0

    @property
    def problems(self) -> list[str]:
        """Rate limits that are not applied, each with the reason."""
        return [reason for _, reason in self._failed.values()]

    @property
    def retry_at(self) -> float | None:
        """When to retry what failed (time.monotonic()); None: nothing did."""
        return self._retry_at if self._failed else None

    def begin(self, network: Network, pod: Pod, settings: LinkSettings) -> None:
        """A pod's interface was made. Raises LinkError if required rate limits cannot be set."""
        if settings.rates != Rates():
            try:
                self._set(network, pod, settings)
            except LinkError as error:
                if settings.must_hold:
                    raise
                self._fail(pod, settings, error)
        self._applied[pod.port] = settings.rates

    def follow(self, network: Network, pods: Mapping[str, Pod]) -> None:
        """Set changed rates on the local pods. What fails is reported and tried again."""
        for known in (self._applied, self._failed):
            for port in known.keys() - pods.keys():
                del known[port]
        wanted = dict(network.reconciler.links.take_changed())
        if self._failed and time.monotonic() >= self._retry_at:
            self._retry_at = time.monotonic() + _RETRY
            wanted = {port: settings for port, (settings, _) in self._failed.items()} | wanted
        for port, settings in wanted.items():
            if port in pods and (port in self._failed or self._applied.get(port) != settings.rates):
                self._change(network, pods[port], settings)
        self._remember(pods)

    def lost(self, pod: Pod, why: str) -> None:
        """A pod's limits could not be put right: it is told, and they are tried again."""
        settings, _ = self._failed.get(pod.port, (LinkSettings(rates=pod.rates), ""))
        self._fail(pod, settings, LinkError(why))

    def _remember(self, pods: Mapping[str, Pod]) -> None:
        news = {
            port: self._applied[port]
            for port, pod in pods.items()
            if port in self._applied and self._applied[port] != pod.rates
        }
        if news:
            self._note(news)

    def _change(self, network: Network, pod: Pod, settings: LinkSettings) -> None:
        if not Path(pod.netns).exists():
            return  # a pod that ended unnoticed; its DEL is still to come
        try:
            self._set(network, pod, settings)
        except LinkError as error:
            self._fail(pod, settings, error)
        except Exception as error:  # ours: the other pods' limits are set
            _log.error("rate limit failed", node=self._node, pod=pod.identity, exc_info=error)
            self._fail(pod, settings, error)
        else:
            self._failed.pop(pod.port, None)
            self._applied[pod.port] = settings.rates

    def _set(self, network: Network, pod: Pod, settings: LinkSettings) -> None:
        begin = time.monotonic()
        if not set_rates(pod_link(network, pod, settings), settings.rates):
            return
        _log.info(
            "rate limit set",
            node=self._node,
            pod=pod.identity,
            to_pod=settings.rates.to_pod,
            from_pod=settings.rates.from_pod,
            ms=round((time.monotonic() - begin) * 1e3, 2),
        )

    def _fail(self, pod: Pod, settings: LinkSettings, error: Exception) -> None:
        reason = f"pod {pod.identity}: rate limit not applied: {error}"
        if self._failed.get(pod.port, (None, ""))[1] != reason:
            _log.warning(
                "rate limit not applied", node=self._node, pod=pod.identity, reason=str(error)
            )
        self._failed[pod.port] = settings, reason
        self._retry_at = time.monotonic() + _RETRY
