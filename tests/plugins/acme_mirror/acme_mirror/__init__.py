"""What a pod sends and receives goes to another pod of its node too, frame by frame.

A record below `mirrors/`, by any name, says which pod and to whom. The copy is what the pod sends
before anything is decided about it, and what may reach it, before that is delivered. Who gets it
listens as tcpdump does: the frames are addressed to others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from attrs import field, frozen

from k8s_ovs.plugin import (
    Check,
    Flow,
    Goto,
    Output,
    Pod,
    RecordKind,
    Table,
    View,
    decode,
    encode,
    hook,
    ip,
    named,
    register,
)

MIRROR_SENT = Table(
    "MIRROR_SENT", "Who gets a copy of what a pod sends?", between=("POD_IN", "ROUTE")
)
MIRROR_HEARD = Table(
    "MIRROR_HEARD", "Who gets a copy of what a pod receives?", between=("VERDICT", "RETURN")
)
MIRRORS = "mirrors"
_OF = "of"
_OUT_PORT = register("OUT_PORT").name


@frozen
class Order:
    """Both as NAMESPACE/NAME."""

    pod: str = named("Pod")
    to: str = named("To")
    extra: Mapping[str, Any] = field(factory=dict)


class Mirror:
    @hook
    def tables(self) -> Iterable[Table]:
        return [MIRROR_SENT, MIRROR_HEARD]

    @hook
    def kinds(self) -> Iterable[RecordKind]:
        indexes = {_OF: lambda order: (order.pod,)}
        return [RecordKind(MIRRORS, partial(decode, Order), encode, indexes=indexes)]

    @hook
    def pod_flows(self, view: View, pod: Pod) -> Iterator[Flow]:
        ports = sorted({port for order in _of(view, pod) for port in _ports(view, order.to)})
        if ports:
            copies = [Output(port) for port in ports]
            yield Flow(MIRROR_SENT, 100, ip(in_port=pod.ofport), [*copies, Goto("ROUTE")])
            heard = ip(**{_OUT_PORT: pod.ofport})
            yield Flow(MIRROR_HEARD, 100, heard, [*copies, Goto("RETURN")])

    @hook
    def status(self, view: View) -> Mapping[str, Any]:
        orders = (order for pod in view.pods().values() for order in _of(view, pod))
        return {"mirrored": sorted(each.pod for each in orders if _ports(view, each.to))}

    @hook
    def doctor_checks(self, view: View) -> Iterator[Check]:
        here = {pod.identity for pod in view.pods().values()}
        for name, order in sorted(view.all(MIRRORS).items()):
            if order.pod in here and order.to not in here:
                found = f"{order.pod} is here, {order.to} is not"
                yield Check(f"mirror {name}", ok=False, found=found, advice="run both on one node")


def _of(view: View, pod: Pod) -> Iterable[Order]:
    found: Iterable[Order] = view.having(MIRRORS, _OF, pod.identity).values()
    return found


def _ports(view: View, identity: str) -> Iterator[int]:
    """The ports here of the pod of this name."""
    return (pod.ofport for pod in view.pods().values() if pod.identity == identity)
