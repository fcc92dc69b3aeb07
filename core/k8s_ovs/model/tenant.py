"""Tenant ids: who is in the same tenant reaches each other."""

from __future__ import annotations

__all__ = ["GLOBAL_TENANT", "MAX_TENANT_ID"]

#: The tenant that reaches all others and is reached by them; nodes are in it.
GLOBAL_TENANT = 0

#: A tenant id travels as a VXLAN network identifier, 24 bits (RFC 7348 section 5).
MAX_TENANT_ID = 0xFFFFFF
