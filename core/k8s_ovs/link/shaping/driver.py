"""The rate limits of pods' interfaces as values, read from their queues and set there."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from attrs import evolve

from k8s_ovs.link.netlink import LinkError
from k8s_ovs.link.shaping.pod_rates import observed_rates, set_rates
from k8s_ovs.link.shaping.token_bucket import same_rate
from k8s_ovs.model.pod import Rates
from k8s_ovs.state.diff import Difference
from k8s_ovs.state.value import RateLimit, Value

__all__ = ["RateDriver"]


class RateDriver:
    """Each costs some 2 ms, so who looks often asks for some of them at a time. A queue of an
    interface that has no limit is left to who put it there."""

    kinds = frozenset({RateLimit.kind})

    def read(self, desired: Sequence[Value]) -> Sequence[Value]:
        return [_found(each) for each in desired if isinstance(each, RateLimit)]

    def apply(self, differences: Sequence[Difference]) -> None:
        """All are tried; one that cannot be set differs still."""
        for each in differences:
            if isinstance(each.expected, RateLimit):
                with suppress(LinkError):
                    set_rates(each.expected, _rates(each.expected))


def _found(limit: RateLimit) -> RateLimit:
    try:
        to_pod, from_pod, altered = observed_rates(limit)
    except LinkError as error:
        return evolve(limit, queues=str(error))
    return evolve(
        limit,
        to_pod=limit.to_pod if same_rate(to_pod, limit.to_pod) else to_pod,
        from_pod=limit.from_pod if same_rate(from_pod, limit.from_pod) else from_pod,
        queues="; ".join(altered) or limit.queues,
    )


def _rates(limit: RateLimit) -> Rates:
    return Rates(limit.to_pod, limit.from_pod)
