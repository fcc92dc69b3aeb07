"""A faster reader of OVSDB's JSON messages for the `ovs` library.

Where the library comes without its C extension it reads JSON one character at a time in Python:
half of the time that adding a port takes. This parser has the library's interface. It looks at
each piece once, for the end of the message, and leaves the rest to the standard library's decoder.
"""

from __future__ import annotations

import re
from json import JSONDecoder
from typing import Any

import ovs.json

__all__ = ["MessageParser", "speed_up"]

_decode = JSONDecoder().raw_decode

#: What changes the depth, outside and inside of a string (RFC 8259 section 2 and 7).
_OUTSIDE = re.compile(r'["{}\[\]]')
_INSIDE = re.compile(r'["\\]')


class MessageParser:
    """Reads one message that comes in pieces: `feed` until `is_done`, then `finish`."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._depth = 0
        self._in_string = self._escaped = False
        self._message: Any = None

    def feed(self, text: str) -> int:
        """Take in a piece; the number of its characters that belong to this message.

        What is malformed and has an end is a message too: `finish` says what is wrong with it.
        """
        end = self._end(text)
        self._pieces.append(text if end is None else text[:end])
        if end is None:
            return len(text)
        whole = "".join(self._pieces).lstrip()
        try:
            self._message, _ = _decode(whole)
        except (ValueError, RecursionError) as error:
            self._message = f"OVSDB sent what is not JSON: {error}"
        return end

    def is_done(self) -> bool:
        """Whether the message is complete."""
        return self._message is not None

    def finish(self) -> Any:
        """The message; a text is what was wrong, as the library expects it: it connects anew."""
        return self._message

    def _end(self, text: str) -> int | None:
        """Where the message ends in this piece; None: it goes on."""
        at = 1 if self._escaped and text else 0
        self._escaped = self._escaped and not text
        while found := (_INSIDE if self._in_string else _OUTSIDE).search(text, at):
            character, at = found[0], found.end()
            if character == '"':
                self._in_string = not self._in_string
            elif character == "\\":
                at += 1
                self._escaped = at > len(text)
            elif character in "{[":
                self._depth += 1
            else:
                self._depth -= 1
                if self._depth <= 0:
                    return at
        return None


def speed_up() -> None:
    """Have the library read JSON with this parser, unless it has its C extension."""
    library: Any = ovs.json
    if library.PARSER == library.PARSER_PY:
        library.Parser = MessageParser
