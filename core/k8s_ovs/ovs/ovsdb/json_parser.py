"""A faster reader of OVSDB's JSON messages for the `ovs` library.

Where the library comes without its C extension it reads JSON one character at a time in Python:
half of the time that adding a port takes. This parser has the library's interface and leaves
the work to the standard library's decoder.
"""

from __future__ import annotations

from json import JSONDecodeError, JSONDecoder
from typing import Any

import ovs.json

__all__ = ["MessageParser", "speed_up"]

_decode = JSONDecoder().raw_decode


class MessageParser:
    """Reads one message that comes in pieces: `feed` until `is_done`, then `finish`."""

    def __init__(self) -> None:
        self._text = ""
        self._message: Any = None

    def feed(self, text: str) -> int:
        """Take in a piece; the number of its characters that belong to this message.

        Malformed text looks like a message that is never complete; the time limits of those
        who wait for it end that.
        """
        before = len(self._text)
        self._text += text
        try:
            self._message, end = _decode(self._text)
        except JSONDecodeError:
            return len(text)
        return end - before

    def is_done(self) -> bool:
        """Whether the message is complete."""
        return self._message is not None

    def finish(self) -> Any:
        """The message."""
        return self._message


def speed_up() -> None:
    """Have the library read JSON with this parser, unless it has its C extension."""
    library: Any = ovs.json
    if library.PARSER == library.PARSER_PY:
        library.Parser = MessageParser
