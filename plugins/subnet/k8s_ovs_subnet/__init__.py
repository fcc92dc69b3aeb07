"""Single tenant: one flat network, every pod reaches every pod."""

from __future__ import annotations

from collections.abc import Iterable

from k8s_ovs.plugin import GLOBAL_TENANT, VERDICT, Flow, Goto, Pod, View, hook, ip

__all__ = ["SingleTenant"]


class SingleTenant:
    """A mode in which all are one tenant."""

    @hook
    def tenant_of(self, view: View, pod: Pod) -> int | None:
        return GLOBAL_TENANT

    @hook
    def network_flows(self, view: View) -> Iterable[Flow]:
        return [Flow(VERDICT, 100, ip(), [Goto("RETURN")])]
