"""What plugins declare with functions of their own, which may raise anything: errors name them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

from attrs import evolve

from k8s_ovs.errors import InvalidRecord, PluginError
from k8s_ovs.plugin.records import ConfigField, KubeResource, RecordKind

__all__ = ["guarded_field", "guarded_kind", "guarded_resource"]

T = TypeVar("T")


def guarded_field(plugin: str, field: ConfigField) -> ConfigField:
    """`field` that raises InvalidRecord for what it cannot judge, whatever the plugin raises."""
    return evolve(field, accepts=partial(_judge, plugin, field.accepts))


def guarded_kind(plugin: str, kind: RecordKind) -> RecordKind:
    """`kind` that raises InvalidRecord for what it cannot read and PluginError for what it cannot
    write, whatever the plugin raises."""
    return evolve(
        kind,
        decode=partial(_read, plugin, kind.decode),
        encode=partial(_write, plugin, kind.encode),
        index=kind.index and partial(_judge, plugin, kind.index),
        asks=kind.asks and partial(_judge, plugin, kind.asks),
        holds=kind.holds and partial(_judge, plugin, kind.holds),
    )


def guarded_resource(plugin: str, resource: KubeResource) -> KubeResource:
    """`resource` that raises InvalidRecord for what it cannot read, whatever the plugin raises."""
    decode: Callable[[str, Mapping[str, Any]], Any] = partial(_read, plugin, resource.decode)
    return evolve(resource, decode=decode)


def _read(plugin: str, decode: Callable[[str, Any], T], key: str, found: Any) -> T:
    try:
        return decode(key, found)
    except InvalidRecord:
        raise
    except Exception as error:
        raise InvalidRecord(f"{key}: plugin {plugin} cannot read it: {error!r}") from error


def _judge(plugin: str, judge: Callable[[Any], T], value: Any) -> T:
    try:
        return judge(value)
    except Exception as error:
        raise InvalidRecord(f"plugin {plugin} cannot judge {value!r}: {error!r}") from error


def _write(plugin: str, encode: Callable[[Any], bytes], value: Any) -> bytes:
    try:
        return encode(value)
    except Exception as error:
        raise PluginError(f"plugin {plugin} cannot write {value!r}: {error!r}") from error
