"""The driver of files: which there are, with which content, written and removed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from stat import S_IMODE, S_ISDIR, S_ISREG

from k8s_ovs.errors import K8sOvsError
from k8s_ovs.state.diff import Difference
from k8s_ovs.state.value import Directory, File, Value

__all__ = ["FileDriver", "file_of", "read_file"]


def file_of(path: Path, source: Callable[[], bytes], mode: str) -> File:
    """A file with the content that `source` has now. What it raises is raised."""
    return File(str(path), _digest(source()), mode, source)


def read_file(path: Path) -> bytes | None:
    """None: there is none. Raises K8sOvsError where it cannot be read."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise K8sOvsError(f"cannot read {path}: {error.strerror}") from error


class FileDriver:
    """ours: the files, and directories, that are ours whether they are desired or not."""

    kinds = frozenset({File.kind, Directory.kind})

    def __init__(self, ours: Callable[[], Iterable[Path]]) -> None:
        self._ours = ours

    def read(self, desired: Sequence[Value]) -> list[Value]:
        wanted = [Path(each.name) for each in desired if isinstance(each, File)]
        paths = dict.fromkeys([*wanted, *self._ours()])
        return [found for path in paths if (found := _found(path)) is not None]

    def apply(self, differences: Sequence[Difference]) -> None:
        """In their order: a runtime that looks meanwhile sees the old style's configuration or the
        new one's, but always one."""
        for each in differences:
            if isinstance(each.expected, File):
                _put(each.expected)
            else:
                _remove(each.key.name, is_directory=each.key.kind == Directory.kind)


def _found(path: Path) -> File | Directory | None:
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise K8sOvsError(f"cannot read {path}: {error.strerror}") from error
    if S_ISDIR(mode):
        return Directory(str(path))
    content = read_file(path) if S_ISREG(mode) else None
    return File(str(path), _digest(content or b""), f"{S_IMODE(mode):o}")


def _put(file: File) -> None:
    """Replace a file at once: a runtime that starts it meanwhile has the old or the new one."""
    path = Path(file.name)
    beside = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(file.source())
        beside.chmod(int(file.mode, 8))
        beside.replace(path)
    except OSError as error:
        raise K8sOvsError(f"cannot install {path}: {error.strerror}") from error


def _remove(name: str, *, is_directory: bool) -> None:
    """A directory only if it is empty."""
    path = Path(name)
    try:
        if is_directory:
            path.rmdir()
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise K8sOvsError(f"cannot remove {path}: {error.strerror}") from error


def _digest(content: bytes) -> str:
    return sha256(content).hexdigest()
