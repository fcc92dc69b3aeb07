"""What should be written of tenants: numbers for new namespaces, answers to actions.

Pure: the world in, allocations out. Each turn hands out at most one batch of new numbers, since
the next one depends on where the cursor is then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice

from attrs import evolve, frozen

from k8s_ovs.model.tenant import GLOBAL_TENANT, MAX_NETID, NetNamespace
from k8s_ovs.plugin import Allocation, Event, View, Write
from k8s_ovs.plugin.view import QUARANTINE
from k8s_ovs_multitenant.records import (
    CURSOR,
    FIRST_NETID,
    NAMESPACES,
    NETNAMESPACES,
    VNIDS,
    Cursor,
    Vnid,
)

__all__ = ["allocations", "global_namespaces"]

#: Namespaces a transaction: etcd takes 128 operations, a namespace needs two.
_BATCH = 50
_CURSOR_KEY = "last"
_DEFAULT_GLOBAL = ("kube-system",)


@frozen
class _Refusal(Exception):
    """An action that cannot be done, with the reason."""

    reason: str


@frozen
class _Tenants:
    """What is known of tenants: Kubernetes' namespaces, their settled records, their numbers."""

    present: Mapping[str, str]
    records: dict[str, NetNamespace]
    vnids: Mapping[str, Vnid]

    def net_id(self, name: str) -> int:
        """The virtual network that `name` is in now; without a record its own."""
        record = self.records.get(name)
        return record.net_id if record else self.vnids[name].number


def allocations(view: View) -> Iterator[Allocation]:
    """New namespaces first, then answers, then what is to be removed."""
    known = _Tenants(view.all(NAMESPACES), dict(view.all(NETNAMESPACES)), view.all(VNIDS))
    numbers = _free_numbers(view, known)
    new = [name for name in sorted(known.present) if _lacks(view, known, name)]
    if new:
        yield _given(view, known, list(islice(new, _BATCH)), numbers)
    number_is_free = not new
    for name in sorted(known.present.keys() & known.vnids.keys()):
        if spoiled := view.get(QUARANTINE, f"{NETNAMESPACES}/{name}"):
            yield _restored(view, known, name, spoiled)
        elif asked := view.request(NETNAMESPACES, name):
            takes_number = asked.action == "isolate"
            if not takes_number or number_is_free:
                answer = _answered(view, known, asked, numbers)
                yield answer
                # Two that join each other must not change places.
                known.records[name] = answer.writes[-1].value
            number_is_free = number_is_free and not takes_number
    for name in sorted((known.records.keys() | known.vnids.keys()) - known.present.keys()):
        yield _removed(view, name)


def _lacks(view: View, known: _Tenants, name: str) -> bool:
    """Whether a namespace has no number or no record at all, not even one that cannot be read."""
    return name not in known.vnids or (
        name not in known.records and not view.written(NETNAMESPACES, name)
    )


def _given(view: View, known: _Tenants, names: list[str], numbers: Iterator[int]) -> Allocation:
    """A record and a number for each of `names`; what is there of them stays."""
    writes: list[Write] = []
    last = 0
    for name in names:
        vnid = known.vnids.get(name)
        if vnid is None:
            last = next(numbers)
            vnid = Vnid(last)
            writes.append(Write(VNIDS, name, vnid, view.revision(VNIDS, name)))
        if not view.written(NETNAMESPACES, name):
            net_id = GLOBAL_TENANT if name in global_namespaces(view) else vnid.number
            writes.append(Write(NETNAMESPACES, name, NetNamespace(name, net_id), 0))
    if last:
        writes.append(_cursor(view, last))
    return Allocation(tuple(writes), f"{len(names)} new namespaces, {names[0]} first")


def _answered(
    view: View, known: _Tenants, asked: NetNamespace, numbers: Iterator[int]
) -> Allocation:
    """The record after its action, or with the reason why that cannot be."""
    name, action = asked.net_name, asked.action
    old = known.net_id(name)
    writes: list[Write] = []
    event = None
    try:
        answer = _ANSWERS.get(action, _unknown)
        new, reason = answer(known, asked, numbers), None
        told = f"{action} of {name}: NetID {old} is {new} now"
        if action == "isolate":
            writes.append(_cursor(view, new))
    except _Refusal as refusal:
        new, reason = old, refusal.reason
        told = f"{action} of {name} refused: {reason}"
        event = Event("Namespace", name, "TenantActionRefused", reason)
    done = evolve(asked, net_id=new, action="", namespace="", reason=reason)
    writes.append(Write(NETNAMESPACES, name, done, view.written(NETNAMESPACES, name)))
    return Allocation(tuple(writes), told, event)


def _restored(view: View, known: _Tenants, name: str, reason: str) -> Allocation:
    """The last good record in place of one that cannot be read, with the reason."""
    good = known.records.get(name) or NetNamespace(name, known.net_id(name))
    answer = evolve(good, action="", namespace="", reason=reason)
    write = Write(NETNAMESPACES, name, answer, view.written(NETNAMESPACES, name))
    event = Event("Namespace", name, "TenantRecordInvalid", reason)
    return Allocation((write,), f"record of {name} restored: {reason}", event)


def _removed(view: View, name: str) -> Allocation:
    writes = tuple(
        Write(kind, name, None, view.written(kind, name))
        for kind in (NETNAMESPACES, VNIDS)
        if view.written(kind, name)
    )
    return Allocation(writes, f"namespace {name} is gone")


def _join(known: _Tenants, asked: NetNamespace, _: Iterator[int]) -> int:
    target = asked.namespace
    if not target:
        raise _Refusal("join: Namespace: missing, expected the namespace to join")
    if target == asked.net_name:
        raise _Refusal(f'join: Namespace: found "{target}", expected another one than itself')
    if target not in known.present or target not in known.vnids:
        raise _Refusal(f'join: Namespace: found "{target}", expected one that exists')
    return known.net_id(target)


def _isolate(_: _Tenants, asked: NetNamespace, numbers: Iterator[int]) -> int:
    return next(numbers)


def _global(_: _Tenants, asked: NetNamespace, numbers: Iterator[int]) -> int:
    return GLOBAL_TENANT


def _unknown(_: _Tenants, asked: NetNamespace, numbers: Iterator[int]) -> int:
    raise _Refusal(f'Action: found "{asked.action}", expected join, isolate or global')


_ANSWERS: Mapping[str, Callable[[_Tenants, NetNamespace, Iterator[int]], int]] = {
    "join": _join,
    "isolate": _isolate,
    "global": _global,
}


def _free_numbers(view: View, known: _Tenants) -> Iterator[int]:
    """Numbers that no record has, those behind the cursor first. Never ends: 16 million are more
    than a cluster can have namespaces."""
    used = {record.net_id for record in known.records.values()}
    used |= {vnid.number for vnid in known.vnids.values()}
    cursor: Cursor | None = view.get(CURSOR, _CURSOR_KEY)
    number = cursor.last if cursor else FIRST_NETID - 1
    while True:
        number = number + 1 if FIRST_NETID <= number + 1 <= MAX_NETID else FIRST_NETID
        if number not in used:
            yield number


def _cursor(view: View, last: int) -> Write:
    return Write(CURSOR, _CURSOR_KEY, Cursor(last), view.written(CURSOR, _CURSOR_KEY))


def global_namespaces(view: View) -> tuple[str, ...]:
    """Namespaces that begin as part of the global tenant: the configuration's GlobalNamespaces."""
    found = view.config.extra.get("GlobalNamespaces", _DEFAULT_GLOBAL)
    return tuple(found) if isinstance(found, list | tuple) else _DEFAULT_GLOBAL
