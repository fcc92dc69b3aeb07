"""A pod gets the address that its annotation names, or one of its namespace's pools.

A pool is a record below `address-pools/`, by any name. What is in it is for the pods of its
namespace alone, and they get no other. An address that a pod of this node asks for is kept for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from attrs import field, frozen

from k8s_ovs.plugin import (
    AddressChoice,
    InvalidRecord,
    KubeResource,
    PodRequest,
    RecordKind,
    Refuse,
    View,
    Wait,
    decode,
    encode,
    hook,
    kube_field,
    named,
    shown,
)

ANNOTATION = "acme.example/address"
WISHES, POOLS = "address-wishes", "address-pools"
_NAMESPACE = "namespace"


@frozen
class Pool:
    """Addresses for the pods of a namespace."""

    namespace: str = named("Namespace")
    network: IPv4Network = named("Network")
    extra: Mapping[str, Any] = field(factory=dict)


@frozen
class Wish:
    """What a pod's annotation asks for; None: nothing."""

    uid: str
    address: IPv4Address | None


class Addresses:
    @hook
    def kinds(self) -> Iterable[RecordKind]:
        indexes = {_NAMESPACE: lambda pool: (pool.namespace,)}
        return [RecordKind(POOLS, partial(decode, Pool), encode, indexes=indexes)]

    @hook
    def resources(self) -> Iterable[KubeResource]:
        return [KubeResource(WISHES, "/api/v1/pods", _wish, local_only=True)]

    @hook
    def admit_pod(self, view: View, request: PodRequest) -> Refuse | Wait | None:
        key = f"{request.namespace}/{request.name}"
        if problem := view.problem(WISHES, key):
            return Refuse(problem)
        wish: Wish | None = view.get(WISHES, key)
        known = wish is not None and request.uid in ("", wish.uid)
        return None if known else Wait(f"pod {key} as the API server has it")

    @hook
    def pod_address(self, view: View, request: PodRequest) -> AddressChoice:
        wish: Wish | None = view.get(WISHES, f"{request.namespace}/{request.name}")
        pools = view.having(POOLS, _NAMESPACE, request.namespace).values()
        asked = wish.address if wish is not None else None
        within = [IPv4Network(asked)] if asked else [each.network for each in pools]
        others = [p.network for p in view.all(POOLS).values() if p.namespace != request.namespace]
        wishes = (each.address for each in view.all(WISHES).values() if each is not wish)
        return AddressChoice(within, others + [IPv4Network(each) for each in wishes if each])


def _wish(key: str, pod: Mapping[str, Any]) -> Wish:
    subject = f"pod {key}"
    annotations = kube_field(subject, pod, "metadata.annotations", dict) or {}
    uid = kube_field(subject, pod, "metadata.uid", str) or ""
    asked = annotations.get(ANNOTATION)
    try:
        return Wish(uid, None if asked is None else IPv4Address(asked))
    except ValueError:
        raise InvalidRecord(
            f"{subject}: annotation {ANNOTATION}: found {shown(asked)}, expected an IPv4 address"
        ) from None
