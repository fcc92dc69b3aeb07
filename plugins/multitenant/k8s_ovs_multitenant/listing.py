"""What is known about tenants, as values for people: who is where, and who reaches whom. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from attrs import asdict, frozen

from k8s_ovs.plugin import GLOBAL_TENANT, Flow, K8sOvsError, View
from k8s_ovs.plugin.command.cluster import Counter
from k8s_ovs.plugin.command.output import few
from k8s_ovs_multitenant.flows import FROM_GLOBAL, TO_GLOBAL, member, unwanted, within
from k8s_ovs_multitenant.records import NAMESPACE_VNIS, NETNAMESPACES, NamespaceVni, NetNamespace

__all__ = [
    "HEAD",
    "Reach",
    "Tenant",
    "as_cells",
    "as_json",
    "counted_flows",
    "details",
    "reach",
    "tenant",
    "tenants",
    "traffic",
]

HEAD = ("NAMESPACE", "TENANT-ID", "JOINED-WITH", "VNI", "STATE")

_NONE = "-"


@frozen
class Tenant:
    """A namespace and its tenant.

    net_id: its tenant id; None: unknown, as its record cannot be read. joined: the others in that
    tenant; nobody for the global one. vni: the number that its packets carry; None: it has none
    yet. action: the request that is not answered yet. problem: why its last action was refused, or
    its record cannot be read; empty: there is no problem.
    """

    namespace: str
    net_id: int | None
    joined: tuple[str, ...] = ()
    vni: int | None = None
    action: str = ""
    problem: str = ""

    @property
    def is_global(self) -> bool:
        return self.net_id == GLOBAL_TENANT


@frozen
class Reach:
    """Whether pods of one namespace reach those of another, and why."""

    reaches: bool
    why: str


def tenants(view: View) -> list[Tenant]:
    """All namespaces with a record or a number, by name."""
    slots = view.slots(NETNAMESPACES)
    found = {name: slot.asked or slot.settled for name, slot in slots.items()}
    records: dict[str, NetNamespace] = {name: each for name, each in found.items() if each}
    vnis: Mapping[str, NamespaceVni] = view.all(NAMESPACE_VNIS)
    members: dict[int, list[str]] = {}
    for name, each in sorted(records.items()):
        members.setdefault(each.net_id, []).append(name)
    # All are joined with the global ones, so nobody is named.
    members[GLOBAL_TENANT] = []
    rows = []
    for name in sorted(slots.keys() | vnis.keys()):
        vni = vnis[name].number if name in vnis else None
        record = records.get(name)
        problem = slots[name].problem if name in slots else None
        if record is None:
            rows.append(Tenant(name, None, (), vni, problem=problem or ""))
        else:
            joined = tuple(other for other in members[record.net_id] if other != name)
            reason = problem or record.reason or ""
            rows.append(Tenant(name, record.net_id, joined, vni, _requests(record), reason))
    return rows


def tenant(known: Iterable[Tenant], name: str) -> Tenant:
    """The one of that name. Raises K8sOvsError."""
    for each in known:
        if each.namespace == name:
            return each
    raise K8sOvsError(
        f"namespace {name} has no record in {NETNAMESPACES}; "
        "k8s-ovs tenant list shows those that do"
    )


def reach(source: Tenant, target: Tenant) -> Reach:
    """Whether pods of `source` reach those of `target`, as the nodes judge it."""
    for each in (source, target):
        if each.net_id is None:
            reason = each.problem or "it has no record yet"
            return Reach(False, f"the tenant of {each.namespace} is unknown: {reason}")
        if each.vni is None:
            return Reach(False, f"{each.namespace} has no VNI yet")
    if source.namespace == target.namespace:
        return Reach(True, f"pods of one namespace are in one tenant, here {source.net_id}")
    for each in (source, target):
        if each.is_global:
            return Reach(True, f"{each.namespace} is global: it reaches all, and all reach it")
    if source.net_id == target.net_id:
        return Reach(True, f"both are in tenant {source.net_id}")
    return Reach(
        False,
        f"{source.namespace} is in tenant {source.net_id}, {target.namespace} in "
        f"{target.net_id}, and neither is global",
    )


def counted_flows(each: Tenant) -> dict[str, Flow]:
    """The flows that count a tenant's packets on a node, by what they count."""
    if each.net_id is None:
        return {}
    if each.is_global:
        return {"from the global tenant": FROM_GLOBAL, "to the global tenant": TO_GLOBAL}
    sent = {} if each.vni is None else {"sent": member(each.vni, each.net_id)}
    return {**sent, "let through": within(each.net_id), "dropped": unwanted(each.net_id)}


def traffic(counters: Mapping[str, Counter | None]) -> dict[str, Counter]:
    """The counters of flows that are installed on this node, and their sum: all that was judged."""
    found = {name: each for name, each in counters.items() if each is not None}
    verdicts = [each for name, each in found.items() if name != "sent"]
    if verdicts:
        packets, octets = (sum(values) for values in zip(*map(_pair, verdicts), strict=True))
        found["judged"] = Counter(packets, octets)
    return found


def as_cells(each: Tenant) -> tuple[str, ...]:
    """A row of the table whose head is HEAD."""
    joined = "all (global)" if each.is_global else few(each.joined)
    state = f"{each.action} is not answered yet" if each.action else each.problem or "ok"
    return each.namespace, _number(each.net_id), joined, _number(each.vni), state


def details(each: Tenant) -> list[tuple[str, str]]:
    """All that is known about a tenant, one per line."""
    joined = "all (global)" if each.is_global else ", ".join(each.joined) or _NONE
    return [
        ("namespace", each.namespace),
        ("tenant id", _number(each.net_id)),
        ("VNI", _number(each.vni)),
        ("joined with", joined),
        ("asked for", each.action or _NONE),
        ("refused", each.problem or _NONE),
    ]


def as_json(each: Tenant) -> dict[str, Any]:
    """A tenant as JSON values."""
    return {"vnid" if name == "vni" else name: value for name, value in asdict(each).items()}


def _requests(record: NetNamespace) -> str:
    return f"{record.action} {record.namespace}".strip()


def _pair(counter: Counter) -> tuple[int, int]:
    return counter.packets, counter.bytes


def _number(number: int | None) -> str:
    return _NONE if number is None else str(number)
