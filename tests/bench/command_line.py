"""How do the benchmarks hear what to measure, and tell how far they are?"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Collection

from k8s_ovs.errors import K8sOvsError

__all__ = ["chosen", "ended", "progress"]


def chosen(known: Collection[str]) -> Callable[[str], tuple[str, ...]]:
    """Reads names with commas between them, all of which are known."""

    def read(text: str) -> tuple[str, ...]:
        names = tuple(text.split(","))
        if unknown := [name for name in names if name not in known]:
            expected = ", ".join(known)
            found = ", ".join(unknown)
            raise argparse.ArgumentTypeError(f"found {found}, expected some of {expected}")
        return names

    return read


def progress(text: str) -> None:
    """Say on standard error what is done now."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


def ended(main: Callable[[], int]) -> int:
    """The exit status of a benchmark, which says itself what failed."""
    try:
        return main()
    except K8sOvsError as error:
        progress(str(error))
        return 1
