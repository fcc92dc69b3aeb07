"""What a plugin declares: fields of the configuration, kinds of records in etcd, and resources of
Kubernetes.

Its hooks `config_fields`, `kinds` and `resources` return them; kinds of the core's own are in
builtin/node_subnets.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterable, Mapping
from ipaddress import IPv4Network
from typing import Any

from attrs import field, frozen

from k8s_ovs.errors import shown
from k8s_ovs.model.checked import as_text, has_type
from k8s_ovs.model.network import NetworkConfig
from k8s_ovs.model.world import Slot, Tag

__all__ = ["NODES_PATH", "ConfigField", "Indexes", "KubeResource", "RecordKind", "tags_of"]

#: Of Kubernetes' list of Nodes.
NODES_PATH = "/api/v1/nodes"

#: By name, each a function from a value to what the value is found by.
Indexes = Mapping[str, Callable[[Any], Iterable[Hashable]]]


def _is_name(instance: object, _: Any, name: Any) -> None:
    if not isinstance(name, str) or not name or "/" in name:
        raise ValueError(
            f"{type(instance).__name__}.name: found {shown(name)}, expected a word without /"
        )


def _is_path(_: object, __: Any, path: Any) -> None:
    if not isinstance(path, str) or not path.startswith("/"):
        raise ValueError(
            f"KubeResource.path: found {shown(path)}, expected one such as /api/v1/namespaces"
        )


def _is_function(instance: object, attribute: Any, value: Any) -> None:
    if not callable(value) and not (value is None and attribute.default is None):
        raise TypeError(
            f"{type(instance).__name__}.{attribute.name}: found {shown(value)}, expected a function"
        )


def _are_indexes(instance: object, _: Any, indexes: Any) -> None:
    if not isinstance(indexes, Mapping) or not all(
        isinstance(name, str) and callable(index) for name, index in indexes.items()
    ):
        raise TypeError(
            f"{type(instance).__name__}.indexes: found {shown(indexes)}, expected functions by name"
        )


@frozen
class ConfigField:
    """A field of the configuration that a plugin reads from `view.config.extra`.

    name: as in JSON. accepts: whether a JSON value is valid. expected: what is, in words that
    follow "expected ".
    """

    name: str = field(converter=as_text, validator=has_type(str))
    accepts: Callable[[Any], bool] = field(validator=_is_function)
    expected: str = field(converter=as_text, validator=has_type(str))

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
    indexes: what `View.having` finds a value by, for each index by its name.
    asks: whether a value asks the allocator for something. Until it is answered the record's
    settled value remains in force, and `View.request` shows what is asked.
    holds: the part of Network that a value keeps for somebody, or None; see `View.taken`.
    exclusive: the JSON field that says what `holds` returns, where no two records of the kind may
    hold what overlaps: the later one is quarantined. "": they may.
    check: why a value under a key cannot be in a network of this configuration, or None; such a
    record is quarantined too. It gets (configuration, key, value).
    leased: each record is for a while, mostly under a lease of who writes it: nobody puts it back.
    for_allocation: only `allocations` look at it, so just the leader reads it, and its successor.
    is_subject: each record has flows of its own, which the hook `record_flows` says.
    """

    name: str = field(converter=as_text, validator=_is_name)
    decode: Callable[[str, bytes], Any] = field(validator=_is_function)
    encode: Callable[[Any], bytes] = field(validator=_is_function)
    indexes: Indexes = field(factory=dict, validator=_are_indexes)
    asks: Callable[[Any], bool] | None = field(default=None, validator=_is_function)
    holds: Callable[[Any], IPv4Network | None] | None = field(default=None, validator=_is_function)
    exclusive: str = field(default="", converter=as_text, validator=has_type(str))
    check: Callable[[NetworkConfig, str, Any], str | None] | None = field(
        default=None, validator=_is_function
    )
    leased: bool = field(default=False, validator=has_type(bool))
    for_allocation: bool = field(default=False, validator=has_type(bool))
    is_subject: bool = field(default=False, validator=has_type(bool))

    def __attrs_post_init__(self) -> None:
        """Raises ValueError where nothing says what must not overlap, and for what no daemon could
        do."""
        if self.exclusive and self.holds is None:
            raise ValueError("RecordKind.exclusive: found no holds, expected one beside it")
        _refuse_unseen_subject(self)

    def slot(self, value: Any, revision: int) -> Slot:
        """The slot of a record whose value counts."""
        return Slot(value, revision=revision, tags=tags_of(self.indexes, value))


@frozen
class KubeResource:
    """A resource of Kubernetes to watch: its records are of kind `name`.

    path: of the list, such as /api/v1/namespaces. decode: (key, JSON object) to a value; raises
    InvalidRecord. None: not of interest, as if the object did not exist. The key is "name", or
    "namespace/name". local_only: just the objects of this node: its
    pods (spec.nodeName), or its Node. for_allocation: only `allocations` look at it, so just the
    leader watches it, and its successor. indexes: as those of `RecordKind`.
    label_selector, field_selector: as kubectl's --selector and --field-selector; "": all objects.
    optional: somebody may install it later (a CustomResourceDefinition): until then there are no
    objects. is_subject: each object has flows of its own, which the hook `record_flows` says.
    """

    name: str = field(converter=as_text, validator=_is_name)
    path: str = field(converter=as_text, validator=_is_path)
    decode: Callable[[str, Mapping[str, Any]], Any] = field(validator=_is_function)
    local_only: bool = field(default=False, validator=has_type(bool))
    for_allocation: bool = field(default=False, validator=has_type(bool))
    indexes: Indexes = field(factory=dict, validator=_are_indexes)
    label_selector: str = field(default="", converter=as_text, validator=has_type(str))
    field_selector: str = field(default="", converter=as_text, validator=has_type(str))
    optional: bool = field(default=False, validator=has_type(bool))
    is_subject: bool = field(default=False, validator=has_type(bool))

    def __attrs_post_init__(self) -> None:
        """Raises ValueError for what no daemon could do."""
        _refuse_unseen_subject(self)
        if self.local_only and self.for_allocation:
            raise ValueError(
                "KubeResource: found local_only and for_allocation, expected one of them: the "
                "leader allocates for all nodes"
            )

    def fields_on(self, hostname: str) -> str:
        """The field selector of the objects that a daemon on this node watches; "": all."""
        if not self.local_only:
            return self.field_selector
        name = "metadata.name" if self.path == NODES_PATH else "spec.nodeName"
        return ",".join(filter(None, [self.field_selector, f"{name}={hostname}"]))


def _refuse_unseen_subject(declared: RecordKind | KubeResource) -> None:
    if declared.is_subject and declared.for_allocation:
        raise ValueError(
            f"{type(declared).__name__}: found is_subject and for_allocation, expected one of "
            "them: each node has the flows"
        )


def tags_of(indexes: Indexes, value: Any) -> tuple[Tag, ...]:
    """What a value is found by."""
    tags = (Tag(name, each) for name, index in indexes.items() for each in index(value))
    return tuple(dict.fromkeys(tags))
