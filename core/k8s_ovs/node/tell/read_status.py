"""What has the daemon last said of itself? Its status file, read and checked field by field.

Another version may have written it, or half a disk: who reads it can rely on the types.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from k8s_ovs.errors import InvalidRecord
from k8s_ovs.model.json_text import parse_json, shown_json

__all__ = ["read_status"]


def _whole(value: Any) -> bool:
    return type(value) is int


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _truth(value: Any) -> bool:
    return isinstance(value, bool)


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_text, value))


def _truths(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_truth, value.values()))


def _sockets(value: Any) -> bool:
    return _texts(value) and all(map(_is_socket, value))


def _is_socket(text: str) -> bool:
    address, _, port = text.rpartition(":")
    try:
        IPv4Address(address)
    except ValueError:
        return False
    return port.isascii() and port.isdecimal() and len(port) < 6


def _object(value: Any) -> bool:
    return isinstance(value, dict)


def _local_node(value: Any) -> bool:
    """Empty while the node has no subnet."""
    names = ("network", "address", "subnet")
    return value == {} or (
        isinstance(value, dict)
        and all(_text(value.get(name)) for name in names)
        and _whole(value.get("mtu"))
    )


#: Each field of `status_json`: whether a value is right, and what is expected.
_FIELDS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "node": (_text, "a string"),
    "pid": (_whole, "a whole number"),
    "version": (_text, "a string"),
    "ready": (_truth, "true or false"),
    "waiting_for": (_text, "a string"),
    "revision": (_whole, "a whole number"),
    "leader": (_truth, "true or false"),
    "sources": (_truths, "an object of true and false"),
    "etcd": (_sockets, "a list of ADDRESS:PORT"),
    "here": (_local_node, "an object with network, address, subnet and mtu"),
    "plugins": (_texts, "a list of strings"),
    "pods": (_whole, "a whole number"),
    "flows": (_whole, "a whole number"),
    "of_plugins": (_object, "an object"),
    "problems": (_texts, "a list of strings"),
}


def read_status(path: Path) -> Mapping[str, Any]:
    """The file's content, as `status_json` makes it; fields may be absent. Empty: no file.

    Raises OSError, and InvalidRecord that names file, field, found and expected.
    """
    try:
        found = parse_json(path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise InvalidRecord(f"{path} is not the daemon's status: {error}") from error
    if not isinstance(found, dict):
        raise InvalidRecord(
            f"{path} is not the daemon's status: found {shown_json(found)}, expected an object"
        )
    for name, (is_right, expected) in _FIELDS.items():
        if name in found and not is_right(found[name]):
            raise InvalidRecord(
                f"{path} is not the daemon's status: {name}: found {shown_json(found[name])}, "
                f"expected {expected}"
            )
    return found
