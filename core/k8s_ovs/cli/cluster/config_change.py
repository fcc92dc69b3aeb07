"""A new configuration compared with the old one: what changes, and what prevents it. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from attrs import frozen

from k8s_ovs.model.codec import encode
from k8s_ovs.model.network import NetworkConfig
from k8s_ovs.model.subnet import HostSubnet, subnet_problem

__all__ = [
    "FieldChange",
    "changed_fields",
    "fields_of",
    "obstacles",
]


@frozen
class FieldChange:
    """A field of the configuration; None: it is absent."""

    field: str
    old: str | None
    new: str | None


def fields_of(config: NetworkConfig) -> dict[str, str]:
    """The configuration's fields as people read them, defaults and unknown ones included."""
    body: dict[str, Any] = json.loads(encode(config))
    return {name: _plain(value) for name, value in body.items()}


def changed_fields(old: NetworkConfig | None, new: NetworkConfig) -> list[FieldChange]:
    """The fields that differ; all of `new` where there is no old one."""
    before, after = fields_of(old) if old else {}, fields_of(new)
    return [
        FieldChange(name, before.get(name), after.get(name))
        for name in [*after, *(before.keys() - after.keys())]
        if before.get(name) != after.get(name)
    ]


def obstacles(
    old: NetworkConfig | None,
    new: NetworkConfig,
    records: Mapping[str, HostSubnet],
) -> list[str]:
    """What exists now and would be invalid under `new`, one reason per line.

    records: of the old Name, by key.
    """
    if old is None or not records:
        return []
    if new.name != old.name:
        return [
            f"Name: {len(records)} hosts have subnets under {old.name}; under {new.name} each "
            "gets another one, and nodes that run pods refuse that"
        ]
    return [
        f"subnets/{key}: {problem}"
        for key, record in records.items()
        if (problem := subnet_problem(new, key, record)) and not subnet_problem(old, key, record)
    ]


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
