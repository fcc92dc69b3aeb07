"""Where is the metrics page served? HOST:PORT, as people write it."""

from __future__ import annotations

import re
from ipaddress import ip_address

from k8s_ovs.errors import InvalidRecord

__all__ = ["listen_address"]

#: A host's name, RFC 1123 section 2.1; also of one that has capitals or underscores.
_HOST = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_-]+)*\.?")


def listen_address(text: str) -> tuple[str, int]:
    """Host and port of HOST:PORT, an IPv6 address in brackets, nothing before the colon for all.

    Raises InvalidRecord.
    """
    host, colon, port = text.rpartition(":")
    is_port = port.isascii() and port.isdigit() and len(port) < 6 and int(port) <= 65535
    if not (colon and is_port and (not host or _is_host(host))):
        raise InvalidRecord(
            f'--metrics-address: found {text!r}, expected HOST:PORT, or "" for none'
        )
    return host.removeprefix("[").removesuffix("]") or "0.0.0.0", int(port)  # noqa: S104 - what an empty host means everywhere


def _is_host(text: str) -> bool:
    if text.startswith("["):
        text = text.removeprefix("[").removesuffix("]")
    elif _HOST.fullmatch(text):
        # What consists of digits and dots is an address or a mistake.
        return not re.fullmatch(r"[0-9.]+", text) or _is_address(text)
    return _is_address(text)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
