"""What is known of tenants when something is allocated, and which numbers are free?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from attrs import define, frozen

from k8s_ovs.plugin import MAX_TENANT_ID, View, Write
from k8s_ovs_multitenant.records import (
    CURSOR,
    FIRST_TENANT_ID,
    NAMESPACE_VNIS,
    NAMESPACES,
    NETNAMESPACES,
    Cursor,
    NamespaceVni,
    NetNamespace,
)

__all__ = ["Numbers", "Tenants", "cursor", "free_numbers", "known_tenants"]

_CURSOR_KEY = "last"


@frozen
class Tenants:
    """What is known of tenants: Kubernetes' namespaces (their uids by name), their records
    (settled, or as asked for where none has been settled yet), their numbers."""

    present: Mapping[str, str]
    records: dict[str, NetNamespace]
    vnis: Mapping[str, NamespaceVni]

    def is_another(self, name: str) -> bool:
        """Whether the number of this name was given to a namespace that is gone."""
        vni, uid = self.vnis.get(name), self.present[name]
        return vni is not None and bool(vni.uid and uid) and vni.uid != uid

    def is_unnamed(self, name: str) -> bool:
        """Whether nobody has noted yet whose number it is."""
        return name in self.vnis and not self.vnis[name].uid and bool(self.present[name])


@define
class Numbers:
    """Free numbers, for one allocation per reconcile: the next ones depend on the new cursor."""

    free: Iterator[int]
    last: int = 0

    @property
    def taken(self) -> bool:
        return self.last != 0

    def take(self) -> int:
        self.last = next(self.free)
        return self.last


def known_tenants(view: View) -> Tenants:
    """All that `view` has of them."""
    slots = view.slots(NETNAMESPACES).items()
    found = {name: slot.asked if slot.settled is None else slot.settled for name, slot in slots}
    records = {name: record for name, record in found.items() if record is not None}
    return Tenants(view.all(NAMESPACES), records, view.all(NAMESPACE_VNIS))


def free_numbers(view: View, known: Tenants) -> Iterator[int]:
    """Numbers that no record has, those after the cursor first. Never ends: 16 million are more
    than a cluster can have namespaces."""
    used = {record.net_id for record in known.records.values()}
    used |= {vni.number for vni in known.vnis.values()}
    at: Cursor | None = view.get(CURSOR, _CURSOR_KEY)
    number = at.last if at else FIRST_TENANT_ID - 1
    while True:
        number = number + 1 if FIRST_TENANT_ID <= number + 1 <= MAX_TENANT_ID else FIRST_TENANT_ID
        if number not in used:
            yield number


def cursor(view: View, last: int) -> Write:
    """The record that says which number was taken last."""
    return Write(CURSOR, _CURSOR_KEY, Cursor(last), view.revision(CURSOR, _CURSOR_KEY))
