"""Kubernetes' notation of numbers: 10M, 1.5G, 500k, 10Mi, 2e6 (resource.Quantity of its API)."""

from __future__ import annotations

import re
from fractions import Fraction
from math import ceil

__all__ = ["parse_quantity"]

_NUMBER = re.compile(
    r"(?P<digits>\+?(?:\d+(?:\.\d*)?|\.\d+))(?P<suffix>[a-zA-Z]*|[eE][+-]?\d{1,3})",
    re.ASCII,
)

_SUFFIXES = {
    "": Fraction(1),
    **{name: Fraction(1, 1000**power) for power, name in enumerate(("m", "u", "n"), 1)},
    **{name: Fraction(1000**power) for power, name in enumerate("kMGTPE", 1)},
    **{f"{name}i": Fraction(1024**power) for power, name in enumerate("KMGTPE", 1)},
}


def parse_quantity(text: str) -> int:
    """The number that `text` stands for, a fraction rounded up, as Kubernetes does.

    Raises ValueError that says what is accepted.
    """
    found = _NUMBER.fullmatch(text)
    if found is None:
        raise ValueError(_ACCEPTED)
    suffix = found["suffix"]
    if suffix[1:].lstrip("+-").isdigit():
        scale = Fraction(10) ** int(suffix[1:])
    elif suffix in _SUFFIXES:
        scale = _SUFFIXES[suffix]
    else:
        raise ValueError(_ACCEPTED)
    return ceil(Fraction(found["digits"]) * scale)


_ACCEPTED = "expected a number such as 500k, 10M, 1.5G, 10Mi or 10000000"
