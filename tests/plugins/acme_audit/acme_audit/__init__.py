"""Counts the packets that each pod sends, and silences namespaces that are told to be silent.

``<prefix>/<Name>/audits/<namespace>``: ``{"Silent":true}``
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from attrs import field, frozen

from k8s_ovs.plugin import Flow, Goto, Pod, RecordKind, Table, View, decode, encode, hook, ip, named

__all__ = ["AUDIT", "Audit", "Order"]

AUDIT = Table("AUDIT", "May this pod's namespace speak?", between=("POD_IN", "ROUTE"))
AUDITS = "audits"


@frozen
class Order:
    """What is ordered of a namespace."""

    silent: bool = named("Silent", default=False)
    extra: Mapping[str, Any] = field(factory=dict)


class Audit:
    """Where the environment has ACME_AUDIT_RAISES, a hook raises: what becomes of the others?"""

    @hook
    def tables(self) -> Iterable[Table]:
        return [AUDIT]

    @hook
    def kinds(self) -> Iterable[RecordKind]:
        return [RecordKind(AUDITS, partial(decode, Order), encode)]

    @hook
    def pod_flows(self, view: View, pod: Pod) -> Iterable[Flow]:
        if "ACME_AUDIT_RAISES" in os.environ:
            raise RuntimeError("the auditor is ill")
        order: Order | None = view.get(AUDITS, pod.namespace)
        actions = [] if order is not None and order.silent else [Goto("ROUTE")]
        yield Flow(AUDIT, 100, ip(in_port=pod.ofport), actions)

    @hook
    def status(self, view: View) -> Mapping[str, Any]:
        orders: Mapping[str, Order] = view.all(AUDITS)
        return {"silent": sorted(name for name, order in orders.items() if order.silent)}
