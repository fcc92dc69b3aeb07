"""What should be written of tenants: numbers for new namespaces, answers to actions.

Pure: the world in, allocations out. Each hands out at most one batch of new numbers, since the
next one depends on where the cursor is then.
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

__all__ = ["allocations"]

#: Namespaces a transaction: etcd takes 128 operations, a namespace needs two.
_BATCH = 50
_CURSOR_KEY = "last"
_DEFAULT_GLOBAL = ("kube-system",)


@frozen
class _Refusal(Exception):
    """An action that cannot be done, with the reason."""

    reason: str


def allocations(view: View) -> Iterator[Allocation]:
    """New namespaces first, then answers, then what is to be removed."""
    present: Mapping[str, str] = view.all(NAMESPACES)
    records: Mapping[str, NetNamespace] = view.all(NETNAMESPACES)
    vnids: Mapping[str, Vnid] = view.all(VNIDS)
    numbers = _free_numbers(view, records, vnids)
    used = False
    new = sorted(name for name in present if name not in records or name not in vnids)
    if new:
        yield _given(view, list(islice(new, _BATCH)), records, vnids, numbers)
        used = True
    for name, record in sorted(records.items()):
        spoiled = view.get(QUARANTINE, f"{NETNAMESPACES}/{name}")
        if spoiled:
            yield _restored(view, record, spoiled)
        elif record.action:
            needs_number = record.action == "isolate"
            if not (needs_number and used):
                yield _answered(view, record, records, present, numbers)
                used = used or needs_number
    for name in sorted((records.keys() | vnids.keys()) - present.keys()):
        yield _removed(view, name)


def _given(
    view: View,
    names: list[str],
    records: Mapping[str, NetNamespace],
    vnids: Mapping[str, Vnid],
    numbers: Iterator[int],
) -> Allocation:
    """A record and a number for each of `names`; what is there of them stays."""
    writes: list[Write] = []
    last = 0
    for name in names:
        known = vnids.get(name)
        if known is None:
            last = next(numbers)
            known = Vnid(last)
            writes.append(Write(VNIDS, name, known, view.revision(VNIDS, name)))
        if name not in records:
            net_id = GLOBAL_TENANT if name in _global_namespaces(view) else known.number
            record = NetNamespace(name, net_id)
            writes.append(Write(NETNAMESPACES, name, record, _revision(view, name)))
    if last:
        writes.append(_cursor(view, last))
    return Allocation(tuple(writes), f"{len(names)} new namespaces, {names[0]} first")


def _answered(
    view: View,
    record: NetNamespace,
    records: Mapping[str, NetNamespace],
    present: Mapping[str, str],
    numbers: Iterator[int],
) -> Allocation:
    """The record after its action, or with the reason why that cannot be."""
    name, action = record.net_name, record.action
    answer = _ANSWERS.get(action, _unknown)
    writes: list[Write] = []
    event = None
    try:
        net_id = answer(record, records, present, numbers)
        done = evolve(record, net_id=net_id, action="", namespace="", reason=None)
        reason = f"{action} of {name}: NetID {record.net_id} is {net_id} now"
        if action == "isolate":
            writes.append(_cursor(view, net_id))
    except _Refusal as refusal:
        done = evolve(record, action="", namespace="", reason=refusal.reason)
        reason = f"{action} of {name} refused: {refusal.reason}"
        event = Event("Namespace", name, "TenantActionRefused", refusal.reason)
    writes.append(Write(NETNAMESPACES, name, done, view.revision(NETNAMESPACES, name)))
    return Allocation(tuple(writes), reason, event)


def _restored(view: View, good: NetNamespace, reason: str) -> Allocation:
    """The last good record in place of one that cannot be read, with the reason."""
    answer = evolve(good, action="", namespace="", reason=reason)
    write = Write(NETNAMESPACES, good.net_name, answer, _revision(view, good.net_name))
    event = Event("Namespace", good.net_name, "TenantRecordInvalid", reason)
    return Allocation((write,), f"{good.net_name}: {reason}", event)


def _removed(view: View, name: str) -> Allocation:
    writes = tuple(
        Write(kind, name, None, view.revision(kind, name))
        for kind in (NETNAMESPACES, VNIDS)
        if view.revision(kind, name)
    )
    return Allocation(writes, f"namespace {name} is gone")


def _join(
    record: NetNamespace,
    records: Mapping[str, NetNamespace],
    present: Mapping[str, str],
    _: Iterator[int],
) -> int:
    target = record.namespace
    if not target:
        raise _Refusal("join: Namespace: missing, expected the namespace to join")
    if target == record.net_name:
        raise _Refusal(f'join: Namespace: found "{target}", expected another one than itself')
    if target not in records or target not in present:
        raise _Refusal(f'join: Namespace: found "{target}", expected one that exists')
    return records[target].net_id


def _isolate(
    record: NetNamespace,
    records: Mapping[str, NetNamespace],
    present: Mapping[str, str],
    numbers: Iterator[int],
) -> int:
    return next(numbers)


def _global(
    record: NetNamespace,
    records: Mapping[str, NetNamespace],
    present: Mapping[str, str],
    numbers: Iterator[int],
) -> int:
    return GLOBAL_TENANT


def _unknown(
    record: NetNamespace,
    records: Mapping[str, NetNamespace],
    present: Mapping[str, str],
    numbers: Iterator[int],
) -> int:
    raise _Refusal(f'Action: found "{record.action}", expected join, isolate or global')


_Answer = Callable[
    [NetNamespace, Mapping[str, NetNamespace], Mapping[str, str], Iterator[int]], int
]
_ANSWERS: Mapping[str, _Answer] = {"join": _join, "isolate": _isolate, "global": _global}


def _free_numbers(
    view: View, records: Mapping[str, NetNamespace], vnids: Mapping[str, Vnid]
) -> Iterator[int]:
    """Numbers that no record has, those behind the cursor first. Never ends: 16 million are more
    than a cluster can have namespaces."""
    used = {record.net_id for record in records.values()}
    used |= {vnid.number for vnid in vnids.values()}
    cursor: Cursor | None = view.get(CURSOR, _CURSOR_KEY)
    number = cursor.last if cursor else FIRST_NETID - 1
    while True:
        number = number + 1 if FIRST_NETID <= number + 1 <= MAX_NETID else FIRST_NETID
        if number not in used:
            yield number


def _cursor(view: View, last: int) -> Write:
    return Write(CURSOR, _CURSOR_KEY, Cursor(last), view.revision(CURSOR, _CURSOR_KEY))


def _revision(view: View, name: str) -> int:
    """Of the record as etcd has it, whether or not it can be read."""
    spoiled = view.revision(QUARANTINE, f"{NETNAMESPACES}/{name}")
    return spoiled or view.revision(NETNAMESPACES, name)


def _global_namespaces(view: View) -> tuple[str, ...]:
    found = view.config.extra.get("GlobalNamespaces", _DEFAULT_GLOBAL)
    return tuple(found) if isinstance(found, list | tuple) else _DEFAULT_GLOBAL
