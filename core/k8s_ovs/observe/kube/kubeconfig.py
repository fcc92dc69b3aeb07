"""Which field of a kubeconfig is wrong? Asked before the client library reads it, whose errors
name none.

https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/. Only what the current context names
has to be right.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml  # type: ignore[import-untyped]  # PyYAML has no types
from attrs import frozen

from k8s_ovs.errors import InvalidRecord, reason_of, shown
from k8s_ovs.model.json_text import JSON_KINDS

__all__ = ["Chosen", "check_kubeconfig"]

#: YAML's numbers need not be whole.
_KINDS = {**JSON_KINDS, int: "a number", float: "a number"}
_LISTS = {"clusters": "cluster", "users": "user", "contexts": "context"}


@frozen
class Chosen:
    """What the current context chooses. cluster, user: where each is, for errors; cluster_name,
    user_name: what they are called, "": nobody; uses: which fields the user has; files: that the
    two of them name, as tokenFile."""

    cluster: str
    user: str
    cluster_name: str
    user_name: str
    uses: frozenset[str]
    files: tuple[str, ...]


def check_kubeconfig(files: Sequence[str]) -> Chosen:
    """Check files that together are one. Raises InvalidRecord that names file, field, what was
    found and what was expected; of a secret not its value."""
    found: dict[str, dict[str, tuple[str, Any]]] = {kind: {} for kind in _LISTS}
    current: tuple[str, Any] = (os.pathsep.join(files), None)
    for path in files:
        document = _document(path)
        for kind in _LISTS:
            for name, where, value in _named(path, kind, document.get(kind)):
                found[kind].setdefault(name, (where, value))
        if "current-context" in document:
            current = (path, document["current-context"])
    where, context = _lookup(found["contexts"], f"{current[0]}: current-context", current[1])
    cluster, fields = _lookup(found["clusters"], f"{where}.cluster", context.get("cluster"))
    _check(cluster, fields, _CLUSTER, needed="server")
    files = _files(cluster, fields, _CLUSTER)
    user, fields, user_name = "", {}, context.get("user") or ""
    if user_name:
        user, fields = _lookup(found["users"], f"{where}.user", user_name)
        _check_user(user, fields)
        files += _files(user, fields, _USER)
    return Chosen(cluster, user, context["cluster"], user_name, frozenset(fields), tuple(files))


def _files(where: str, fields: Mapping[str, Any], known: Mapping[str, _Field]) -> list[str]:
    """The paths that fields name which have been checked."""
    return [
        str(_beside(where, fields[name]))
        for name, field in known.items()
        if field is _FILE and name in fields
    ]


def _beside(where: str, path: str) -> Path:
    """As the library has it: beside the kubeconfig."""
    return Path(where.partition(": ")[0]).parent / path


def _document(path: str) -> Mapping[str, Any]:
    try:
        with Path(path).open(encoding="utf-8") as file:
            found = yaml.safe_load(file)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InvalidRecord(f"{path}: not YAML: {_place(error)}") from error
    if not isinstance(found, dict):
        raise InvalidRecord(f"{path}: found {_kind(found)}, expected an object of kind Config")
    return found


def _place(error: Exception) -> str:
    """Where it is no YAML. PyYAML's words may have a part of the text in them, as of a password
    that begins with a `*`."""
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return " ".join(str(error).split())
    return f"found a mistake in line {mark.line + 1}, column {mark.column + 1}"


def _named(path: str, kind: str, items: Any) -> Iterator[tuple[str, str, Any]]:
    """(name, where it is, what it is) of each item of a list such as clusters."""
    if not isinstance(items, list | None):
        raise InvalidRecord(f"{path}: {kind}: found {_kind(items)}, expected a list")
    for place, item in enumerate(items or ()):
        name = item.get("name") if isinstance(item, dict) else None
        if not isinstance(name, str):
            where = f"{path}: {kind}[{place}]"
            found = f"name: found {_kind(name)}" if isinstance(item, dict) else _found(item)
            raise InvalidRecord(f"{where}: {found}, expected an object with a name")
        yield name, f"{path}: {kind}[{name}].{_LISTS[kind]}", item.get(_LISTS[kind])


def _lookup(named: Mapping[str, tuple[str, Any]], where: str, name: Any) -> tuple[str, Any]:
    """Where the item is that a field names, and what it is: an object."""
    if not isinstance(name, str) or name not in named:
        known = ", ".join(named) or "none is there"
        raise InvalidRecord(f"{where}: found {shown(name)}, expected the name of one: {known}")
    found, value = named[name]
    if not isinstance(value, dict):
        raise InvalidRecord(f"{found}: {_found(value)}, expected an object")
    return found, value


def _check(
    where: str, fields: Mapping[str, Any], known: Mapping[str, tuple[Any, str]], needed: str = ""
) -> None:
    for name, (problem, expected) in known.items():
        if name not in fields and name != needed:
            continue
        value = fields.get(name)
        if found := problem(where, value):
            raise InvalidRecord(f"{where}.{name}: {found}, expected {expected}")


def _check_user(where: str, fields: Mapping[str, Any]) -> None:
    if "auth-provider" in fields:
        provider = fields["auth-provider"]
        name = provider.get("name") if isinstance(provider, dict) else provider
        raise InvalidRecord(
            f"{where}.auth-provider: found {shown(name)}, which is not supported, expected a "
            "token, a tokenFile, a client-certificate or exec"
        )
    _check(where, fields, _USER)
    if "exec" in fields:
        _check(f"{where}.exec", fields["exec"], _EXEC, needed="command")


def _found(value: Any) -> str:
    return f"found {_kind(value)}"


def _kind(value: Any) -> str:
    """What kind of value it is: it may be a secret."""
    if value is None:
        return "nothing"
    return _KINDS.get(type(value), f"a {type(value).__name__}")


def _no_text(_: str, value: Any) -> str:
    return "" if isinstance(value, str) and value else _found(value)


def _no_truth(_: str, value: Any) -> str:
    return "" if isinstance(value, bool) else f"found {shown(value)}"


def _no_object(_: str, value: Any) -> str:
    return "" if isinstance(value, dict) else _found(value)


def _no_base64(where: str, value: Any) -> str:
    if wrong := _no_text(where, value):
        return wrong
    try:
        base64.b64decode("".join(value.split()), validate=True)
    except ValueError as error:
        return f"found a string that is not ({error})"
    return ""


def _no_url(*schemes: str, user: bool = False) -> Callable[[str, Any], str]:
    """user: a user and a password may be in it."""

    def problem(_: str, value: Any) -> str:
        if isinstance(value, str) and "@" in value:
            # Nothing before it is shown: it may be a password, of any characters.
            if not user:
                return "found an @, as behind a user and a password"
            value = f"{value.partition('://')[0]}://{value.rpartition('@')[2]}"
        if not isinstance(value, str) or not re.fullmatch(r"[!-~]+", value):
            return f"found {shown(value)}"
        try:
            parts = urlsplit(value)
            good = parts.scheme in schemes and parts.hostname and parts.port != 0
        except ValueError as error:
            return f"found {shown(value)} ({error})"
        return "" if good else f"found {shown(value)}"

    return problem


def _no_file(where: str, value: Any) -> str:
    if wrong := _no_text(where, value):
        return wrong
    path = _beside(where, value)
    try:
        path.open("rb").close()
    except (OSError, ValueError) as error:
        return f"found {shown(str(path))} ({reason_of(error)})"
    return ""


def _no_texts(where: str, value: Any) -> str:
    good = isinstance(value, list) and not any(_no_text(where, each) for each in value)
    return "" if good or value is None else _found(value)


def _no_variables(_: str, value: Any) -> str:
    good = isinstance(value, list) and all(
        isinstance(each, dict) and all(isinstance(each.get(k), str) for k in ("name", "value"))
        for each in value
    )
    return "" if good or value is None else _found(value)


#: What is wrong with a value, in words, and what is expected.
_Field = tuple[Callable[[str, Any], str], str]
_TEXT: _Field = (_no_text, "a string")
_FILE: _Field = (_no_file, "a file that can be read")
_BASE64: _Field = (_no_base64, "base64")
_CLUSTER: Mapping[str, _Field] = {
    "server": (_no_url("http", "https"), "an http(s) URL without user"),
    "certificate-authority": _FILE,
    "certificate-authority-data": _BASE64,
    "insecure-skip-tls-verify": (_no_truth, "true or false"),
    "tls-server-name": _TEXT,
    "proxy-url": (
        _no_url("http", "https", "socks5", "socks5h", user=True),
        "the URL of a proxy",
    ),
}
_USER: Mapping[str, _Field] = {
    "token": _TEXT,
    "tokenFile": _FILE,
    "client-certificate": _FILE,
    "client-certificate-data": _BASE64,
    "client-key": _FILE,
    "client-key-data": _BASE64,
    "username": _TEXT,
    "password": _TEXT,
    "exec": (_no_object, "an object with command and apiVersion"),
}
_EXEC: Mapping[str, _Field] = {
    "command": _TEXT,
    "apiVersion": _TEXT,
    "args": (_no_texts, "a list of strings"),
    "env": (_no_variables, "a list of objects with name and value"),
}
