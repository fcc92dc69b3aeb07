"""The records of tenants in etcd: which tenant a namespace is in, and its own VNI.

`netnamespaces/<namespace>` is what people read and write. `vnids/<namespace>` is the VNI that the
namespace's packets carry between nodes; it never changes, so that a change of tenant takes effect
on each node at once and no packet is on its way with an old one. It says whose it is, by the
namespace's uid: one that was deleted and made anew is another namespace, of the same name.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from attrs import field, frozen

from k8s_ovs.plugin import (
    MAX_TENANT_ID,
    InvalidRecord,
    KubeResource,
    RecordKind,
    decode,
    encode,
    kube_field,
    named,
)

__all__ = [
    "CURSOR",
    "FIRST_TENANT_ID",
    "KINDS",
    "NAMESPACES",
    "NAMESPACE_VNIS",
    "NETNAMESPACES",
    "NUMBER_INDEX",
    "TENANT_INDEX",
    "Cursor",
    "NamespaceVni",
    "NetNamespace",
    "asks",
    "namespaces",
]

NETNAMESPACES = "netnamespaces"
NAMESPACE_VNIS = "vnids"
CURSOR = "netids"
#: Indexes: of NETNAMESPACES by their tenant, of NAMESPACE_VNIS by their number.
TENANT_INDEX = "tenant"
NUMBER_INDEX = "number"
NAMESPACES = "namespaces"

#: Numbers below are reserved for the network; 0 is the global tenant.
FIRST_TENANT_ID = 10


@frozen
class NetNamespace:
    """A namespace's tenant number, and what a person asks to be done with it.

    ``{"NetName":"helloworld1","NetID":300924,"Action":"","Namespace":""}``

    action: join (with namespace), isolate, global; "" once it is answered.
    reason: why the last action could not be done; None: it could.
    """

    net_name: str = named("NetName")
    net_id: int = named("NetID")
    action: str = named("Action", default="")
    namespace: str = named("Namespace", default="")
    reason: str | None = named("Reason", default=None)
    extra: Mapping[str, Any] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        """Raises ValueError that names the field, what was found and what was expected."""
        if not 0 <= self.net_id <= MAX_TENANT_ID:
            raise ValueError(f"NetID: found {self.net_id}, expected 0 to {MAX_TENANT_ID}")


@frozen
class NamespaceVni:
    """The number that a namespace's packets carry (a VXLAN network identifier).

    uid: of the namespace that it was given to; None: not known, as nobody had noted it then.
    """

    number: int = named("VNID")
    uid: str | None = named("UID", default=None)
    extra: Mapping[str, Any] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        """Raises ValueError that names the field, what was found and what was expected."""
        if not FIRST_TENANT_ID <= self.number <= MAX_TENANT_ID:
            raise ValueError(
                f"VNID: found {self.number}, expected {FIRST_TENANT_ID} to {MAX_TENANT_ID}"
            )


@frozen
class Cursor:
    """The number that was given last: the next one is sought behind it, so that a number that
    was given back is not given again for as long as possible."""

    last: int = named("Last")
    extra: Mapping[str, Any] = field(factory=dict)


def _net_namespace(path: str, data: bytes) -> NetNamespace:
    record = decode(NetNamespace, path, data)
    if path.rpartition("/")[2] != record.net_name:
        expected = path.rpartition("/")[2]
        raise InvalidRecord(
            f'{path}: NetName: found "{record.net_name}", expected "{expected}" as in the key'
        )
    if 0 < record.net_id < FIRST_TENANT_ID:
        raise InvalidRecord(
            f"{path}: NetID: found {record.net_id}, "
            f"expected 0 or {FIRST_TENANT_ID} to {MAX_TENANT_ID}"
        )
    return record


def _net_id(record: NetNamespace) -> tuple[int]:
    return (record.net_id,)


def _number(record: NamespaceVni) -> tuple[int]:
    return (record.number,)


def asks(record: NetNamespace) -> bool:
    """Whether a record asks for an action that is not answered yet."""
    return bool(record.action)


KINDS = (
    RecordKind(NETNAMESPACES, _net_namespace, encode, indexes={TENANT_INDEX: _net_id}, asks=asks),
    RecordKind(
        NAMESPACE_VNIS, partial(decode, NamespaceVni), encode, indexes={NUMBER_INDEX: _number}
    ),
    RecordKind(CURSOR, partial(decode, Cursor), encode),
)


def namespaces() -> KubeResource:
    """Kubernetes' namespaces: their uids, by name."""
    return KubeResource(NAMESPACES, "/api/v1/namespaces", _uid, for_allocation=True)


def _uid(key: str, found: Mapping[str, Any]) -> str:
    return kube_field(f"namespace {key}", found, "metadata.uid", str) or ""
