"""How does the person who waits learn how far it is? One line per step, with the time so far."""

from __future__ import annotations

import sys
import time

__all__ = ["progress"]

_BEGAN = time.monotonic()


def progress(text: str) -> None:
    """One line on standard error; in front of it the seconds since the program began."""
    print(f"{time.monotonic() - _BEGAN:6.1f} s  {text}", file=sys.stderr, flush=True)
