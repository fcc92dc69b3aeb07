"""Which virtual network a namespace is in: the records below `<Name>/netnamespaces/`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from k8s_ovs.model.codec import named

__all__ = ["GLOBAL_TENANT", "MAX_TENANT_ID", "NetNamespace"]

#: The tenant that reaches all others and is reached by them; nodes are in it.
GLOBAL_TENANT = 0

#: A NetID travels as a VXLAN network identifier, 24 bits (RFC 7348 section 5).
MAX_TENANT_ID = 0xFFFFFF


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
