"""Have files changed since they were read? Tokens and certificates are replaced while we run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from attrs import field, frozen

__all__ = ["FileContents"]


@frozen
class FileContents:
    """What was in some files: a digest by path, None of what could not be read.

    By content, since a file may be replaced within one tick of its times, and be as long as before;
    they are a few kilobytes.
    """

    digests: Mapping[str, bytes | None] = field(repr=False)

    @classmethod
    def of(cls, paths: Iterable[str]) -> FileContents:
        """Read them now; take this before the files are used, so that no change is missed."""
        return cls({path: _digest(path) for path in paths})

    def and_of(self, paths: Iterable[str]) -> FileContents:
        """These and more files, read now."""
        return FileContents({**FileContents.of(paths).digests, **self.digests})

    def changed(self) -> bool:
        """Whether one of them is another now."""
        return any(_digest(path) != digest for path, digest in self.digests.items())


def _digest(path: str) -> bytes | None:
    try:
        return hashlib.sha256(Path(path).read_bytes()).digest()
    except (OSError, ValueError):
        return None
