"""How many records may be deleted at once? A person's word, where the leader has asked for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from k8s_ovs.model.codec import named

__all__ = ["ALLOWED", "DELETIONS", "Allowance"]

#: Its record is `<Name>/deletions/allowed`.
DELETIONS, ALLOWED = "deletions", "allowed"


@frozen
class Allowance:
    """``{"Most":60}``: so many records of one kind. The leader ends it when nothing is left."""

    most: int = named("Most")
    extra: Mapping[str, Any] = field(factory=dict)
