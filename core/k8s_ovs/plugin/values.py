"""Values that a plugin gets, returns, or writes."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Network
from typing import Any

from attrs import field, frozen

from k8s_ovs.model.pod import Rates

__all__ = [
    "Allocation",
    "Check",
    "Event",
    "LinkSettings",
    "Metric",
    "PodRequest",
    "Problem",
    "Refusal",
    "Refuse",
    "Wait",
    "Write",
]


@frozen
class PodRequest:
    """A pod that kubelet wants attached (CNI ADD)."""

    namespace: str
    name: str
    uid: str
    container: str
    ifname: str


@frozen
class Refuse:
    """This pod cannot be attached; kubelet shows the reason."""

    reason: str


@frozen
class Wait:
    """This pod cannot be attached yet. When the deadline comes, kubelet shows the reason."""

    reason: str


@frozen
class LinkSettings:
    """What a plugin wants of a pod's interface.

    mtu: bytes; None: the network's. routes: more routes, through the gateway.
    rates: limits, which are kept by letting packets wait. must_hold: a pod for which this node's
    kernel cannot do that is refused; False: it runs without, and that is told.
    """

    mtu: int | None = None
    routes: tuple[IPv4Network, ...] = ()
    rates: Rates = field(factory=Rates)
    must_hold: bool = True


@frozen
class Write:
    """A record as it should be in etcd; `value` None: it should not be there.

    revision: the mod_revision that this was decided on; 0: there was none.
    """

    kind: str
    key: str
    value: Any
    revision: int


@frozen
class Event:
    """A warning on an object of the cluster's own (a Namespace, a Node).

    reason: one word in CamelCase, message: a sentence.
    """

    kind: str
    name: str
    reason: str
    message: str


@frozen
class Allocation:
    """Records to write together or not at all: only if every revision is unchanged, and only while
    the writer is the leader. reason: for the log, such as "node node1 joined".
    event: what people who look at a Kubernetes object should read there, once this is written.
    """

    writes: tuple[Write, ...]
    reason: str
    event: Event | None = None


@frozen
class Refusal(Exception):
    """What a record asks for cannot be given; the record's answer says the reason."""

    reason: str


@frozen
class Problem:
    """Something that keeps one subject from being served; all else goes on."""

    subject: str
    text: str


@frozen
class Metric:
    """A number for Prometheus; `labels` tell values of one name apart."""

    name: str
    help: str
    value: float
    labels: Mapping[str, str] = field(factory=dict)


@frozen
class Check:
    """What `k8s-ovs doctor` says of one thing; `advice`: what to do where it is not ok."""

    name: str
    ok: bool
    found: str
    advice: str = ""
