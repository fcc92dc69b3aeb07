"""What a plugin declares: fields of the configuration, kinds of records in etcd, and resources of
Kubernetes."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Mapping
from ipaddress import IPv4Network
from typing import Any

from attrs import frozen

from k8s_ovs.model.network import NetworkConfig
from k8s_ovs.model.world import Slot, Tag

__all__ = ["ConfigField", "KubeResource", "RecordKind"]


@frozen
class ConfigField:
    """A field of the configuration that a plugin reads from `view.config.extra`.

    name: as in JSON. accepts: whether a JSON value is valid. expected: what is, in words that
    follow "expected ".
    """

    name: str
    accepts: Callable[[Any], bool]
    expected: str

    def problem(self, value: Any) -> str | None:
        """Why a value is invalid; None: it is valid."""
        if self.accepts(value):
            return None
        return f"{self.name}: found {json.dumps(value)}, expected {self.expected}"


@frozen
class RecordKind:
    """A kind of record in etcd, below `<prefix>/<Name>/<name>/`.

    decode: (key, bytes) to a value; raises InvalidRecord. None: not of interest, as if the record
    did not exist. encode: the way back.
    index: what `View.having` finds a value by; None: by nothing.
    asks: whether a value asks the allocator for something. Until it is answered the record's
    settled value remains in force, and `View.request` shows what is asked.
    holds: the part of Network that a value keeps for somebody, or None; see `View.taken`.
    check: which records contradict another one, each with the reason, by key. It gets the
    configuration and (value, etcd's mod_revision) of all records of the kind, by key; 0 means
    that it was in force before. Such a record is quarantined.
    """

    name: str
    decode: Callable[[str, bytes], Any]
    encode: Callable[[Any], bytes]
    index: Callable[[Any], Hashable] | None = None
    asks: Callable[[Any], bool] | None = None
    holds: Callable[[Any], IPv4Network | None] | None = None
    check: Callable[[NetworkConfig, Mapping[str, tuple[Any, int]]], Mapping[str, str]] | None = None

    def slot(self, value: Any, revision: int) -> Slot:
        """The slot of a record whose value counts."""
        return Slot(value, revision=revision, tag=self.tag(value))

    def tag(self, value: Any) -> Tag | None:
        """What a value is found by."""
        return Tag(self.index(value)) if self.index else None


@frozen
class KubeResource:
    """A resource of Kubernetes to watch: its records are of kind `name`.

    path: of the list, such as /api/v1/namespaces. decode: (key, JSON object) to a value; raises
    InvalidRecord. None: not of interest, as if the object did not exist. The key is "name", or
    "namespace/name". local_only: just the objects of this node
    (spec.nodeName).
    """

    name: str
    path: str
    decode: Callable[[str, Mapping[str, Any]], Any]
    local_only: bool = False
