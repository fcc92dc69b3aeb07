"""Where are things kept that are slow to make? In a cache outside the tree, whole or not at all."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from k8s_ovs.errors import TimedOut

__all__ = ["cache_directory", "cached", "fingerprint"]

LOCK_LIMIT_S = 1200
UNUSED_AFTER_S = 7 * 24 * 3600
BUILDING = "building-"


def cache_directory() -> Path:
    """`$XDG_CACHE_HOME/k8s-ovs/kernel`, or the same under `~/.cache`."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "k8s-ovs" / "kernel"


def fingerprint(*parts: str) -> str:
    """16 hexadecimal digits that differ when any part does."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{len(part)}:{part}".encode())
    return digest.hexdigest()[:16]


def cached(kind: str, key: str, build: Callable[[Path], None], cache: Path | None = None) -> Path:
    """The directory `<cache>/<kind>/<key>`, filled by `build` if it is missing.

    It is filled beside and renamed, so an interrupted build leaves nothing that could be taken
    for a whole one. Directories of this kind that nobody used for a week are removed.

    Raises TimedOut if another process builds the same kind for longer than 1200 s.
    """
    home = (cache or cache_directory()) / kind
    wanted = home / key
    home.mkdir(parents=True, exist_ok=True)
    with _locked(home / "lock"):
        if not wanted.is_dir():
            _remove(home.glob(f"{BUILDING}*"))
            building = Path(tempfile.mkdtemp(prefix=BUILDING, dir=home))
            try:
                build(building)
                building.rename(wanted)
            except BaseException:
                _remove([building])
                raise
        os.utime(wanted)
        _remove(_unused(home))
    return wanted


def _unused(home: Path) -> Iterator[Path]:
    oldest = time.time() - UNUSED_AFTER_S
    return (each for each in home.iterdir() if each.is_dir() and each.stat().st_mtime < oldest)


def _remove(directories: Iterator[Path] | list[Path]) -> None:
    for directory in list(directories):
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    deadline = time.monotonic() + LOCK_LIMIT_S
    with path.open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TimedOut(
                        f"{path} is held by another build for more than {LOCK_LIMIT_S} s"
                    ) from None
                time.sleep(0.5)
        yield
