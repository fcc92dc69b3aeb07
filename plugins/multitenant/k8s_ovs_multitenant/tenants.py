"""What is known of tenants when something is allocated, and which numbers are free?"""

from __future__ import annotations

from collections.abc import Iterator

from attrs import define, field

from k8s_ovs.plugin import MAX_TENANT_ID, View, Write
from k8s_ovs_multitenant.records import (
    CURSOR,
    FIRST_TENANT_ID,
    NAMESPACE_VNIS,
    NAMESPACES,
    NETNAMESPACES,
    NUMBER_INDEX,
    TENANT_INDEX,
    Cursor,
    NamespaceVni,
    NetNamespace,
)

__all__ = ["Numbers", "Tenants", "cursor", "free_numbers"]

_CURSOR_KEY = "last"


@define
class Tenants:
    """What `view` has of Kubernetes' namespaces and their records. answered: records as they will
    be once this allocation is written."""

    view: View
    answered: dict[str, NetNamespace] = field(factory=dict)

    def uid(self, name: str) -> str | None:
        """Kubernetes' uid of a namespace, "" where it says none; None: there is no such one."""
        found: str | None = self.view.get(NAMESPACES, name)
        return found

    def record(self, name: str) -> NetNamespace | None:
        """A namespace's record: settled, or as asked for where none has been settled yet."""
        if name in self.answered:
            return self.answered[name]
        settled: NetNamespace | None = self.view.get(NETNAMESPACES, name)
        asked: NetNamespace | None = self.view.request(NETNAMESPACES, name)
        return settled or asked

    def vni(self, name: str) -> NamespaceVni | None:
        """A namespace's number."""
        found: NamespaceVni | None = self.view.get(NAMESPACE_VNIS, name)
        return found

    def is_written(self, name: str) -> bool:
        """Whether anything is written of a namespace, valid or not."""
        view = self.view
        return bool(view.revision(NETNAMESPACES, name) or view.revision(NAMESPACE_VNIS, name))

    def is_another(self, name: str) -> bool:
        """Whether the number of this name was given to a namespace that is gone."""
        vni, uid = self.vni(name), self.uid(name)
        return vni is not None and bool(vni.uid and uid) and vni.uid != uid

    def is_unnamed(self, name: str) -> bool:
        """Whether nobody has noted yet whose number it is."""
        vni = self.vni(name)
        return vni is not None and not vni.uid and bool(self.uid(name))

    def needs_repair(self, name: str) -> bool:
        """Whether the number or the record of a namespace is missing, or cannot be read."""
        view = self.view
        return self.is_written(name) and (
            self.vni(name) is None
            or view.problem(NAMESPACE_VNIS, name) is not None
            or self.record(name) is None
            or view.problem(NETNAMESPACES, name) is not None
        )

    def has_members(self, tenant: int) -> bool:
        """Whether a namespace is in this tenant."""
        if any(each.net_id == tenant for each in self.answered.values()):
            return True
        names = self.view.having(NETNAMESPACES, TENANT_INDEX, tenant).keys() - self.answered.keys()
        asking = self.view.asking(NETNAMESPACES, TENANT_INDEX, tenant).keys() - self.answered.keys()
        return bool(names) or any(self.view.get(NETNAMESPACES, each) is None for each in asking)


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


def free_numbers(view: View, known: Tenants) -> Iterator[int]:
    """Numbers that no record has, those after the cursor first. Never ends: 16 million are more
    than a cluster can have namespaces."""
    at: Cursor | None = view.get(CURSOR, _CURSOR_KEY)
    number = at.last if at else FIRST_TENANT_ID - 1
    while True:
        number = number + 1 if FIRST_TENANT_ID <= number + 1 <= MAX_TENANT_ID else FIRST_TENANT_ID
        if not known.has_members(number) and not view.having(NAMESPACE_VNIS, NUMBER_INDEX, number):
            yield number


def cursor(view: View, last: int) -> Write:
    """The record that says which number was taken last."""
    return Write(CURSOR, _CURSOR_KEY, Cursor(last), view.revision(CURSOR, _CURSOR_KEY))
