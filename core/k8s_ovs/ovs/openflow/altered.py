"""Which flows are not what their cookies say? A cookie is a hash of the flow that we sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from k8s_ovs.ovs.openflow.messages import InstalledFlow
from k8s_ovs.pipeline.action import Meter
from k8s_ovs.pipeline.wire import is_as_made, key_of

__all__ = ["altered_cookies"]


def altered_cookies(flows: Iterable[InstalledFlow], meters: Mapping[int, Meter]) -> set[int]:
    """Cookies of flows that somebody changed, or made again for another table or match.

    meters: those of the switch, by number; a flow whose meter has another rate is another one.
    """
    seen: set[int] = set()
    altered: set[int] = set()
    for flow in flows:
        key = key_of(flow.table, flow.priority, flow.match)
        if flow.cookie in seen or not is_as_made(flow.cookie, key, flow.instructions, meters):
            altered.add(flow.cookie)
        seen.add(flow.cookie)
    return altered
