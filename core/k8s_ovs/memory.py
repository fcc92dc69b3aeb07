"""Memory that was needed for a moment goes back to the system.

The C library keeps what is freed for later. What a list of thousands of objects took is needed
again when it is listed again, perhaps in weeks.
"""

from __future__ import annotations

from ctypes import CDLL
from functools import cache
from typing import Any

__all__ = ["give_back_memory"]


def give_back_memory() -> None:
    """Takes some milliseconds. Where the C library has no malloc_trim(3) nothing happens."""
    if (trim := _malloc_trim()) is not None:
        trim(0)


@cache
def _malloc_trim() -> Any:
    return getattr(CDLL(None), "malloc_trim", None)
