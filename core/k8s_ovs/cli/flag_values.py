"""Which values make sense for a flag? Each check runs before a command does anything.

A check takes the value and returns it, or raises InvalidRecord with flag, found and expected.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from k8s_ovs.errors import InvalidRecord, reason_of
from k8s_ovs.model.checked import is_utf8
from k8s_ovs.node.tell.listen_address import listen_address

__all__ = [
    "check_directory",
    "check_listen_address",
    "check_prefix",
    "check_readable",
    "check_socket",
    "check_texts",
    "fitting",
    "one_of",
]


#: unix(7): sun_path has 108 bytes with the zero at its end.
_MOST_SOCKET = 107


def one_of(flag: str, words: Collection[str]) -> Callable[[str], str]:
    """A check for one of some words."""

    def check(found: str) -> str:
        if found not in words:
            raise InvalidRecord(
                f"{flag}: found {found or repr(found)}, expected one of {', '.join(words)}"
            )
        return found

    return check


def fitting(
    flag: str, pattern: str, expected: str, most: int = 253
) -> Callable[[str | None], str | None]:
    """A check for a text that fits a pattern, of so many characters; None: the flag is absent."""

    def check(found: str | None) -> str | None:
        if found is not None and not (re.fullmatch(pattern, found) and len(found) <= most):
            raise InvalidRecord(f"{flag}: found {found!r}, expected {expected}")
        return found

    return check


def check_prefix(found: str) -> str:
    """A key's prefix in etcd, without the slash at its end."""
    prefix = found.rstrip("/")
    words = prefix.split("/")
    if words[0] or len(words) < 2 or not all(words[1:]) or not prefix.isprintable():
        raise InvalidRecord(
            f"--etcd-prefix: found {found!r}, expected one such as /k8s.ovs.com/ovs/network"
        )
    return prefix


def check_readable(flag: str) -> Callable[[str | None], str | None]:
    """A check for a file that can be read; None or empty: the flag is absent."""

    def check(found: str | None) -> str | None:
        if found:
            try:
                with Path(found).open("rb"):
                    pass
            except (OSError, ValueError) as error:
                reason = reason_of(error)
                raise InvalidRecord(
                    f"{flag}: found {found!r} ({reason}), expected a file that can be read"
                ) from error
        return found or None

    return check


def check_directory(flag: str) -> Callable[[Path], Path]:
    """A check for a directory, or one that does not exist yet."""

    def check(found: Path) -> Path:
        if (reason := _no_directory(found)) is not None:
            raise InvalidRecord(f"{flag}: found {str(found)!r} ({reason}), expected a directory")
        return found

    return check


def check_socket(found: Path) -> Path:
    """Where a daemon can have its socket."""
    reason = _no_directory(found.parent) or _is_directory(found)
    if reason is None and len(str(found).encode(errors="surrogateescape")) > _MOST_SOCKET:
        reason = f"longer than {_MOST_SOCKET} bytes"
    if reason is not None:
        raise InvalidRecord(
            f"--cni-socket: found {str(found)!r} ({reason}), expected the path of a socket"
        )
    return found


def check_listen_address(found: str) -> str:
    """HOST:PORT, an IPv6 address in brackets, nothing before the colon for all; empty: none."""
    if found:
        listen_address(found)
    return found


def check_texts(command: Any) -> None:
    """Have each option and argument of a command refuse what is no text, before its own check.

    Bytes that are no UTF-8 come as surrogates, which neither etcd nor JSON can take. Of a Path they
    are a file's name.
    """
    for parameter in command.params:
        parameter.callback = _text_first(parameter.callback)


def _text_first(check: Callable[..., Any] | None) -> Callable[..., Any]:
    def checked(context: Any, parameter: Any, value: Any) -> Any:
        for each in value if isinstance(value, list | tuple) else (value,):
            if isinstance(each, str) and not is_utf8(each):
                flag = next((each for each in parameter.opts if each.startswith("--")), "")
                named = flag or (parameter.metavar or parameter.name.upper()).strip("[]")
                # It may be a password.
                raise InvalidRecord(f"{named}: found bytes that are no UTF-8, expected text")
        return value if check is None else check(context, parameter, value)

    return checked


def _is_directory(path: Path) -> str | None:
    try:
        return "a directory" if path.is_dir() else None
    except OSError:
        return None


def _no_directory(path: Path) -> str | None:
    """Why this is no directory and cannot become one; None: it is or can be, or who asks may not
    know: the command says what it may not."""
    try:
        for each in (path, *path.parents):
            if each.is_dir():
                return None
            if each.exists() or each.is_symlink():
                return f"{each} is no directory"
    except PermissionError:
        return None
    except (OSError, ValueError) as error:
        return reason_of(error)
    return None
