"""Bandwidth: rate limits of pods, from their annotations, changed while they run.

Packets above the limit wait in a queue, in both directions, and are not dropped: a pod's own
programs notice that when they send, and TCP settles at the limit. Behind the queue a meter in Open
vSwitch, a little above the limit, catches pods that may change their own interface (NET_ADMIN).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from k8s_ovs.plugin import (
    Check,
    ConfigField,
    Flow,
    KubeResource,
    LinkSettings,
    Pod,
    PodRequest,
    Rates,
    Refuse,
    Table,
    View,
    Wait,
    hook,
)
from k8s_ovs_shaping.bandwidth import BANDWIDTHS, Bandwidth, pods, rates_of
from k8s_ovs_shaping.flows import POLICE, policed

__all__ = ["POLICE", "Shaping"]

#: Field of the configuration: what happens to a pod whose rate limit this node's kernel cannot
#: apply.
UNENFORCED = "BandwidthUnenforced"

_UNENFORCED = ConfigField(
    UNENFORCED,
    # Of text only: others may not even be hashable.
    lambda value: isinstance(value, str) and value in ("refuse", "warn"),
    '"refuse" or "warn"',
)


class Shaping:
    """A feature that sets the rate limits that pods' annotations ask for."""

    @hook
    def tables(self) -> Iterable[Table]:
        return [POLICE]

    @hook
    def resources(self) -> Iterable[KubeResource]:
        return [pods()]

    @hook
    def config_fields(self) -> Iterable[ConfigField]:
        return [_UNENFORCED]

    @hook
    def admit_pod(self, view: View, request: PodRequest) -> Refuse | Wait | None:
        key = f"{request.namespace}/{request.name}"
        if problem := view.problem(BANDWIDTHS, key):
            return Refuse(problem)
        record: Bandwidth | None = view.get(BANDWIDTHS, key)
        known = record is not None and record.is_of(request.uid)
        # While the API server is disconnected pods start all the same; they get their limits later.
        if known or view.connected(BANDWIDTHS) is False:
            return None
        return Wait(f"pod {key} as the API server has it")

    @hook
    def pod_link(self, view: View, pod: Pod) -> LinkSettings | None:
        return LinkSettings(rates=_rates(view, pod), must_hold=_must_hold(view))

    @hook
    def pod_flows(self, view: View, pod: Pod) -> Iterable[Flow]:
        rate = _rates(view, pod).from_pod
        if rate is not None and 0 < pod.ofport <= view.local_node.meters:
            flow = policed(pod, rate)
            return [] if flow is None else [flow]
        return []

    @hook
    def status(self, view: View) -> Mapping[str, Any]:
        limited = [pod for pod in view.pods().values() if _rates(view, pod) != Rates()]
        return {"limited_pods": len(limited)}

    @hook
    def doctor_checks(self, view: View) -> Iterable[Check]:
        yield Check(
            "rate limits",
            view.local_node.meters > 0,
            "meters enforce them" if view.local_node.meters else "this datapath has no meters",
            "a pod with NET_ADMIN can lift its own egress limit: take a kernel from 4.15 on",
        )


def _rates(view: View, pod: Pod) -> Rates:
    # Before the first list a pod keeps what it has, and one that comes starts without.
    record: Bandwidth | None = None
    if view.synced(BANDWIDTHS):
        record = view.get(BANDWIDTHS, pod.identity)
    return rates_of(record, pod)


def _must_hold(view: View) -> bool:
    """Raises ValueError for an invalid value."""
    found = view.config.extra.get(UNENFORCED, "refuse")
    if problem := _UNENFORCED.problem(found):
        raise ValueError(problem)
    return bool(found == "refuse")
