"""Records to JSON and back: the only place that turns bytes into values.

A record class names its JSON fields in metadata (``named("HostIP")``). Fields that we do not know
are kept in `extra` and written again. An error names key, field, what was found and expected.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from ipaddress import IPv4Address, IPv4Network
from types import MappingProxyType
from typing import Any, TypeVar

import attrs
from cattrs import Converter
from cattrs.errors import ClassValidationError

from k8s_ovs.errors import InvalidRecord
from k8s_ovs.model.json_text import JSON_KINDS, parse_json, shown_json

__all__ = ["decode", "encode", "field_names", "named", "parse_network"]

T = TypeVar("T")

#: What is expected of a field of each type.
_WORDING = {
    **JSON_KINDS,
    IPv4Address: "an IPv4 address such as 192.168.0.11",
    IPv4Network: "an IPv4 CIDR such as 172.11.0.0/16",
}

#: Most records have nothing else.
_NOTHING: Mapping[str, Any] = MappingProxyType({})

#: An address and a length; Python would take a netmask for the length too.
_CIDR = re.compile(r"[0-9.]+/[0-9]{1,2}")


def named(json_name: str, **options: Any) -> Any:
    """An attrs field that is called `json_name` in JSON; `options` are attrs.field's."""
    return attrs.field(metadata={"json": json_name}, **options)


def decode(kind: type[T], key: str, data: bytes) -> T:
    """The record in `data`, which was found under `key`.

    Raises InvalidRecord with key, field, found and expected.
    """
    try:
        found = parse_json(data)
    except ValueError as error:
        raise InvalidRecord(
            f"{key}: not JSON ({error}): found {shown_json(data)}, expected a JSON object"
        ) from None
    if not isinstance(found, dict):
        raise InvalidRecord(f"{key}: found {shown_json(data)}, expected a JSON object")
    names = _names(kind)  # type: ignore[arg-type]  # mypy takes no class for hashable
    known = {names[name]: value for name, value in found.items() if name in names}
    known["extra"] = {n: v for n, v in found.items() if n not in names} or _NOTHING
    try:
        return _QUICK_CONVERTER.structure(known, kind)
    except Exception:
        return _explained(kind, key, known, found)


def _explained(kind: type[T], key: str, known: Mapping[str, Any], found: Mapping[str, Any]) -> T:
    """What was wrong, at which field: to remember that takes half as long again."""
    try:
        return _CONVERTER.structure(known, kind)
    except ClassValidationError as error:
        raise InvalidRecord(f"{key}: {_explain(error, kind, found)}") from None


@cache
def _names(kind: type) -> Mapping[str, str]:
    """Names of a record's fields, by those in JSON."""
    return {f.metadata["json"]: f.name for f in attrs.fields(kind) if "json" in f.metadata}


def encode(record: Any) -> bytes:
    """`record` as compact JSON, in the order of its fields, what we do not know at the end.

    Optional fields that are None are left out.
    """
    plain = _CONVERTER.unstructure(record)
    body = {
        f.metadata["json"]: plain[f.name]
        for f in attrs.fields(type(record))
        if "json" in f.metadata and plain[f.name] is not None
    }
    return json.dumps(body | dict(record.extra), separators=(",", ":")).encode()


def field_names(kind: type) -> list[str]:
    """The JSON names of a record's known fields."""
    return list(_names(kind))


def parse_network(text: Any) -> IPv4Network:
    """A CIDR without host bits. Raises ValueError that says what is wrong with it."""
    if not isinstance(text, str) or not _CIDR.fullmatch(text):
        raise ValueError(f"expected {_WORDING[IPv4Network]}")
    try:
        loose = IPv4Network(text, strict=False)
    except ValueError:
        raise ValueError(f"expected {_WORDING[IPv4Network]}") from None
    if text.split("/")[0] != str(loose.network_address):
        raise ValueError(f"host bits are set, expected {loose}")
    return loose


def _parse_address(text: Any) -> IPv4Address:
    try:
        if isinstance(text, str):
            return IPv4Address(text)
    except ValueError:
        pass
    raise ValueError(f"expected {_WORDING[IPv4Address]}")


def _exactly(kind: type) -> Any:
    """A hook that takes a JSON value of just this type: "10" is no number, 1 no boolean."""

    def structure(value: Any, _: Any) -> Any:
        if type(value) is not kind:
            raise ValueError(f"expected {_WORDING[kind]}")
        return value

    return structure


def _make_converter(*, detailed: bool) -> Converter:
    converter = Converter(detailed_validation=detailed)
    converter.register_structure_hook(IPv4Network, lambda v, _: parse_network(v))
    converter.register_structure_hook(IPv4Address, lambda v, _: _parse_address(v))
    for plain in (int, bool, str):
        converter.register_structure_hook(plain, _exactly(plain))
    converter.register_structure_hook_func(
        lambda kind: kind == IPv4Network | None,
        lambda v, _: None if v is None or v == "" else parse_network(v),
    )
    converter.register_structure_hook_func(lambda kind: kind == Mapping[str, Any], lambda v, _: v)
    converter.register_unstructure_hook(IPv4Network, str)
    converter.register_unstructure_hook(IPv4Address, str)
    converter.register_unstructure_hook_func(
        lambda kind: kind == IPv4Network | None, lambda v: str(v) if v else ""
    )
    return converter


def _explain(error: ClassValidationError, kind: Any, found: Mapping[str, Any]) -> str:
    """The first thing that is wrong, with the field's JSON name and what was found there."""
    first = error.exceptions[0]
    for note in getattr(first, "__notes__", []):
        json_name = attrs.fields_dict(kind)[note.name].metadata.get("json", note.name)
        if json_name not in found:
            return f"{json_name}: found nothing, expected {_WORDING[note.type]}"
        return f"{json_name}: found {shown_json(found[json_name])}, {first}"
    return str(first)


_CONVERTER = _make_converter(detailed=True)
_QUICK_CONVERTER = _make_converter(detailed=False)
