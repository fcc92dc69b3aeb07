"""What to write about tenants: numbers for new namespaces, answers to actions (actions.py
has what each action does).

Pure: the world in, allocations out. What each namespace needs is asked for it alone. Each reconcile
allocates at most one batch of new numbers, since the next one depends on where the cursor is then.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import Flag, auto
from typing import Any

from attrs import evolve

from k8s_ovs.plugin import GLOBAL_TENANT, Allocation, ConfigField, Event, Refusal, View, Write
from k8s_ovs_multitenant.actions import ANSWERS, unknown
from k8s_ovs_multitenant.records import (
    NAMESPACE_VNIS,
    NAMESPACES,
    NETNAMESPACES,
    NamespaceVni,
    NetNamespace,
)
from k8s_ovs_multitenant.tenants import Numbers, Tenants, cursor, free_numbers

__all__ = ["GLOBAL_NAMESPACES", "allocations", "global_namespaces"]

#: Namespaces per transaction: etcd takes 128 operations, a namespace needs two.
_BATCH = 50
_DEFAULT_GLOBAL = ("kube-system",)
_MADE_ANEW = "the namespace was deleted and made anew meanwhile; ask again"
#: What Kubernetes accepts as a namespace's name (RFC 1123, section 2.1).
_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def _are_namespaces(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(
        isinstance(each, str) and _NAMESPACE.fullmatch(each) for each in value
    )


#: Field of the configuration: namespaces that begin as part of the global tenant.
GLOBAL_NAMESPACES = ConfigField(
    "GlobalNamespaces", _are_namespaces, 'a list of namespaces such as ["kube-system"]'
)


class Need(Flag):
    """What is to be done about a namespace."""

    NUMBERS = auto()
    OTHER_NUMBERS = auto()
    ANSWER = auto()
    REPAIR = auto()
    UID = auto()
    REMOVAL = auto()


def need(view: View, name: str) -> Need | None:
    """What is to be done about one namespace; None: nothing."""
    known = Tenants(view)
    if known.uid(name) is None:
        return Need.REMOVAL if known.is_written(name) else None
    if not known.is_written(name):
        return Need.NUMBERS
    if known.is_another(name):
        return Need.OTHER_NUMBERS
    found = Need(0)
    if view.request(NETNAMESPACES, name) is not None:
        found |= Need.ANSWER
    if known.needs_repair(name):
        found |= Need.REPAIR
    if known.is_unnamed(name):
        found |= Need.UID
    return found or None


def allocations(view: View) -> Iterator[Allocation]:
    """New namespaces first, then answers, repairs, removals."""
    needs = view.each(need, NAMESPACES, NETNAMESPACES, NAMESPACE_VNIS)
    if not needs:
        return
    known = Tenants(view)
    numbers = Numbers(free_numbers(view, known))
    anew = _with(needs, Need.OTHER_NUMBERS)
    if new := sorted(set(_with(needs, Need.NUMBERS)) - _deleted(view)):
        yield _given(view, known, new[:_BATCH], numbers)
    elif anew:
        given = _given(view, known, anew[:_BATCH], numbers)
        yield evolve(given, missing=NAMESPACES, alike=len(anew[_BATCH:]))
    yield from _answers(view, known, _with(needs, Need.ANSWER), numbers)
    yield from _repairs(view, known, _with(needs, Need.REPAIR), numbers)
    if unnamed := _with(needs, Need.UID):
        yield _named(view, known, unnamed[: 2 * _BATCH])
    for name in _with(needs, Need.REMOVAL):
        yield _removed(view, name)


def _with(needs: Mapping[str, Need], wanted: Need) -> list[str]:
    return sorted(name for name, found in needs.items() if wanted in found)


def _deleted(view: View) -> set[str]:
    """Namespaces of which somebody has just deleted a record: the others need not wait for them."""
    kinds = NETNAMESPACES, NAMESPACE_VNIS
    return {
        name for kind in kinds for name, each in view.deleted(kind).items() if not each.by_leader
    }


def _given(view: View, known: Tenants, names: list[str], numbers: Numbers) -> Allocation:
    """A record and a number for each of `names`, which are new, be it under the name of one that
    was deleted."""
    writes: list[Write] = []
    for name in names:
        vni = NamespaceVni(numbers.take(), known.uid(name) or None)
        lost = _MADE_ANEW if view.request(NETNAMESPACES, name) else None
        record = NetNamespace(name, _begins(view, name, vni), reason=lost)
        values = ((NAMESPACE_VNIS, vni), (NETNAMESPACES, record))
        writes += [Write(kind, name, value, view.revision(kind, name)) for kind, value in values]
    writes.append(cursor(view, numbers.last))
    return Allocation(tuple(writes), f"{len(names)} new namespaces, {names[0]} first")


def _named(view: View, known: Tenants, names: list[str]) -> Allocation:
    """Whose number it is, where the record does not say yet."""
    writes = [
        Write(
            NAMESPACE_VNIS,
            name,
            evolve(vni, uid=known.uid(name)),
            view.revision(NAMESPACE_VNIS, name),
        )
        for name in names
        if (vni := known.vni(name)) is not None
    ]
    return Allocation(tuple(writes), f"uids of {len(names)} namespaces noted, {names[0]} first")


def _answers(
    view: View, known: Tenants, names: list[str], numbers: Numbers
) -> Iterator[Allocation]:
    for name in names:
        request: NetNamespace | None = view.request(NETNAMESPACES, name)
        old = known.record(name)
        if request is None or old is None or (request.action == "isolate" and numbers.taken):
            continue
        if request.action == "join" and _is_changing(known, request.namespace):
            continue
        answer = _answered(view, known, request, old.net_id, numbers)
        yield answer
        # Two that join each other must not swap tenants.
        known.answered[name] = answer.writes[-1].value


def _answered(
    view: View, known: Tenants, request: NetNamespace, old: int, numbers: Numbers
) -> Allocation:
    """The record after its action, or with the reason why that cannot be. old: its tenant now."""
    name, action = request.net_name, request.action
    writes: list[Write] = []
    event = None
    try:
        answer = ANSWERS.get(action, unknown)
        new, reason = answer(known, request, numbers), None
        told = f"{action} of {name}: tenant id {old} -> {new}"
        if action == "isolate":
            writes.append(cursor(view, new))
    except Refusal as refusal:
        new, reason = old, refusal.reason
        told = f"{action} of {name} refused: {reason}"
        event = Event("Namespace", name, "TenantActionRefused", reason)
    done = evolve(request, net_id=new, action="", namespace="", reason=reason)
    writes.append(Write(NETNAMESPACES, name, done, view.revision(NETNAMESPACES, name)))
    return Allocation(tuple(writes), told, event)


def _is_changing(known: Tenants, name: str) -> bool:
    """Whether a namespace is about to get a tenant, or another one than its record says."""
    is_new = not known.is_written(name) or known.is_another(name)
    return (known.uid(name) is not None and is_new) or known.needs_repair(name)


def _repairs(
    view: View, known: Tenants, names: list[str], numbers: Numbers
) -> Iterator[Allocation]:
    for name in names:
        if not (numbers.taken and _takes_number(view, known, name)):
            yield _repaired(view, known, name, numbers)


def _takes_number(view: View, known: Tenants, name: str) -> bool:
    """Whether a namespace that needs repair needs a new number."""
    vni = known.vni(name)
    return vni is None or (
        known.record(name) is None and _first_net_id(view, known, name, vni) is None
    )


def _repaired(view: View, known: Tenants, name: str, numbers: Numbers) -> Allocation:
    """The missing or invalid records of a namespace, as they were when last valid."""
    writes: list[Write] = []
    if _takes_number(view, known, name):
        writes.append(cursor(view, numbers.take()))
    vni = known.vni(name) or NamespaceVni(numbers.last, known.uid(name) or None)
    if known.vni(name) is None or view.problem(NAMESPACE_VNIS, name):
        writes.append(Write(NAMESPACE_VNIS, name, vni, view.revision(NAMESPACE_VNIS, name)))
    reason = view.problem(NETNAMESPACES, name)
    if reason or known.record(name) is None:
        first = _first_net_id(view, known, name, vni)
        good = known.record(name) or NetNamespace(name, numbers.last if first is None else first)
        record = evolve(good, action="", namespace="", reason=reason)
        writes.append(Write(NETNAMESPACES, name, record, view.revision(NETNAMESPACES, name)))
    event = Event("Namespace", name, "TenantRecordInvalid", reason) if reason else None
    return Allocation(tuple(writes), f"record of {name} restored: {reason or 'missing'}", event)


def _first_net_id(view: View, known: Tenants, name: str, vni: NamespaceVni) -> int | None:
    """The tenant that a namespace returns to: its own. None: others have joined that one before,
    and must not meet it there unasked."""
    first = _begins(view, name, vni)
    return None if known.has_members(first) and first != GLOBAL_TENANT else first


def _begins(view: View, name: str, vni: NamespaceVni) -> int:
    return GLOBAL_TENANT if name in global_namespaces(view) else vni.number


def _removed(view: View, name: str) -> Allocation:
    writes = tuple(
        Write(kind, name, None, view.revision(kind, name))
        for kind in (NETNAMESPACES, NAMESPACE_VNIS)
        if view.revision(kind, name)
    )
    return Allocation(writes, f"namespace {name} is gone", missing=NAMESPACES)


def global_namespaces(view: View) -> tuple[str, ...]:
    """Namespaces that begin as part of the global tenant: the configuration's GlobalNamespaces."""
    found = view.config.extra.get(GLOBAL_NAMESPACES.name, _DEFAULT_GLOBAL)
    return tuple(found) if GLOBAL_NAMESPACES.accepts(found) else _DEFAULT_GLOBAL
