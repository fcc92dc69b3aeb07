"""What if standard output or standard error cannot be written? The command says so, once."""

from __future__ import annotations

import io
import sys
from typing import Any

from k8s_ovs.errors import K8sOvsError

__all__ = ["name_streams"]


class _Stream(io.FileIO):
    """A stream that fails once and takes nothing in after that, as Python writes at its end what is
    left. told: whether it fails at all; that standard error cannot be written nobody would read."""

    def __init__(self, stream: io.TextIOWrapper, name: str, *, told: bool) -> None:
        super().__init__(stream.fileno(), "wb", closefd=False)
        self._called = name
        self._told = told
        self._over = False

    def write(self, data: Any, /) -> int:
        if self._over:
            return len(data)
        try:
            return super().write(data)
        except OSError as error:
            self._over = True
            if isinstance(error, BrokenPipeError):
                raise  # the reader of our output has ended, which is no error
            if not self._told:
                return len(data)
            raise K8sOvsError(f"cannot write {self._called}: {error.strerror}") from error


def name_streams() -> None:
    """Have `sys.stdout` name itself when it cannot be written, and both take in any text."""
    sys.stdout = _named(sys.stdout, "standard output", told=True)
    sys.stderr = _named(sys.stderr, "standard error", told=False)


def _named(stream: Any, name: str, *, told: bool) -> Any:
    if not isinstance(stream, io.TextIOWrapper):  # a program has put in its own, or it is closed
        return stream
    return io.TextIOWrapper(
        io.BufferedWriter(_Stream(stream, name, told=told)),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
