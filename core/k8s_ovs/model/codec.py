"""Records to JSON and back: the only place that turns bytes into values.

A record class names its JSON fields in metadata (``named("HostIP")``); a field may be another such
class, or a tuple of such or of plain values. Fields that we do not know are kept in `extra` and
written again. An error names key, field, what was found and expected.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import cache, partial
from ipaddress import IPv4Address, IPv4Network
from types import MappingProxyType
from typing import Any, TypeVar, get_args, get_origin

import attrs
from cattrs import Converter
from cattrs.errors import BaseValidationError, IterableValidationError, IterableValidationNote
from cattrs.gen import make_dict_structure_fn

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
    try:
        return _QUICK_CONVERTER.structure(found, kind)
    except Exception:
        return _explained(kind, key, found)


def _explained(kind: type[T], key: str, found: Mapping[str, Any]) -> T:
    """What was wrong, at which field: to remember that takes half as long again."""
    try:
        return _CONVERTER.structure(found, kind)
    except BaseValidationError as error:
        raise InvalidRecord(f"{key}: {_explain(error, found)}") from None


@cache
def _names(kind: type) -> Mapping[str, str]:
    """Names of a record's fields, by those in JSON."""
    return {f.metadata["json"]: f.name for f in attrs.fields(kind) if "json" in f.metadata}


def encode(record: Any) -> bytes:
    """`record` as compact JSON, in the order of its fields, what we do not know at the end.

    Optional fields that are None are left out.
    """
    return json.dumps(_CONVERTER.unstructure(record), separators=(",", ":")).encode()


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


def _record_hook(converter: Converter, kind: Any) -> Callable[[Any, Any], Any]:
    """For a record, and for one inside another: fields by their names in JSON."""
    names, known_fields = _names(kind), {each.name for each in attrs.fields(kind)}
    keeps_others = "extra" in known_fields
    make = make_dict_structure_fn(
        kind, converter, _cattrs_detailed_validation=converter.detailed_validation
    )

    def structure(value: Any, _: Any) -> Any:
        if type(value) is not dict:
            raise ValueError(f"expected {_WORDING[dict]}")
        known = {names[name]: each for name, each in value.items() if name in names}
        if keeps_others:
            known["extra"] = {n: v for n, v in value.items() if n not in names} or _NOTHING
        return make(known, kind)

    return structure


def _tuple_hook(converter: Converter, kind: Any) -> Callable[[Any, Any], Any]:
    """A JSON list of things of one type."""
    (item, *_) = get_args(kind)
    make = converter.get_structure_hook(item)

    def structure(values: Any, _: Any) -> Any:
        if type(values) is not list:
            raise ValueError(f"expected {_WORDING[list]}")
        made = []
        for index, value in enumerate(values):
            try:
                made.append(make(value, item))
            except Exception as error:
                error.add_note(IterableValidationNote("", index, item))
                raise IterableValidationError("", [error], kind) from None
        return tuple(made)

    return structure


def _plain_hook(converter: Converter, kind: Any) -> Callable[[Any], dict[str, Any]]:
    """A record as JSON values: its fields in their order, then what we do not know."""
    attrs.resolve_types(kind)
    known = [f for f in attrs.fields(kind) if "json" in f.metadata]

    def plain(record: Any) -> dict[str, Any]:
        values = (converter.unstructure(getattr(record, f.name), f.type) for f in known)
        named_values = zip((f.metadata["json"] for f in known), values, strict=True)
        body = {name: value for name, value in named_values if value is not None}
        return body | dict(getattr(record, "extra", _NOTHING))

    return plain


def _make_converter(*, detailed: bool) -> Converter:
    converter = Converter(detailed_validation=detailed)
    converter.register_structure_hook_factory(attrs.has, partial(_record_hook, converter))
    converter.register_structure_hook_factory(_is_list, partial(_tuple_hook, converter))
    converter.register_unstructure_hook_factory(attrs.has, partial(_plain_hook, converter))
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


def _is_list(kind: Any) -> bool:
    return get_origin(kind) is tuple


def _explain(error: BaseValidationError, found: Any, before: str = "") -> str:
    """The first thing that is wrong: where, by the fields' JSON names, and what was found there."""
    first = error.exceptions[0]
    for note in getattr(first, "__notes__", ()):
        if isinstance(note, IterableValidationNote):
            where, there = f"{before}[{note.index}]", found[note.index]
        else:
            name = attrs.fields_dict(error.cl)[note.name].metadata.get("json", note.name)
            where = f"{before}.{name}" if before else name
            if name not in found:
                return f"{where}: found nothing, expected {_wording(note.type)}"
            there = found[name]
        if isinstance(first, BaseValidationError):
            return _explain(first, there, where)
        return f"{where}: found {shown_json(there)}, {first}"
    return str(first)


def _wording(kind: Any) -> str:
    if _is_list(kind):
        return _WORDING[list]
    if attrs.has(kind):
        return _WORDING[dict]
    of = next((each for each in (kind, *get_args(kind)) if each in _WORDING), None)
    return _WORDING[of] if of is not None else f"a value of type {kind}"


_CONVERTER = _make_converter(detailed=True)
_QUICK_CONVERTER = _make_converter(detailed=False)
