"""How is each action answered? With the namespace's new tenant id, or a Refusal."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from k8s_ovs.plugin import GLOBAL_TENANT, Refusal
from k8s_ovs_multitenant.records import NetNamespace
from k8s_ovs_multitenant.tenants import Numbers, Tenants

__all__ = ["ANSWERS", "unknown"]


def _join(known: Tenants, request: NetNamespace, _: Numbers) -> int:
    target = request.namespace
    if not target:
        raise Refusal("join: Namespace: missing, expected the namespace to join")
    if target == request.net_name:
        raise Refusal(f'join: Namespace: found "{target}", expected another one than itself')
    record = known.record(target)
    if known.uid(target) is None or record is None:
        raise Refusal(f'join: Namespace: found "{target}", expected one that exists')
    return record.net_id


def _isolate(_: Tenants, request: NetNamespace, numbers: Numbers) -> int:
    return numbers.take()


def _global(_: Tenants, request: NetNamespace, numbers: Numbers) -> int:
    return GLOBAL_TENANT


def unknown(_: Tenants, request: NetNamespace, numbers: Numbers) -> int:
    raise Refusal(f'Action: found "{request.action}", expected join, isolate or global')


ANSWERS: Mapping[str, Callable[[Tenants, NetNamespace, Numbers], int]] = {
    "join": _join,
    "isolate": _isolate,
    "global": _global,
}
