"""Values that a plugin gets, returns, or writes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Network
from typing import Any

from attrs import field, frozen

from k8s_ovs.model.checked import (
    as_number,
    as_text,
    as_texts,
    as_tuple,
    as_whole,
    as_whole_or_none,
    has_type,
    named_texts,
    tuple_of,
    whole,
)
from k8s_ovs.model.pod import Rates

__all__ = [
    "AddressChoice",
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


_TEXT = has_type(str)


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

    reason: str = field(converter=as_text, validator=_TEXT)


@frozen
class Wait:
    """This pod cannot be attached yet. When the deadline comes, kubelet shows the reason."""

    reason: str = field(converter=as_text, validator=_TEXT)


def _as_networks(networks: Iterable[IPv4Network]) -> tuple[IPv4Network, ...]:
    return as_tuple(networks)


@frozen
class AddressChoice:
    """Which addresses of the node's subnet a pod may have.

    within: it is in one of these; none: it may be any. without: it is in none of these, such as
    pools that are other pods'. One address is a network of length 32.
    """

    within: tuple[IPv4Network, ...] = field(
        default=(), converter=_as_networks, validator=tuple_of(IPv4Network)
    )
    without: tuple[IPv4Network, ...] = field(
        default=(), converter=_as_networks, validator=tuple_of(IPv4Network)
    )


@frozen
class LinkSettings:
    """What a plugin wants of a pod's interface.

    mtu: bytes; None: the network's. routes: more routes, through the gateway.
    rates: limits, which are kept by letting packets wait. must_hold: a pod for which this node's
    kernel cannot do that is refused; False: it runs without, and that is told.
    """

    mtu: int | None = field(default=None, converter=as_whole_or_none, validator=whole(68, 65535))
    routes: tuple[IPv4Network, ...] = field(
        default=(), converter=_as_networks, validator=tuple_of(IPv4Network)
    )
    rates: Rates = field(factory=Rates, validator=has_type(Rates))
    must_hold: bool = field(default=True, validator=has_type(bool))


@frozen
class Write:
    """A record as it should be in etcd; `value` None: it should not be there.

    revision: the mod_revision that this was decided on; 0: there was none.
    """

    kind: str = field(converter=as_text, validator=_TEXT)
    key: str = field(converter=as_text, validator=_TEXT)
    value: Any
    revision: int = field(converter=as_whole, validator=whole(0, (1 << 63) - 1))


@frozen
class Event:
    """A warning on an object of the cluster's own (a Namespace, a Node).

    reason: one word in CamelCase, message: a sentence.
    """

    kind: str = field(converter=as_text, validator=_TEXT)
    name: str = field(converter=as_text, validator=_TEXT)
    reason: str = field(converter=as_text, validator=_TEXT)
    message: str = field(converter=as_text, validator=_TEXT)


def _as_writes(writes: Iterable[Write]) -> tuple[Write, ...]:
    return as_tuple(writes)


@frozen
class Allocation:
    """Records to write together or not at all: only if every revision is unchanged, and only while
    the writer is the leader. reason: for the log, such as "node node1 joined".
    event: what people who look at a Kubernetes object should read there, once this is written.
    missing: the resource of Kubernetes (`KubeResource.name`) that lacks what the records were for,
    where that is why they are deleted or become another's. In masses that waits for a person.
    alike: how many more keys are to follow for the same reason, as one transaction cannot take all.
    """

    writes: tuple[Write, ...] = field(converter=_as_writes, validator=tuple_of(Write))
    reason: str = field(converter=as_text, validator=_TEXT)
    event: Event | None = field(default=None, validator=has_type(Event, None))
    missing: str = field(default="", converter=as_text, validator=_TEXT)
    alike: int = field(default=0, converter=as_whole, validator=whole(0, (1 << 31) - 1))


@frozen
class Refusal(Exception):
    """What a record asks for cannot be given; the record's answer says the reason."""

    reason: str = field(converter=as_text, validator=_TEXT)


@frozen
class Problem:
    """Something that keeps one subject from being served; all else goes on."""

    subject: str = field(converter=as_text, validator=_TEXT)
    text: str = field(converter=as_text, validator=_TEXT)


@frozen
class Metric:
    """A number for Prometheus; `labels` tell values of one name apart."""

    name: str = field(converter=as_text, validator=_TEXT)
    help: str = field(converter=as_text, validator=_TEXT)
    value: float = field(converter=as_number, validator=has_type(float, int, bool))
    labels: Mapping[str, str] = field(factory=dict, converter=as_texts, validator=named_texts)


@frozen
class Check:
    """What `k8s-ovs doctor` says of one thing; `advice`: what to do where it is not ok."""

    name: str = field(converter=as_text, validator=_TEXT)
    ok: bool = field(validator=has_type(bool))
    found: str = field(converter=as_text, validator=_TEXT)
    advice: str = field(default="", converter=as_text, validator=_TEXT)
