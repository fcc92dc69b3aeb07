"""The driver of the CNI's files: what the container runtime finds of us, and puts right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path

from k8s_ovs.errors import K8sOvsError
from k8s_ovs.node.install.cni_config import FILES, is_own
from k8s_ovs.state.diff import Difference
from k8s_ovs.state.value import File, Value

__all__ = ["CniFiles", "file_of", "read_file"]


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


class CniFiles:
    """Beside those that are desired, configurations that we made in another style are ours."""

    kinds = frozenset({File.kind})

    def read(self, desired: Sequence[Value]) -> list[Value]:
        paths = [Path(each.name) for each in desired if isinstance(each, File)]
        others = {
            path.with_name(name)
            for path in paths
            if path.name in FILES.values()
            for name in FILES.values()
        } - set(paths)
        stale = [path for path in sorted(others) if is_own(read_file(path) or b"")]
        return [found for path in (*paths, *stale) if (found := _found(path)) is not None]

    def apply(self, differences: Sequence[Difference]) -> None:
        """In their order: a runtime that looks meanwhile sees the old style's configuration or the
        new one's, but always one."""
        for each in differences:
            if isinstance(each.expected, File):
                _put(each.expected)
            else:
                _remove(Path(each.key.name))


def _found(path: Path) -> File | None:
    content = read_file(path)
    if content is None:
        return None
    try:
        mode = f"{path.stat().st_mode & 0o7777:o}"
    except OSError as error:
        raise K8sOvsError(f"cannot read {path}: {error.strerror}") from error
    return File(str(path), _digest(content), mode)


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


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise K8sOvsError(f"cannot remove {path}: {error.strerror}") from error


def _digest(content: bytes) -> str:
    return sha256(content).hexdigest()
