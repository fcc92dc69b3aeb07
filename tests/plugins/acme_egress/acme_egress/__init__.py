"""What the pods of a namespace may reach outside the cluster: an ordered list of rules.

The record `egress/NAMESPACE` has the rules. The first one that fits decides whether a connection
may begin; where none does, it may. Answers pass, and so does what has begun: a changed rule is for
new connections. A namespace without a record reaches all. What a service leads outside is not
judged: kube-proxy translates it behind the bridge.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from ipaddress import IPv4Network
from typing import Any

from attrs import field, frozen

from k8s_ovs.plugin import (
    Ct,
    Flow,
    Goto,
    InvalidRecord,
    Match,
    Pod,
    RecordKind,
    Subfield,
    Table,
    View,
    Zone,
    decode,
    encode,
    hook,
    ip,
    named,
    register,
    tcp,
    udp,
)

EGRESS = "egress"
HEARD = Table(
    "EGRESS_HEARD",
    "Does somebody outside speak to a pod whose namespace has rules?",
    between=("VERDICT", "RETURN"),
)
TRACK = Table(
    "EGRESS_TRACK",
    "Is it of a connection that is known?",
    next=("EGRESS_RULES",),
    between=("ROUTE", "EXTERNAL"),
)
RULES = Table("EGRESS_RULES", "May this namespace begin it?", between=("EGRESS_TRACK", "EXTERNAL"))
ZONE = Zone("EGRESS", 30_303)
TRACKED = Subfield("EGRESS_TRACKED", "reg8", 0, 1)
#: A namespace by a number that follows from its name, so that its rules are there once, and not
#: for each of its pods. Nobody finds another name with the same 64 bits.
NAMESPACE = Subfield("EGRESS_NAMESPACE", "reg9"), Subfield("EGRESS_NAMESPACE_REST", "reg10")

_OUT_PORT = register("OUT_PORT").name
_PROTOCOLS = {"": ip, "tcp": tcp, "udp": udp}
_MOST = 10_000


@frozen
class Rule:
    """allow or deny what goes to a network, by tcp, udp or all, on a port or on all (0)."""

    action: str = named("Action")
    to: IPv4Network = named("To")
    protocol: str = named("Protocol", default="")
    port: int = named("Port", default=0)


@frozen
class Order:
    """The rules of a namespace, the first one first."""

    rules: tuple[Rule, ...] = named("Rules")
    extra: Mapping[str, Any] = field(factory=dict)


class Egress:
    @hook
    def tables(self) -> Iterable[Table]:
        return [HEARD, TRACK, RULES]

    @hook
    def reservations(self) -> Iterable[Subfield | Zone]:
        return [TRACKED, *NAMESPACE, ZONE]

    @hook
    def kinds(self) -> Iterable[RecordKind]:
        return [RecordKind(EGRESS, _order, encode)]

    @hook
    def network_flows(self, view: View) -> Iterator[Flow]:
        for state in ("+trk+est", "+trk+rel"):
            known = ip(ct_state=state, **TRACKED.equals(1))
            yield Flow(TRACK, 200, known, [Goto("EXTERNAL")])

    @hook
    def pod_flows(self, view: View, pod: Pod) -> Iterator[Flow]:
        order: Order | None = view.get(EGRESS, pod.namespace)
        if order is None:
            return
        numbers = _numbers(pod.namespace)
        # An answer to somebody outside is of a connection that began there.
        inside = ip(ip_src=view.config.network, **{_OUT_PORT: pod.ofport})
        yield Flow(HEARD, 200, inside, [Goto("RETURN")])
        remember = Ct(ZONE.number, commit=True, table="RETURN")
        yield Flow(HEARD, 100, ip(**{_OUT_PORT: pod.ofport}), [remember])
        new = ip(in_port=pod.ofport, **TRACKED.equals(0))
        yield Flow(TRACK, 100, new, [TRACKED.set(1), Ct(ZONE.number, table="EGRESS_TRACK")])
        named_so = [half.set(number) for half, number in numbers.items()]
        yield Flow(TRACK, 90, ip(in_port=pod.ofport), [*named_so, Goto("EGRESS_RULES")])
        # The same flows for each pod of the namespace: they are there once.
        yield from _rules(order, numbers)

    @hook
    def status(self, view: View) -> Mapping[str, Any]:
        here = {pod.namespace for pod in view.pods().values()}
        return {"ruled": sorted(name for name in here if view.get(EGRESS, name) is not None)}


def _numbers(namespace: str) -> Mapping[Subfield, int]:
    digest = blake2b(namespace.encode(), digest_size=8).digest()
    numbers = (int.from_bytes(half, "big") for half in (digest[:4], digest[4:]))
    return dict(zip(NAMESPACE, numbers, strict=True))


def _rules(order: Order, numbers: Mapping[Subfield, int]) -> Iterator[Flow]:
    namespace: dict[str, str] = {}
    for half, number in numbers.items():
        namespace |= half.equals(number)
    begin = [Ct(ZONE.number, commit=True, table="EXTERNAL")]
    for place, rule in enumerate(order.rules):
        actions = begin if rule.action == "allow" else []
        yield Flow(RULES, _MOST - place, _match(rule, namespace), actions)
    yield Flow(RULES, 0x10, ip(**namespace), begin)


def _match(rule: Rule, namespace: Mapping[str, str]) -> Match:
    ports = {f"{rule.protocol}_dst": rule.port} if rule.port else {}
    return _PROTOCOLS[rule.protocol](ip_dst=rule.to, **namespace, **ports)


def _order(key: str, data: bytes) -> Order:
    order = decode(Order, key, data)
    if len(order.rules) >= _MOST - 0x10:
        raise InvalidRecord(f"{key}: Rules: found {len(order.rules)}, expected fewer than 9,984")
    for place, rule in enumerate(order.rules):
        where = f"{key}: Rules[{place}]"
        if rule.action not in ("allow", "deny"):
            raise InvalidRecord(f'{where}.Action: found "{rule.action}", expected allow or deny')
        if rule.protocol not in _PROTOCOLS:
            raise InvalidRecord(f'{where}.Protocol: found "{rule.protocol}", expected tcp or udp')
        if not 0 <= rule.port <= 0xFFFF or (rule.port and not rule.protocol):
            expected = "expected 1 to 65535, and a Protocol beside it"
            raise InvalidRecord(f"{where}.Port: found {rule.port}, {expected}")
    return order
